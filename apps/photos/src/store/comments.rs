//! Comments of a post.

use sqlx::{FromRow, PgPool};
use time::OffsetDateTime;

use super::users::Profile;
use crate::slug::PostKey;

/// More would be a page of its own.
const SHOWN: i64 = 500;

#[derive(Debug, FromRow)]
pub(crate) struct Comment {
    pub(crate) comment_id: i64,
    pub(crate) body: String,
    pub(crate) created_at: OffsetDateTime,
    pub(crate) updated_at: OffsetDateTime,
    #[sqlx(flatten)]
    pub(crate) author: Profile,
}

/// `None`: there is no such post.
pub(crate) async fn insert(
    pool: &PgPool,
    post: PostKey,
    author: i64,
    body: &str,
) -> Result<Option<(i64, OffsetDateTime, OffsetDateTime)>, sqlx::Error> {
    // `for key share`: a post that is being deleted is waited for, instead of breaking the foreign key.
    sqlx::query_as(
        "insert into comments (post_author_id, post_id, author_id, body)
         select author_id, id, $3, $4 from posts where author_id = $1 and id = $2 for key share
         returning id, created_at, updated_at",
    )
    .bind(post.author_id)
    .bind(post.id)
    .bind(author)
    .bind(body)
    .fetch_optional(pool)
    .await
}

/// The newest first.
pub(crate) async fn of_post(
    pool: &PgPool,
    post: PostKey,
    viewer: Option<i64>,
) -> Result<Vec<Comment>, sqlx::Error> {
    sqlx::query_as(
        "select c.id as comment_id, c.body, c.created_at, c.updated_at,
                u.id, u.username, u.bio, u.image,
                exists (select from follows where follower_id = $3 and followee_id = u.id) as following
         from comments c join users u on u.id = c.author_id
         where c.post_author_id = $1 and c.post_id = $2
         order by c.id desc
         limit $4",
    )
    .bind(post.author_id)
    .bind(post.id)
    .bind(viewer)
    .bind(SHOWN)
    .fetch_all(pool)
    .await
}

pub(crate) async fn author_of(pool: &PgPool, post: PostKey, id: i64) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "select author_id from comments where post_author_id = $1 and post_id = $2 and id = $3",
    )
    .bind(post.author_id)
    .bind(post.id)
    .bind(id)
    .fetch_optional(pool)
    .await
}

pub(crate) async fn delete(pool: &PgPool, post: PostKey, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query("delete from comments where post_author_id = $1 and post_id = $2 and id = $3")
        .bind(post.author_id)
        .bind(post.id)
        .bind(id)
        .execute(pool)
        .await
        .map(drop)
}
