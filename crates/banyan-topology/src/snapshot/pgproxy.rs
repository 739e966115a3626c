//! What the PostgreSQL proxy is told: where it listens, whom it lets in, which servers there are and which is primary.
//!
//! A hold is a state in it, not a command: a proxy that restarts in the middle of one does the right thing, and a hold
//! ends at its limit without the controller. No secret is in it; passwords are in files of mode 0600 that it names.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use banyan_config::CertificateFiles;
use banyan_config::units::duration;
pub use banyan_config::{MeasureSettings, PoolMode, PoolSettings, Reads};

use crate::id::{AppName, Epoch, NodeId};
use crate::model::{Database, Topology};

/// What of a snapshot the topology does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub auth: PgAuth,
    pub hold: Option<Hold>,
    pub bound: Option<Bound>,
    /// Of every server: they are copies of one.
    pub system_identifier: Option<u64>,
    /// Where the user's own server was found, if the proxy leads to one.
    pub found: Option<Found>,
}

/// A server of the user's own, as its name and it itself said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub address: SocketAddr,
    pub tls: Option<ServerTls>,
}

/// The snapshot that makes a running proxy lead to this topology's primary; `None` when it has no proxy.
pub fn pgproxy(topology: &Topology, epoch: Epoch, told: Told) -> Option<PgproxySnapshot> {
    let pgproxy = topology.pgproxy.as_ref()?;
    let database = topology.database.as_ref();
    let Told {
        auth,
        hold,
        bound,
        system_identifier,
        found,
    } = told;
    let nodes = |database: &Database| nodes(database, system_identifier);
    let external = pgproxy.external.as_ref();
    let name = database.map(|database| &database.name);
    let name = name.or(external.map(|external| &external.name));
    let leads = external.and(found.as_ref()).map(|_| NodeId::FIRST);
    let alone = external.zip(found);
    let alone = alone.map(|(external, found)| vec![external_node(found, &external.host)]);
    Some(PgproxySnapshot {
        epoch,
        app: topology.app.clone(),
        listen: pgproxy.listen,
        before: pgproxy.before.clone(),
        certificate: None,
        auth,
        admins: pgproxy.admins.clone(),
        database: PgDatabase {
            name: name.cloned().unwrap_or_default(),
            nodes: database.map(nodes).or(alone).unwrap_or_default(),
            primary: database.map(|database| database.primary).or(leads),
            pool: pgproxy.pool.clone(),
            reads: pgproxy.reads,
            hold,
            hold_limit: pgproxy.hold.limit,
            bound,
            measure: pgproxy.measure.clone(),
        },
    })
}

fn nodes(database: &Database, system_identifier: Option<u64>) -> Vec<PgNode> {
    let node = |node: &crate::model::Node| PgNode {
        id: node.id,
        address: (Ipv4Addr::LOCALHOST, node.port).into(),
        name: None,
        socket: None,
        tls: None,
        state: NodeState::Active,
        weight: 1,
        zone: None,
        system_identifier,
    };
    database.nodes.values().map(node).collect()
}

fn external_node(found: Found, host: &str) -> PgNode {
    let is_address = host.parse::<IpAddr>().is_ok();
    PgNode {
        id: NodeId::FIRST,
        address: found.address,
        name: (!is_address).then(|| host.to_owned()),
        socket: None,
        tls: found.tls,
        state: NodeState::Active,
        weight: 1,
        zone: None,
        system_identifier: None,
    }
}

/// All that the pgproxy role knows. It keeps the last good one and refuses older epochs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PgproxySnapshot {
    pub epoch: Epoch,
    pub app: AppName,
    /// 127.0.0.1 unless configured otherwise.
    pub listen: SocketAddr,
    /// Where it accepts clients too, who found it there before.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub before: BTreeSet<SocketAddr>,
    /// What TLS is spoken by; `None`: SSLRequest is answered with N.
    pub certificate: Option<CertificateFiles>,
    pub auth: PgAuth,
    /// Roles that may do everything on the console, beside those PostgreSQL lets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub admins: Vec<String>,
    pub database: PgDatabase,
}

impl PgproxySnapshot {
    /// Wherever it accepts clients.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        std::iter::once(self.listen).chain(self.before.iter().copied())
    }
}

