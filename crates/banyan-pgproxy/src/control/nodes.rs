//! Which servers are asked for their positions, and how: the snapshot's, by the proxy's own role or the user's URL.

use std::time::{Duration, Instant};

use banyan_topology::report::NodeReport;
use banyan_topology::snapshot::pgproxy::{NodeState, PgAuth, PgNode, PgproxySnapshot, Reads};

use super::verifiers::secret;
use crate::fresh::{Entrance, Nodes, Replica, Server, View};

const LIMIT: Duration = Duration::from_secs(5);

/// While there is one server, nobody is asked for positions. Those that may not serve reads are watched all the same: `status` tells of them.
pub(super) fn of(snapshot: &PgproxySnapshot) -> Result<Nodes, String> {
    let database = &snapshot.database;
    let definitions = entrance(snapshot)?;
    if database.nodes.len() < 2 {
        return Ok(Nodes {
            definitions,
            ..Nodes::default()
        });
    }
    if database
        .nodes
        .iter()
        .any(|node| node.tls.is_some() && node.socket.is_none())
    {
        return Err("positions are not asked for over TLS yet".to_owned());
    }
    let login = login(snapshot)?;
    let server = |node: &PgNode| Server {
        id: node.id,
        login: at(&login, node),
    };
    let replicas = database
        .nodes
        .iter()
        .filter(|node| Some(node.id) != database.primary);
    Ok(Nodes {
        definitions,
        primary: database.primary().map(server),
        replicas: replicas
            .map(|node| (server(node), weight(node, database.reads)))
            .collect(),
    })
}

/// How the primary is asked for its figures and its definitions; `None`: there is none.
pub(super) fn entrance(snapshot: &PgproxySnapshot) -> Result<Option<Entrance>, String> {
    let Some(node) = snapshot.database.primary() else {
        return Ok(None);
    };
    let tls = node.tls.clone().filter(|_| node.socket.is_none());
    Ok(Some(Entrance {
        config: at(&login(snapshot)?, node),
        tls: tls.map(|tls| (node.address, tls)),
    }))
}

/// 0 gets no reads.
fn weight(node: &PgNode, reads: Reads) -> u32 {
    match (node.state, reads) {
        (_, Reads::Primary) | (NodeState::Draining, _) => 0,
        (NodeState::Active, _) => node.weight,
    }
}

fn login(snapshot: &PgproxySnapshot) -> Result<tokio_postgres::Config, String> {
    let mut login = tokio_postgres::Config::new();
    match &snapshot.auth {
        PgAuth::Function { role, password_file } => {
            login.user(role).password(secret(password_file)?);
        }
        PgAuth::File { path } => {
            let url: Result<tokio_postgres::Config, _> = secret(path)?.parse();
            let url = url.map_err(|_| format!("{} holds no PostgreSQL URL", path.display()))?;
            login.user(url.get_user().unwrap_or_default());
            login.password(url.get_password().unwrap_or_default());
        }
    }
    login
        .dbname(&snapshot.database.name)
        .application_name("banyan")
        .connect_timeout(LIMIT);
    Ok(login)
}

fn at(login: &tokio_postgres::Config, node: &PgNode) -> tokio_postgres::Config {
    let mut login = login.clone();
    login.port(node.address.port());
    match &node.socket {
        Some(folder) => login.host_path(folder),
        None => login.host(node.address.ip().to_string()),
    };
    login
}

/// What is known of a server; `refused`: connects to the primary failed since the last report.
pub(crate) fn report(
    node: &PgNode,
    snapshot: &PgproxySnapshot,
    view: &View,
    refused: bool,
    now: Instant,
) -> NodeReport {
    let database = &snapshot.database;
    let primary = Some(node.id) == database.primary;
    let replica = view.replicas.iter().find(|replica| replica.id == node.id);
    let seen = if primary {
        view.primary
    } else {
        replica.and_then(|replica| replica.seen)
    };
    let watched = database.nodes.len() > 1;
    let lag = seen
        .filter(|_| !primary)
        .and_then(|seen| view.lag(seen.position, now));
    NodeReport {
        id: node.id,
        reachable: if watched {
            seen.is_some()
        } else {
            !(primary && refused)
        },
        reason: if primary {
            None
        } else {
            reason(node, replica, database.reads)
        },
        in_recovery: seen.map(|seen| seen.in_recovery),
        lag_bytes: lag.map(|(bytes, _)| bytes),
        lag_seconds: lag.map(|(_, time)| time.as_secs_f64()),
        incarnation: seen.map(|seen| seen.incarnation),
        replayed: seen.map(|seen| seen.position.0),
    }
}

fn reason(node: &PgNode, replica: Option<&Replica>, reads: Reads) -> Option<String> {
    if let Some(Err(why)) = replica.map(|replica| replica.observed) {
        return Some(why.to_string());
    }
    match (node.state, reads) {
        (NodeState::Draining, _) => Some("draining".to_owned()),
        (NodeState::Active, Reads::Primary) => Some("reads = \"primary\"".to_owned()),
        (NodeState::Active, _) if node.weight == 0 => Some("its weight is 0".to_owned()),
        (NodeState::Active, _) => None,
    }
}
