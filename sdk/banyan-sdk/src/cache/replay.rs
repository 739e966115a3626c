//! Invalidations applied again: those of writers that died after their commit, and all kept ones after Redis went back in time.
//!
//! Every process of an app runs [`Cache::keep_right`]; a lock of the database lets one at a time work, for the length of a
//! transaction, so it also works through a pooler. (When Banyan's role `queue` exists it takes the same lock.)
//!
//! Each pass ends by giving Redis a beat: the database's time, kept in both. If Redis has another run id or an older beat than
//! the last one given, it was restarted, emptied, or failed over to an older copy, and the beat that it has says how old.
//! (A newer one is that of a pass whose commit was lost: what is marked as applied came before it.) Rows are kept for 10 minutes: a
//! copy younger than 5 is put right by replaying them, an older or unknown one is emptied (FLUSHALL ASYNC).
//! The same happens once when a database meets a Redis for the first time: the cache's Redis is the cache's alone.

use std::time::Duration;

use redis::aio::ConnectionManager;
use sqlx::{Postgres, Row as _, Transaction};
use tokio::time::{sleep, timeout};

use super::{Cache, ListItem, unlink};
use crate::Database;

const PASS_EVERY: Duration = Duration::from_secs(1);
/// Between passes of an app without Redis, which only sweep.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// A pass that hangs would hold the lock.
const PASS_LIMIT: Duration = Duration::from_secs(30);
const REDIS_LIMIT: Duration = Duration::from_secs(5);
const ROWS: i64 = 1000;
const YOUNG_MILLIS: i64 = 5 * 60 * 1000;

#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("the invalidations cannot be read or marked: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the cache cannot be told: {0}")]
    Redis(#[from] redis::RedisError),
    #[error("the cache does not answer within {REDIS_LIMIT:?}")]
    Silent,
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Somebody else has the lock; nothing was done.
    pub elsewhere: bool,
    /// Rows applied.
    pub rows: u64,
    /// Redis went back in time: this many rows are to be applied again.
    pub again: u64,
    /// Redis was emptied.
    pub flushed: bool,
}

impl Cache {
    /// For ever; started by each process of an app.
    pub async fn keep_right(self, database: Database) {
        let mut was_well = true;
        let has_redis = self.inner.store.manager().is_some();
        let pause = if has_redis { PASS_EVERY } else { SWEEP_EVERY };
        loop {
            let pass = timeout(PASS_LIMIT, self.apply_invalidations(&database)).await;
            let full = match pass {
                Ok(Ok(applied)) => {
                    was_well = true;
                    if applied.again > 0 || applied.flushed {
                        tracing::warn!(
                            again = applied.again,
                            flushed = applied.flushed,
                            "the cache was older than it should be"
                        );
                    }
                    applied.rows >= ROWS.unsigned_abs() || applied.again > 0
                }
                failed => {
                    if std::mem::replace(&mut was_well, false) {
                        let reason = match failed {
                            Ok(Err(error)) => error.to_string(),
                            _ => format!("it took longer than {PASS_LIMIT:?}"),
                        };
                        tracing::warn!(reason, "invalidations are not applied for now");
                    }
                    false
                }
            };
            self.look_for_audit().await;
            if !full {
                sleep(pause.mul_f64(rand::random_range(0.8..1.2))).await;
            }
        }
    }

    /// One pass: at most 1,000 rows. Safe anywhere and at any time.
    pub async fn apply_invalidations(&self, database: &Database) -> Result<Applied, ReplayError> {
        let Some(mut redis) = self.inner.store.manager() else {
            sweep(database).await?;
            return Ok(Applied::default());
        };
        let mut transaction = database.pool().begin().await?;
        let ours: bool =
            sqlx::query_scalar("select pg_try_advisory_xact_lock(hashtext('banyan invalidation'))")
                .fetch_one(&mut *transaction)
                .await?;
        if !ours {
            return Ok(Applied {
                elsewhere: true,
                ..Applied::default()
            });
        }
        let seen = Seen::read(&mut transaction).await?;
        let mut applied = check_time(&mut transaction, &mut redis, &seen).await?;
        applied.rows = apply_rows(&mut transaction, &mut redis).await?;
        // After the rows: a copy that has this beat has them applied.
        beat(&mut transaction, &mut redis, &seen).await?;
        sqlx::query("delete from banyan.invalidation where applied_at < now() - interval '10 minutes'")
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(applied)
    }
}

/// What the database remembers of Redis.
struct Seen {
    key: String,
    run_id: String,
    beat: i64,
    /// Milliseconds since 1970, by the database's clock.
    now: i64,
}

