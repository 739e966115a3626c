//! Likes; the number on the post changes in the same statement.

use sqlx::PgPool;

use crate::slug::PostKey;

pub(crate) async fn like(pool: &PgPool, post: PostKey, user: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with liked as (
            insert into likes (post_author_id, post_id, user_id)
            select author_id, id, $3 from posts where author_id = $1 and id = $2
            on conflict do nothing
            returning post_author_id, post_id
         )
         update posts set likes = likes + 1
         from liked where author_id = liked.post_author_id and id = liked.post_id",
    )
    .bind(post.author_id)
    .bind(post.id)
    .bind(user)
    .execute(pool)
    .await
    .map(drop)
}

pub(crate) async fn unlike(pool: &PgPool, post: PostKey, user: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with unliked as (
            delete from likes where post_author_id = $1 and post_id = $2 and user_id = $3
            returning post_author_id, post_id
         )
         update posts set likes = likes - 1
         from unliked where author_id = unliked.post_author_id and id = unliked.post_id",
    )
    .bind(post.author_id)
    .bind(post.id)
    .bind(user)
    .execute(pool)
    .await
    .map(drop)
}
