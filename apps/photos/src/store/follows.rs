//! Who follows whom.

use sqlx::PgPool;

pub(crate) async fn follow(pool: &PgPool, follower: i64, followee: i64) -> Result<(), sqlx::Error> {
    sqlx::query("insert into follows (follower_id, followee_id) values ($1, $2) on conflict do nothing")
        .bind(follower)
        .bind(followee)
        .execute(pool)
        .await
        .map(drop)
}

pub(crate) async fn unfollow(pool: &PgPool, follower: i64, followee: i64) -> Result<(), sqlx::Error> {
    sqlx::query("delete from follows where follower_id = $1 and followee_id = $2")
        .bind(follower)
        .bind(followee)
        .execute(pool)
        .await
        .map(drop)
}
