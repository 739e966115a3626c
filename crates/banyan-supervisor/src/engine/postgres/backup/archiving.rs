//! How a server gets rid of its log: what it says, and what that means.

use std::time::Duration;

use banyan_runtime::Clock;
use serde::{Deserialize, Serialize};

use super::super::control::query;
use super::super::{PostgresError, Server};

/// One piece of log.
const PIECE: u64 = 16 << 20;

/// What the server says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archiving {
    /// Unix time in ms of the last piece that was stored.
    pub stored_ms: Option<u64>,
    /// Of the last try that failed.
    pub failed_ms: Option<u64>,
    /// Log that waits on the database's disk.
    pub waiting_bytes: u64,
}

impl Archiving {
    /// The last try failed.
    pub fn fails(&self) -> bool {
        self.failed_ms.is_some() && self.failed_ms > self.stored_ms
    }

    /// So much waits that log is, or soon will be, given up. pgBackRest lets go of one piece after the other while more
    /// than `queue_bytes` wait, so the queue stays close to that.
    pub fn gives_up(&self, queue_bytes: u64) -> bool {
        self.fails() && self.waiting_bytes + 2 * PIECE > queue_bytes
    }
}

impl Server {
    /// `Err`: it was started by a version of Banyan that knew no backups.
    pub(super) async fn archives(&self) -> Result<(), PostgresError> {
        let mut session = self.session("postgres").await?;
        let rows = session.rows("SHOW archive_mode", &[]).await;
        let rows = rows.map_err(query)?;
        if rows.first().is_some_and(|row| row.get::<_, &str>(0) == "on") {
            return Ok(());
        }
        Err(PostgresError::NotArchiving)
    }

    pub async fn archiving(&self) -> Result<Archiving, PostgresError> {
        let rows = self
            .ask(
                "SELECT (extract(epoch FROM last_archived_time) * 1000)::int8, \
                 (extract(epoch FROM last_failed_time) * 1000)::int8, \
                 (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready') \
                 FROM pg_stat_archiver",
            )
            .await?;
        let row = rows.first().ok_or(PostgresError::NoAnswer)?;
        let time = |index| row.get::<_, Option<i64>>(index).map(i64::cast_unsigned);
        Ok(Archiving {
            stored_ms: time(0),
            failed_ms: time(1),
            waiting_bytes: row.get::<_, i64>(2).cast_unsigned() * PIECE,
        })
    }

    /// Writes down that this moment has come, and waits until it is stored: what was written before can be restored.
    pub async fn store_log(&self, limit: Duration) -> Result<(), PostgresError> {
        let until = Clock.now() + limit;
        // A commit of its own: a restore goes on until it finds one that is later than the wanted moment.
        self.ask("SELECT pg_current_xact_id()::text").await?;
        let rows = self
            .ask("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
            .await?;
        let last: String = rows
            .first()
            .map(|row| row.get(0))
            .ok_or(PostgresError::NoAnswer)?;
        self.ask("SELECT pg_switch_wal()").await?;
        loop {
            let rows = self
                .ask("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver")
                .await?;
            let stored: String = rows.first().map(|row| row.get(0)).unwrap_or_default();
            // A name without its timeline grows with the log.
            if stored.get(8..24) >= last.get(8..24) {
                return Ok(());
            }
            if Clock.now() > until {
                return Err(PostgresError::NotStored { after: limit });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
