//! Likes; the number on the post changes in the same statement.

use std::collections::HashSet;

use sqlx::{PgConnection, PgPool};

use crate::slug::PostKey;

/// Whether that changed anything.
pub(crate) async fn like(
    connection: &mut PgConnection,
    post: PostKey,
    user: i64,
) -> Result<bool, sqlx::Error> {
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
    .execute(connection)
    .await
    .map(|done| done.rows_affected() > 0)
}

/// Whether that changed anything.
pub(crate) async fn unlike(
    connection: &mut PgConnection,
    post: PostKey,
    user: i64,
) -> Result<bool, sqlx::Error> {
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
    .execute(connection)
    .await
    .map(|done| done.rows_affected() > 0)
}

/// Those of `posts` that a user likes.
pub(crate) async fn among(
    pool: &PgPool,
    user: i64,
    posts: &[PostKey],
) -> Result<HashSet<PostKey>, sqlx::Error> {
    let (authors, ids) = PostKey::columns(posts);
    let liked: Vec<(i64, i64)> = sqlx::query_as(
        "select l.post_author_id, l.post_id
         from unnest($2::bigint[], $3::bigint[]) as shown (author_id, id)
              join likes l on l.post_author_id = shown.author_id and l.post_id = shown.id and l.user_id = $1",
    )
    .bind(user)
    .bind(authors)
    .bind(ids)
    .fetch_all(pool)
    .await?;
    let key = |(author_id, id)| PostKey { author_id, id };
    Ok(liked.into_iter().map(key).collect())
}
