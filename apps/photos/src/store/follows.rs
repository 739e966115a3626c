//! Who follows whom.

use sqlx::PgConnection;

pub(crate) async fn follow(
    connection: &mut PgConnection,
    follower: i64,
    followee: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("insert into follows (follower_id, followee_id) values ($1, $2) on conflict do nothing")
        .bind(follower)
        .bind(followee)
        .execute(connection)
        .await
        .map(drop)
}

pub(crate) async fn unfollow(
    connection: &mut PgConnection,
    follower: i64,
    followee: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("delete from follows where follower_id = $1 and followee_id = $2")
        .bind(follower)
        .bind(followee)
        .execute(connection)
        .await
        .map(drop)
}
