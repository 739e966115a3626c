//! What the PostgreSQL proxy has measured, in full, as it tells whoever asks at `.banyan/pgproxy.sock`: one document per
//! connection. The short form for `status` is in its report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::NodeId;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Signals {
    /// For how long the proxy has counted.
    pub seconds: f64,
    /// Statements are counted (`database.pgproxy.measure`).
    pub measured: bool,
    /// Most time first; at most some hundred.
    pub statements: Vec<StatementSignal>,
    /// All that are not in `statements`.
    pub others: Totals,
    /// Statements that took longer than `database.pgproxy.slow_query`.
    pub slow: u64,
    /// Units that waited for a connection, and in a hold.
    pub pool_wait: WaitSignal,
    pub hold_wait: WaitSignal,
    /// Share of the statements that a replica may answer: outside transactions, and proven to read only. `None`: not known
    /// yet, or nothing was counted.
    pub movable_share: Option<f64>,
    pub server: ServerSignals,
    pub replicas: Vec<LagSignal>,
}

/// Since the proxy started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    pub calls: u64,
    pub errors: u64,
    /// From sending to the end of the answer.
    pub total_us: u64,
    pub max_us: u64,
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
    /// Outside a transaction.
    pub alone: u64,
    /// Answered by a replica.
    pub on_replicas: u64,
}

/// Statements of one shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatementSignal {
    /// 16 hexadecimal digits, the same in every process.
    pub id: String,
    /// With `?` for values, cut when very long.
    pub statement: String,
    pub operation: String,
    #[serde(flatten)]
    pub totals: Totals,
    /// Proven to read only; `None`: its definitions have not been read yet.
    pub reads_only: Option<bool>,
    pub recent: Recent,
}

/// Of the last one to two minutes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    pub calls_per_second: f64,
    /// Seconds of work that it makes per second: 1.0 keeps one connection busy.
    pub load: f64,
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitSignal {
    /// Since the proxy started.
    pub count: u64,
    pub total_us: u64,
    /// Of the last ten seconds; `None`: nobody waited.
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
}

/// What the primary says of itself, asked each second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerSignals {
    /// Why it cannot be asked; the figures are of before.
    pub problem: Option<String>,
    /// Log written per second, over the last minute.
    pub wal_bytes_per_second: Option<f64>,
    /// Of the current run of the proxy.
    pub wal_bytes: u64,
    /// How many sessions worked at once, over the last minute.
    pub active: Option<f64>,
    /// What they waited for; `CPU`: nothing.
    pub waits: Vec<WaitEvent>,
    /// Looked at every 15 s; `None`: not yet, or it could not be.
    #[serde(default)]
    pub database: Option<DatabaseSignals>,
    /// Largest first; looked at every 15 s.
    pub tables: Vec<TableSignal>,
}

/// The database as a whole, as `pg_stat_database` and `pg_stat_activity` have it (PostgreSQL documentation, 28.2.3 and
/// 28.2.17). What is counted is counted since the server's figures began: another primary has its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseSignals {
    pub bytes: u64,
    /// What the server takes, for all databases together.
    pub max_connections: u64,
    /// By state, of all databases, those of Banyan among them.
    pub connections: BTreeMap<String, u64>,
    /// Transactions.
    pub committed: u64,
    pub rolled_back: u64,
    /// Blocks that were found in the server's buffers, and those that the system had to be asked for.
    pub blocks_from_buffers: u64,
    pub blocks_from_outside: u64,
    pub deadlocks: u64,
    /// Written to files by sorts and joins that had too little memory.
    pub temporary_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitEvent {
    /// As in `pg_stat_activity` (PostgreSQL documentation, 28.2.3).
    pub kind: String,
    pub event: String,
    /// Of what all sessions did over the last minute.
    pub share: f64,
}

/// As the statistics views have it (PostgreSQL documentation, 28.2.19).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TableSignal {
    pub schema: String,
    pub name: String,
    /// Without its indexes.
    pub bytes: u64,
    pub index_bytes: u64,
    pub live_rows: u64,
    /// Not vacuumed yet.
    pub dead_rows: u64,
    pub sequential_scans: u64,
    /// Rows that those have read.
    pub sequential_rows: u64,
    pub index_scans: u64,
    /// Inserted, updated and deleted rows.
    pub changes: u64,
    /// How long ago the last one ended.
    pub vacuumed_seconds: Option<u64>,
    pub indexes: Vec<IndexSignal>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IndexSignal {
    pub name: String,
    pub bytes: u64,
    pub scans: u64,
    /// Whether it keeps rows unique: then it is of use without scans.
    pub unique: bool,
}

/// How far a replica was behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LagSignal {
    pub id: NodeId,
    /// `None`: not known now.
    pub bytes: Option<u64>,
    pub seconds: Option<f64>,
    /// The most of each minute, the newest last; at most an hour. `None`: it was not known at any time of that minute.
    pub minutes: Vec<Option<LagMost>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LagMost {
    pub bytes: u64,
    pub seconds: f64,
}

impl LagSignal {
    /// The most of the last `minutes`.
    pub fn most(&self, minutes: usize) -> Option<LagMost> {
        let from = self.minutes.len().saturating_sub(minutes);
        let known = self.minutes[from..].iter().flatten();
        known.copied().reduce(|a, b| LagMost {
            bytes: a.bytes.max(b.bytes),
            seconds: a.seconds.max(b.seconds),
        })
    }
}
