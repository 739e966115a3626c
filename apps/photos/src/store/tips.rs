//! What feeds are put together of: whom a user follows, and the newest posts of each. Loaded into the cache, so these statements
//! must see all that was committed when they come: behind a proxy with replicas the primary answers them.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sqlx::PgPool;

/// Who follows more has their feed pulled from the tables: that many entries of the cache would cost more.
const FEW: i64 = 200;
/// As many posts of one author as a page may show.
const LONGEST: i64 = 100;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Followees {
    Few(Vec<i64>),
    Many,
}

/// An author's newest posts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tip {
    /// When (microseconds since 1970) and which, the newest first.
    pub(crate) latest: Vec<(i64, i64)>,
    /// All of the author's.
    pub(crate) posts: i64,
}

impl Tip {
    /// Older ones are not in it.
    pub(crate) fn is_cut(&self) -> bool {
        i64::try_from(self.latest.len()).unwrap_or(i64::MAX) >= LONGEST
    }
}

pub(crate) async fn followees(pool: &PgPool, follower: i64) -> Result<Option<Followees>, sqlx::Error> {
    let mut ids: Vec<i64> = sqlx::query_scalar(
        "/* banyan: fresh=primary */ select followee_id from follows where follower_id = $1 limit $2",
    )
    .bind(follower)
    .bind(FEW + 1)
    .fetch_all(pool)
    .await?;
    if ids.len() > FEW as usize {
        return Ok(Some(Followees::Many));
    }
    ids.sort_unstable();
    Ok(Some(Followees::Few(ids)))
}

pub(crate) async fn follows(pool: &PgPool, follower: i64, followee: i64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from follows where follower_id = $1 and followee_id = $2)")
        .bind(follower)
        .bind(followee)
        .fetch_one(pool)
        .await
}

/// By author, each with count and posts of one moment; those that there are not are not in it.
pub(crate) async fn tips(pool: &PgPool, authors: Vec<i64>) -> Result<HashMap<i64, Tip>, sqlx::Error> {
    let rows: Vec<(i64, i64, Option<i64>, Option<i64>)> = sqlx::query_as(
        "/* banyan: fresh=primary */
         select u.id, u.posts, (extract(epoch from p.created_at) * 1000000)::bigint, p.id
         from users u left join lateral (
            select id, created_at from posts where author_id = u.id
            order by created_at desc, id desc limit $2) p on true
         where u.id = any($1)
         order by u.id, p.created_at desc, p.id desc",
    )
    .bind(authors)
    .bind(LONGEST)
    .fetch_all(pool)
    .await?;
    let mut tips: HashMap<i64, Tip> = HashMap::new();
    for (author, posts, at, id) in rows {
        let tip = tips.entry(author).or_default();
        tip.posts = posts;
        // An author without posts has one row without any.
        tip.latest.extend(at.zip(id));
    }
    Ok(tips)
}
