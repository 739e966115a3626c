//! The database as a whole, as the statistics views of the primary have it: its size, who is connected, what it did.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Error};

use banyan_topology::signals::DatabaseSignals;

const FIGURES: &str = "
SELECT pg_database_size(d.datid), current_setting('max_connections')::int8, d.xact_commit, d.xact_rollback, d.blks_hit,
       d.blks_read, d.deadlocks, d.temp_bytes
  FROM pg_stat_database d WHERE d.datname = current_database()";
/// Of all databases: they share `max_connections`. What another user does is hidden from one without `pg_read_all_stats`.
const CONNECTIONS: &str = "
SELECT coalesce(state, 'hidden'), count(*) FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() GROUP BY 1";

pub(super) async fn read(client: &Client) -> Result<DatabaseSignals, Error> {
    let row = client.query_one(FIGURES, &[]).await?;
    let number = |at: usize| row.get::<_, i64>(at).cast_unsigned();
    let rows = client.query(CONNECTIONS, &[]).await?;
    let connections: BTreeMap<String, u64> = rows
        .iter()
        .map(|row| (row.get(0), row.get::<_, i64>(1).cast_unsigned()))
        .collect();
    Ok(DatabaseSignals {
        bytes: number(0),
        max_connections: number(1),
        connections,
        committed: number(2),
        rolled_back: number(3),
        blocks_from_buffers: number(4),
        blocks_from_outside: number(5),
        deadlocks: number(6),
        temporary_bytes: number(7),
    })
}
