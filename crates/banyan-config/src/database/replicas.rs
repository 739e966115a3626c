//! What replicas, pool and durability need of each other.

use crate::model::{EdgeTable, ManagedDatabase};
use crate::pooling::{Durability, Reads};
use crate::read::Reader;
use crate::report::Report;

/// Connections that are not the pool's: PostgreSQL's reserve, Banyan's own, the proxy's, people's.
pub const BESIDE_THE_POOL: u32 = 10;

pub(super) fn check(
    table: &Reader<'_>,
    database: &ManagedDatabase,
    edge: Option<&EdgeTable>,
    report: &Report,
) {
    durability(table, database, report);
    direct(table, database, report);
    reads(table, database, report);
    pool(table, database, report);
    port(table, database, edge, report);
    wal(table, database, report);
}

fn durability(table: &Reader<'_>, database: &ManagedDatabase, report: &Report) {
    if database.durability == Durability::Sync
        && database.replicas == 0
        && let Some(written) = table.text("durability")
    {
        report.error(
            &written.place,
            "`durability = \"sync\"` needs a replica: every write would wait for ever",
            &["write replicas = 1, or remove this line"],
        );
    }
}

/// Replicas are of use to nobody who does not go through the proxy.
fn direct(table: &Reader<'_>, database: &ManagedDatabase, report: &Report) {
    if database.pgproxy.direct
        && database.replicas > 0
        && let Some(written) = table.integer("replicas")
    {
        report.error(
            &written.place,
            "`replicas` needs the proxy, and `direct = true` leads the app past it",
            &["remove `direct = true` from [database.pgproxy], or remove this line"],
        );
    }
}

fn reads(table: &Reader<'_>, database: &ManagedDatabase, report: &Report) {
    if database.replicas == 0
        && database.reads != Reads::Primary
        && let Some(written) = table.text("reads")
    {
        let message = format!("`reads = \"{}\"` has no effect without replicas", database.reads);
        report.warning(
            &written.place,
            message,
            &["write replicas = 1, or remove this line"],
        );
    }
}

fn pool(table: &Reader<'_>, database: &ManagedDatabase, report: &Report) {
    let proxy = table.table("pgproxy");
    let (size, most) = (database.pgproxy.pool.size, database.max_connections);
    if database.pgproxy.direct || size.saturating_add(BESIDE_THE_POOL) <= most {
        return;
    }
    let written = proxy.integer("pool").or_else(|| table.integer("max_connections"));
    let Some(written) = written else { return };
    let fits = most.saturating_sub(BESIDE_THE_POOL).max(1);
    let needed = size.saturating_add(BESIDE_THE_POOL);
    let help = format!(
        "write pool = {fits} in [database.pgproxy], or max_connections = {needed} in [database]: {BESIDE_THE_POOL} are kept for others"
    );
    let message = format!("a pool of {size} does not fit into {most} connections (`max_connections`)");
    report.error(&written.place, message, &[&help]);
}

fn port(table: &Reader<'_>, database: &ManagedDatabase, edge: Option<&EdgeTable>, report: &Report) {
    let proxy = table.table("pgproxy");
    let (Some(port), Some(written)) = (database.pgproxy.port, proxy.integer("port")) else {
        return;
    };
    let edges = |edge: &EdgeTable| {
        edge.listen.port() == port || edge.https.is_some_and(|address| address.port() == port)
    };
    let holder = if edge.is_some_and(edges) {
        "the edge listens on it"
    } else if database.port == Some(port) {
        "it is `database.port`, of PostgreSQL itself"
    } else {
        return;
    };
    report.error(
        &written.place,
        format!("port {port} is taken: {holder}"),
        &["write another port, or remove the line: Banyan finds a free one"],
    );
}

/// Settings of the user's own that leave nothing to follow.
fn wal(table: &Reader<'_>, database: &ManagedDatabase, report: &Report) {
    if database.replicas == 0 {
        return;
    }
    let senders = 2 * database.replicas + 2;
    for entry in table.map("settings").0 {
        let Some(value) = database.settings.get(&entry.name) else {
            continue;
        };
        let too_few = |least: u32| value.parse::<u32>().is_ok_and(|number| number < least);
        let help = match entry.name.as_str() {
            "wal_level" if value == "minimal" => {
                "remove this line: Banyan writes wal_level = replica".to_owned()
            }
            "max_wal_senders" | "max_replication_slots" if too_few(senders) => {
                format!("write at least {senders}, or remove this line")
            }
            _ => continue,
        };
        let message = format!("with `{} = {value}` no replica can follow", entry.name);
        report.error(&entry.node.place, message, &[&help]);
    }
}
