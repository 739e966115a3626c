//! What feeds are put together of: whom a user follows, and the newest posts of each. Loaded into the cache, so these statements
//! must see all that was committed when they come: behind a proxy with replicas the primary answers them.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sqlx::PgPool;

/// Who follows more has their feed pulled from the tables: that many entries of the cache would cost more.
const FEW: i64 = 200;
/// Two usual pages of one author alone; a feed that reaches deeper is pulled from the tables.
pub(crate) const LONGEST: i64 = 40;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Followees {
    Few(Vec<i64>),
    Many,
}

/// An author's newest posts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tip {
    /// When (microseconds since 1970) and which, the newest first.
    #[serde(with = "steps")]
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

/// Each as its difference to the one before, in one list: a feed reads thousands of them, and short numbers are read sooner.
mod steps {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(latest: &[(i64, i64)], to: S) -> Result<S::Ok, S::Error> {
        let mut before = (0, 0);
        let mut steps = Vec::with_capacity(2 * latest.len());
        for (at, id) in latest {
            steps.extend([at.wrapping_sub(before.0), id.wrapping_sub(before.1)]);
            before = (*at, *id);
        }
        steps.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(i64, i64)>, D::Error> {
        let steps = Vec::<i64>::deserialize(from)?;
        let (pairs, []) = steps.as_chunks() else {
            return Err(D::Error::custom("half a pair"));
        };
        let mut before = (0_i64, 0_i64);
        let pair = |[at, id]: &[i64; 2]| {
            before = (before.0.wrapping_add(*at), before.1.wrapping_add(*id));
            before
        };
        Ok(pairs.iter().map(pair).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tip_is_read_back_as_it_was_and_half_of_one_is_none() {
        let tip = Tip {
            latest: vec![(1_700_000_000_000_000, 12), (1_699_999_999_000_000, 15), (-5, -7)],
            posts: 9,
        };
        let text = serde_json::to_string(&tip).unwrap();
        assert!(
            text.starts_with(r#"{"latest":[1700000000000000,12,-1000000,3,"#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Tip>(&text).unwrap(), tip);
        for wrong in [
            r#"{"latest":[1,2,3],"posts":2}"#,
            r#"{"latest":[[1,2]],"posts":1}"#,
        ] {
            assert!(serde_json::from_str::<Tip>(wrong).is_err(), "{wrong}");
        }
    }
}
