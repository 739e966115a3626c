//! All SQL, one file per thing. PostgreSQL through a small pool; every statement is one round trip.

pub(crate) mod articles;
pub(crate) mod comments;
pub(crate) mod follows;
pub(crate) mod likes;
pub(crate) mod listing;
pub(crate) mod migrate;
pub(crate) mod tags;
pub(crate) mod uploads;
pub(crate) mod users;

use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, PgPool};
use time::OffsetDateTime;

use crate::settings::Database;

/// Longer than a failover's blink, shorter than a client's patience; then 503.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(3);
const KEPT: u32 = 2;
/// A connection idle for longer is tried before use: the database may have been restarted meanwhile.
const TRY_AFTER_IDLE: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(crate) enum NotReady {
    #[error("the database does not answer: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Schema(#[from] migrate::SchemaError),
}

/// Connects when first used; no error if the database is away.
pub(crate) fn pool(database: &Database) -> PgPool {
    PgPoolOptions::new()
        .max_connections(database.pool.get())
        .min_connections(KEPT.min(database.pool.get()))
        .acquire_timeout(ACQUIRE_LIMIT)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for < TRY_AFTER_IDLE {
                    return Ok(true);
                }
                connection.ping().await.map(|()| true)
            })
        })
        .connect_lazy_with(database.options.clone())
}

/// Opens the connections that are kept, checks the schema, and leases a node number for ids.
pub(crate) async fn warm_up(pool: &PgPool) -> Result<u16, NotReady> {
    let mut kept = Vec::new();
    while kept.len() < KEPT.min(pool.options().get_max_connections()) as usize {
        kept.push(pool.acquire().await?);
    }
    drop(kept);
    migrate::check(pool).await?;
    let node: i64 = sqlx::query_scalar("select nextval('node_numbers')")
        .fetch_one(pool)
        .await?;
    // The sequence counts from 0 to 4095.
    Ok(u16::try_from(node).unwrap_or(0))
}

/// `2026-01-31T12:00:00.000001Z`: all six digits, or two changes within a millisecond would look like one.
pub(crate) fn iso(at: OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.microsecond()
    )
}
