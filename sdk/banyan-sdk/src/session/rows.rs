//! Sessions in PostgreSQL: each operation is one statement, which also notes what copies are to follow.
//!
//! An instance without Redis may write only while those with Redis know that it is there, or there are none: else `None`.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use time::OffsetDateTime;

use super::{Key, Lifetimes};
use crate::Database;
use crate::cache::PRIMARY;

/// The version of what has ended: the largest whole number that Redis's scripts can compare.
pub(super) const ENDED: i64 = (1 << 53) - 1;

/// Whether the writer may (see above); $1.
const MAY: &str =
    "select $1 or (select plain or redis_at < now() - interval '1 minute' from banyan.session_place) as may";
/// As long as an instance with Redis was seen within the hour.
const NOTED: &str = "(select redis_at > now() - interval '1 hour' from banyan.session_place)";
const STAMP: &str =
    "version, (extract(epoch from least(idle_until, absolute_until) - now()) * 1000)::bigint as left,
    idle_until >= absolute_until as is_final";

pub(super) struct Rows {
    pub(super) database: Database,
    has_redis: bool,
    idle_seconds: f64,
    absolute_seconds: f64,
}

/// What a row says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) version: i64,
    /// Milliseconds until it ends by itself.
    pub(super) left: i64,
    /// It ends then however much it is used.
    pub(super) is_final: bool,
}

/// A session as it is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct What<'w> {
    pub(super) key: Key,
    pub(super) owner: Option<&'w str>,
    pub(super) data: &'w str,
    /// When it ends at the latest.
    pub(super) until: OffsetDateTime,
}

/// What a statement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Done(Stamp),
    /// There is no such session; or, when it was to be made, there is one already.
    Nothing,
    /// Say that you are there first ([`super::place::Place::announce`]).
    Unannounced,
}

impl Rows {
    pub(super) fn new(database: Database, has_redis: bool, lifetimes: Lifetimes) -> Self {
        Self {
            database,
            has_redis,
            idle_seconds: lifetimes.idle.as_secs_f64(),
            absolute_seconds: lifetimes.absolute.as_secs_f64(),
        }
    }

    pub(super) async fn create(&self, what: What<'_>) -> Result<Written, sqlx::Error> {
        let statement = format!(
            "with may as ({MAY}), made as (
                 insert into banyan.session (id, owner, data, idle_until, absolute_until)
                 select $2, $3, $4, least(now() + make_interval(secs => $6), until), until
                 from may, lateral (select least(now() + make_interval(secs => $7), $5) as until) as t where may
                 on conflict (id) do nothing returning *
             )
             select may, {STAMP} from may left join made on true"
        );
        self.write(&statement, what).await
    }

    pub(super) async fn save(&self, what: What<'_>) -> Result<Written, sqlx::Error> {
        let statement = format!(
            "with may as ({MAY}), saved as (
                 update banyan.session set owner = $3, data = $4, version = version + 1,
                     absolute_until = least(absolute_until, $5, created_at + make_interval(secs => $7)),
                     idle_until = least(now() + make_interval(secs => $6), absolute_until, $5)
                 from may where may and id = $2 and idle_until > now() and absolute_until > now()
                 returning session.*
             ), noted as (
                 insert into banyan.session_change (session, version) select id, version from saved where {NOTED}
             )
             select may, {STAMP} from may left join saved on true"
        );
        self.write(&statement, what).await
    }

    async fn write(&self, statement: &str, what: What<'_>) -> Result<Written, sqlx::Error> {
        let query = sqlx::query(statement)
            .bind(self.has_redis)
            .bind(what.key.0)
            .bind(what.owner)
            .bind(what.data)
            .bind(what.until)
            .bind(self.idle_seconds)
            .bind(self.absolute_seconds);
        let row = query.fetch_one(self.database.pool()).await?;
        if !row.try_get::<bool, _>("may")? {
            return Ok(Written::Unannounced);
        }
        match row.try_get::<Option<i64>, _>("version")? {
            Some(_) => stamp(&row).map(Written::Done),
            None => Ok(Written::Nothing),
        }
    }

    /// It was used.
    pub(super) async fn prolong(&self, key: Key) -> Result<Option<Stamp>, sqlx::Error> {
        let statement = format!(
            "update banyan.session set idle_until = least(now() + make_interval(secs => $2), absolute_until)
             where id = $1 and idle_until > now() and absolute_until > now() returning {STAMP}"
        );
        let query = sqlx::query(&statement).bind(key.0).bind(self.idle_seconds);
        let row = query.fetch_optional(self.database.pool()).await?;
        row.map(|row| stamp(&row)).transpose()
    }

    pub(super) async fn load(&self, key: Key) -> Result<Option<(String, Stamp)>, sqlx::Error> {
        let statement = format!(
            "{PRIMARY} select data, {STAMP} from banyan.session
             where id = $1 and idle_until > now() and absolute_until > now()"
        );
        let query = sqlx::query(&statement).bind(key.0);
        let row = query.fetch_optional(self.database.pool()).await?;
        row.map(|row| Ok((row.try_get("data")?, stamp(&row)?)))
            .transpose()
    }

    /// Whether it may.
    pub(super) async fn end(&self, key: Key) -> Result<bool, sqlx::Error> {
        let statement = format!(
            "with may as ({MAY}), ended as (
                 delete from banyan.session using may where may and id = $2 returning id
             ), noted as (
                 insert into banyan.session_change (session, version) select id, {ENDED} from ended where {NOTED}
             )
             select may from may"
        );
        let query = sqlx::query_scalar(&statement).bind(self.has_redis).bind(key.0);
        query.fetch_one(self.database.pool()).await
    }

    /// Which have ended; `None` if it may not.
    pub(super) async fn end_all(
        &self,
        owner: &str,
        except: Option<Key>,
    ) -> Result<Option<Vec<Key>>, sqlx::Error> {
        let statement = format!(
            "with may as ({MAY}), ended as (
                 delete from banyan.session using may where may and owner = $2 and id is distinct from $3 returning id
             ), noted as (
                 insert into banyan.session_change (session, version) select id, {ENDED} from ended where {NOTED}
             )
             select may, array(select id from ended) as ids from may"
        );
        let query = sqlx::query(&statement)
            .bind(self.has_redis)
            .bind(owner)
            .bind(except.map(|key| key.0));
        let row = query.fetch_one(self.database.pool()).await?;
        let ids: Vec<Vec<u8>> = row.try_get("ids")?;
        let keys = ids.into_iter().filter_map(|id| id.try_into().ok().map(Key));
        Ok(row.try_get::<bool, _>("may")?.then(|| keys.collect()))
    }

    /// Sessions that ended by themselves: a thousand at most.
    pub(super) async fn sweep(&self) -> Result<u64, sqlx::Error> {
        let swept = sqlx::query(
            "delete from banyan.session where id in (
                 select id from banyan.session where least(idle_until, absolute_until) < now() - interval '1 minute'
                 limit 1000 for update skip locked
             )",
        );
        Ok(swept.execute(self.database.pool()).await?.rows_affected())
    }
}

fn stamp(row: &PgRow) -> Result<Stamp, sqlx::Error> {
    Ok(Stamp {
        version: row.try_get("version")?,
        left: row.try_get("left")?,
        is_final: row.try_get("is_final")?,
    })
}
