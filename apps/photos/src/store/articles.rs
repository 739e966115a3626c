//! Posts ("articles" in the RealWorld API), one at a time; pages of them are in `listing`.

use sqlx::{FromRow, PgConnection, PgPool};
use time::OffsetDateTime;

use super::posts::{OF_POST, Post};
use super::users::Profile;
use crate::slug::PostKey;

#[derive(Debug, FromRow)]
pub(crate) struct Article {
    #[sqlx(flatten)]
    pub(crate) post: Post,
    /// Empty in lists.
    pub(crate) body: String,
    pub(crate) liked: bool,
    #[sqlx(flatten)]
    pub(crate) author: Profile,
}

/// Beside those of the post and its body, for `posts p join users u`; $1 is the viewer or null.
pub(super) const COLUMNS: &str = "
    exists (select from likes l where l.post_author_id = p.author_id and l.post_id = p.id and l.user_id = $1) as liked,
    u.id, u.username, u.bio, u.image,
    exists (select from follows f where f.follower_id = $1 and f.followee_id = u.id) as following";

pub(crate) struct NewArticle<'a> {
    pub(crate) key: PostKey,
    pub(crate) slug: &'a str,
    pub(crate) title: &'a str,
    pub(crate) description: &'a str,
    pub(crate) body: &'a str,
    pub(crate) photo: Option<&'a str>,
    pub(crate) tags: &'a [String],
}

/// `None`: unchanged.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) slug: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) tags: Option<Vec<String>>,
}

pub(crate) async fn by_key(
    pool: &PgPool,
    key: PostKey,
    viewer: Option<i64>,
) -> Result<Option<Article>, sqlx::Error> {
    let sql = format!(
        "select {OF_POST}, {COLUMNS}, p.body from posts p join users u on u.id = p.author_id where p.author_id = $2 and p.id = $3"
    );
    sqlx::query_as(&sql)
        .bind(viewer)
        .bind(key.author_id)
        .bind(key.id)
        .fetch_optional(pool)
        .await
}

pub(crate) async fn exists(pool: &PgPool, key: PostKey) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from posts where author_id = $1 and id = $2)")
        .bind(key.author_id)
        .bind(key.id)
        .fetch_one(pool)
        .await
}

/// One statement, so the post, its tags and both counts are there together or not at all. The counts depend on each
/// other in the text, which fixes the order of their locks: author, then slot, as in [`delete`].
pub(crate) async fn insert(
    connection: &mut PgConnection,
    article: NewArticle<'_>,
) -> Result<(OffsetDateTime, OffsetDateTime), sqlx::Error> {
    sqlx::query_as(
        "with post as (
            insert into posts (author_id, id, slug, title, description, body, photo, created_at, updated_at)
            select $1, $2, $3, $4, $5, $6, $7, now, now from clock_timestamp() as now
            returning author_id, id, created_at, updated_at
         ), tagged as (
            insert into post_tags (author_id, post_id, position, tag, created_at)
            select post.author_id, post.id, given.position, given.tag, post.created_at
            from post, unnest($8::text[]) with ordinality as given (tag, position)
         ), counted as (
            update users set posts = posts + 1 from post where users.id = post.author_id
            returning users.id
         ), totalled as (
            update post_counts set posts = posts + 1 from counted where slot = counted.id % 16
         )
         select created_at, updated_at from post",
    )
    .bind(article.key.author_id)
    .bind(article.key.id)
    .bind(article.slug)
    .bind(article.title)
    .bind(article.description)
    .bind(article.body)
    .bind(article.photo)
    .bind(article.tags)
    .fetch_one(connection)
    .await
}

/// False: there is no such post any more.
pub(crate) async fn update(
    connection: &mut PgConnection,
    key: PostKey,
    change: Change,
) -> Result<bool, sqlx::Error> {
    let created_at: Option<OffsetDateTime> = sqlx::query_scalar(
        "update posts set
            slug = coalesce($3, slug),
            title = coalesce($4, title),
            description = coalesce($5, description),
            body = coalesce($6, body),
            updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
         where author_id = $1 and id = $2
         returning created_at",
    )
    .bind(key.author_id)
    .bind(key.id)
    .bind(change.slug)
    .bind(change.title)
    .bind(change.description)
    .bind(change.body)
    .fetch_optional(&mut *connection)
    .await?;
    if let (Some(created_at), Some(tags)) = (created_at, change.tags) {
        sqlx::query("delete from post_tags where author_id = $1 and post_id = $2")
            .bind(key.author_id)
            .bind(key.id)
            .execute(&mut *connection)
            .await?;
        sqlx::query(
            "insert into post_tags (author_id, post_id, position, tag, created_at)
             select $1, $2, given.position, given.tag, $4
             from unnest($3::text[]) with ordinality as given (tag, position)",
        )
        .bind(key.author_id)
        .bind(key.id)
        .bind(tags)
        .bind(created_at)
        .execute(&mut *connection)
        .await?;
    }
    Ok(created_at.is_some())
}

pub(crate) async fn delete(connection: &mut PgConnection, key: PostKey) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with gone as (
            delete from posts where author_id = $1 and id = $2 returning author_id
         ), counted as (
            update users set posts = posts - 1 from gone where users.id = gone.author_id
            returning users.id
         )
         update post_counts set posts = posts - 1 from counted where slot = counted.id % 16",
    )
    .bind(key.author_id)
    .bind(key.id)
    .execute(connection)
    .await
    .map(drop)
}