/// Where verifiers come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PgAuth {
    /// A managed server: `role` (LOGIN, member of pg_monitor) may call `banyan.verifier(name text)`, a SECURITY DEFINER
    /// function in the database `name` of [`PgDatabase`] that gives back `rolpassword`, or NULL for a role that is
    /// unknown, may not log in, is a superuser or is past its `VALID UNTIL`.
    Function { role: String, password_file: PathBuf },
    /// A server of the user's own: the file holds `postgres://user:password@host:port/name`. Only that user is let in,
    /// by a verifier that the proxy makes.
    File { path: PathBuf },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PgDatabase {
    /// The app's database.
    pub name: String,
    /// By number; no id twice.
    pub nodes: Vec<PgNode>,
    /// One of `nodes`; `None`: nobody is, units are held.
    pub primary: Option<NodeId>,
    pub pool: PoolSettings,
    pub reads: Reads,
    /// `None`: statements pass.
    pub hold: Option<Hold>,
    /// How long units wait when the proxy sees for itself that the primary is lost. Default 15 s.
    #[serde(with = "duration", default = "hold_limit")]
    pub hold_limit: Duration,
    /// What the last failover left behind; `None`: there was none.
    pub bound: Option<Bound>,
    #[serde(default)]
    pub measure: MeasureSettings,
}

fn hold_limit() -> Duration {
    Duration::from_secs(15)
}

impl PgDatabase {
    pub fn node(&self, id: NodeId) -> Option<&PgNode> {
        self.nodes.iter().find(|node| node.id == id)
    }

    pub fn primary(&self) -> Option<&PgNode> {
        self.node(self.primary?)
    }
}

/// One PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PgNode {
    pub id: NodeId,
    pub address: SocketAddr,
    /// Its name, if it is known by one: whoever has that name now is the server, at the same port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Folder of its Unix socket, named by the address's port; `None`: TCP only.
    pub socket: Option<PathBuf>,
    /// How it is spoken to over TCP; `None`: in clear.
    #[serde(default)]
    pub tls: Option<ServerTls>,
    pub state: NodeState,
    /// Share of the reads among replicas; 0: none.
    pub weight: u32,
    pub zone: Option<String>,
    /// Another one is another database: not to be served. `None`: not known.
    pub system_identifier: Option<u64>,
}

/// TLS to a server, always: one that does not speak it is not spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerTls {
    /// The domain or address that its certificate must be for.
    pub name: String,
    /// Certificates of the authorities that are believed, in PEM: `sslmode=verify-full`. `None`: `sslmode=require`, which
    /// keeps listeners out and nobody else (PostgreSQL documentation, 34.19.1).
    pub authorities: Option<PathBuf>,
    /// Whatever name its certificate is for: `sslmode=verify-ca`.
    #[serde(default)]
    pub any_name: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    Active,
    /// Gets nothing new.
    Draining,
}

/// Statements wait: none is lost, none begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub cause: HoldCause,
    /// How long open transactions may run on. Default 5 s.
    #[serde(with = "duration")]
    pub grace: Duration,
    /// When it ends by itself. Default 15 s.
    #[serde(with = "duration")]
    pub limit: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldCause {
    /// A step of a plan: at the limit the old primary serves again.
    Planned,
    /// The primary is gone: at the limit 57P03.
    Crash,
    /// A person asked for it.
    Operator,
}

/// Transactions with this id or above were lost with the former primary, whatever `pg_xact_status` says of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The first id that the new primary had not seen when it was promoted, with its epoch (64 bits).
    pub xid: u64,
    /// The timeline that the promotion began, or that of the restart in place.
    pub timeline: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Benchmarks and outside suites start a proxy without a controller: what they write must stay a snapshot.
    #[test]
    fn the_benchmarks_snapshot_is_one() {
        let mut text = include_str!("../../../../bench/pgproxy.json").to_owned();
        for (mark, value) in [
            ("@LISTEN@", "6432"),
            ("@SERVER@", "5432"),
            ("@DATABASE@", "bench"),
            ("@POOL@", "20"),
            ("@MODE@", "transaction"),
            ("@URL@", "url"),
        ] {
            text = text.replace(mark, value);
        }
        let snapshot: PgproxySnapshot = serde_json::from_str(&text).unwrap();
        assert!(snapshot.database.primary().is_some());
    }
}
