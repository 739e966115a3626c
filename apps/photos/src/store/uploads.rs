//! Which photos a user has uploaded; the bytes are on disk.

use sqlx::PgPool;

use crate::media::Stored;

pub(crate) async fn insert(pool: &PgPool, owner: i64, stored: &Stored) -> Result<(), sqlx::Error> {
    let (width, height) = stored.pixels();
    sqlx::query(
        "insert into uploads (owner_id, blob, content_type, bytes, width, height)
         values ($1, $2, 'image/webp', $3, $4, $5)
         on conflict do nothing",
    )
    .bind(owner)
    .bind(&stored.blob)
    .bind(i64::try_from(stored.bytes()).unwrap_or(i64::MAX))
    .bind(i32::try_from(width).unwrap_or(i32::MAX))
    .bind(i32::try_from(height).unwrap_or(i32::MAX))
    .execute(pool)
    .await
    .map(drop)
}

pub(crate) async fn owns(pool: &PgPool, owner: i64, blob: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from uploads where owner_id = $1 and blob = $2)")
        .bind(owner)
        .bind(blob)
        .fetch_one(pool)
        .await
}
