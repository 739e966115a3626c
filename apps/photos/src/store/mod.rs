//! All SQL, one file per thing; every statement is one round trip.

pub(crate) mod articles;
pub(crate) mod comments;
pub(crate) mod follows;
pub(crate) mod likes;
pub(crate) mod listing;
pub(crate) mod migrate;
pub(crate) mod posts;
pub(crate) mod tags;
pub(crate) mod tips;
pub(crate) mod uploads;
pub(crate) mod users;

use sqlx::PgPool;
use time::OffsetDateTime;

#[derive(Debug, thiserror::Error)]
pub(crate) enum NotReady {
    #[error("the database does not answer: {0}")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Schema(#[from] migrate::SchemaError),
}

/// Checks the schema, and leases a node number for ids.
pub(crate) async fn lease_node(pool: &PgPool) -> Result<u16, NotReady> {
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
