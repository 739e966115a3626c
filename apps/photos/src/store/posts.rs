//! What all see of a post in a list: without who wrote it and who likes it. The cache keeps that.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgPool};
use time::OffsetDateTime;
use time::serde::timestamp::microseconds;

use crate::slug::PostKey;

#[derive(Clone, Debug, PartialEq, Eq, FromRow, Serialize, Deserialize)]
pub(crate) struct Post {
    pub(crate) slug: String,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) photo: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) likes: i64,
    #[serde(with = "microseconds")]
    pub(crate) created_at: OffsetDateTime,
    #[serde(with = "microseconds")]
    pub(crate) updated_at: OffsetDateTime,
}

/// For `posts p`.
pub(super) const OF_POST: &str = "
    p.slug, p.title, p.description, p.photo, p.likes, p.created_at, p.updated_at,
    array(select tag from post_tags t where t.author_id = p.author_id and t.post_id = p.id order by position) as tags";

/// Those that there are. Loaded into the cache, so the primary answers.
pub(crate) async fn by_keys(
    pool: &PgPool,
    keys: Vec<PostKey>,
) -> Result<HashMap<PostKey, Post>, sqlx::Error> {
    #[derive(FromRow)]
    struct Row {
        author_id: i64,
        id: i64,
        #[sqlx(flatten)]
        post: Post,
    }
    let (authors, ids) = PostKey::columns(&keys);
    let text = format!(
        "/* banyan: fresh=primary */
         select p.author_id, p.id, {OF_POST}
         from unnest($1::bigint[], $2::bigint[]) as wanted (author_id, id) join posts p using (author_id, id)"
    );
    let rows: Vec<Row> = sqlx::query_as(&text)
        .bind(authors)
        .bind(ids)
        .fetch_all(pool)
        .await?;
    let keyed = |Row { author_id, id, post }| (PostKey { author_id, id }, post);
    Ok(rows.into_iter().map(keyed).collect())
}