impl Seen {
    async fn read(transaction: &mut Transaction<'static, Postgres>) -> Result<Self, sqlx::Error> {
        let row = sqlx::query(
            "select name::text, run_id, beat, (extract(epoch from clock_timestamp()) * 1000)::bigint as now
             from banyan.cache_seen",
        )
        .fetch_one(&mut **transaction)
        .await?;
        let name: String = row.try_get("name")?;
        Ok(Self {
            key: format!("banyan:beat:{name}"),
            run_id: row.try_get("run_id")?,
            beat: row.try_get("beat")?,
            now: row.try_get("now")?,
        })
    }
}

/// Has Redis gone back in time since the last beat?
async fn check_time(
    transaction: &mut Transaction<'static, Postgres>,
    redis: &mut ConnectionManager,
    seen: &Seen,
) -> Result<Applied, ReplayError> {
    let mut pipe = redis::pipe();
    pipe.cmd("INFO").arg("server").cmd("GET").arg(&seen.key);
    let (info, found): (String, Option<i64>) = answer(pipe.query_async(redis)).await?;
    let run_id = run_id_of(&info);
    let mut applied = Applied::default();
    if run_id != seen.run_id || found.is_none_or(|found| found < seen.beat) {
        match found {
            // Without a run id rows are missing: see `sweep`.
            Some(found) if !seen.run_id.is_empty() && seen.now - found < YOUNG_MILLIS => {
                applied.again = unmark(transaction).await?;
            }
            _ => {
                applied.flushed = true;
                let mut flush = redis::cmd("FLUSHALL");
                answer(flush.arg("ASYNC").query_async::<()>(redis)).await?;
            }
        }
        sqlx::query("update banyan.cache_seen set run_id = $1")
            .bind(run_id)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(applied)
}

/// What nobody applied for long: there is no Redis, or it is away. Whichever comes after that is emptied, as rows are missing.
async fn sweep(database: &Database) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with gone as (
             delete from banyan.invalidation
             where coalesce(applied_at, created_at) < now() - interval '10 minutes' returning applied_at
         )
         update banyan.cache_seen set run_id = '' where exists (select from gone where applied_at is null)",
    )
    .execute(database.pool())
    .await
    .map(|_| ())
}

async fn beat(
    transaction: &mut Transaction<'static, Postgres>,
    redis: &mut ConnectionManager,
    seen: &Seen,
) -> Result<(), ReplayError> {
    let mut set = redis::cmd("SET");
    answer(set.arg(&seen.key).arg(seen.now).query_async::<()>(redis)).await?;
    sqlx::query("update banyan.cache_seen set beat = $1")
        .bind(seen.now)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

fn run_id_of(info: &str) -> &str {
    let id = info.lines().find_map(|line| line.strip_prefix("run_id:"));
    id.unwrap_or_default().trim()
}

async fn unmark(transaction: &mut Transaction<'static, Postgres>) -> Result<u64, sqlx::Error> {
    sqlx::query("update banyan.invalidation set applied_at = null where applied_at is not null")
        .execute(&mut **transaction)
        .await
        .map(|done| done.rows_affected())
}

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    key: String,
    /// Of an append.
    item: Option<i64>,
    keep: Option<i32>,
}

/// Redis first, then the mark: what is marked was applied.
async fn apply_rows(
    transaction: &mut Transaction<'static, Postgres>,
    redis: &mut ConnectionManager,
) -> Result<u64, ReplayError> {
    // Not by "id above the last": a long transaction's row appears late with a low id.
    let rows: Vec<Row> = sqlx::query_as(
        "select id, key, item, keep from banyan.invalidation where applied_at is null
         order by id limit $1 for update skip locked",
    )
    .bind(ROWS)
    .fetch_all(&mut **transaction)
    .await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let mut pipe = redis::pipe();
    for Row { key, item, keep, .. } in &rows {
        let command = match item.zip(*keep) {
            // Adds nothing: the number may be gone again.
            Some((item, keep)) => ListItem { item, keep }.command(key, ""),
            // A tag without a nonce gets a new one from its next reader.
            None => unlink(key),
        };
        pipe.add_command(command).ignore();
    }
    answer(pipe.query_async::<()>(redis)).await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    sqlx::query("update banyan.invalidation set applied_at = now() where id = any($1)")
        .bind(&ids)
        .execute(&mut **transaction)
        .await?;
    Ok(ids.len() as u64)
}

async fn answer<T>(asked: impl Future<Output = redis::RedisResult<T>>) -> Result<T, ReplayError> {
    match timeout(REDIS_LIMIT, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ReplayError::Silent),
    }
}
