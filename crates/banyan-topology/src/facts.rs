//! What of the outside world the decisions need, collected by the caller as plain values.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use banyan_config::Purpose;

use crate::id::{InstanceId, NodeId, ProcessName, ReleaseId};
use crate::model::{External, Release};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Major versions of PostgreSQL whose programs are installed.
    pub postgres_installed: BTreeSet<u32>,
    /// Major version of the data directory; `None` while there is no data.
    pub data_version: Option<u32>,
    /// Whether the program of Redis is there.
    pub redis_installed: bool,
    /// Memory of this machine in bytes.
    pub memory_bytes: u64,
    /// Ports that nothing listens on, best first. Ports of what runs now are not in it; remembered ones are, if free.
    pub free_ports: Vec<u16>,
    /// Those of the configured ports (edge, database) that something listens on, ours or not.
    pub taken_ports: BTreeSet<u16>,
    /// ELF programs in the app's folder that commands start: path in that folder → SHA-256 in hex.
    pub programs: BTreeMap<String, String>,
    /// SHA-256 of the banyan program that an edge or a proxy would be started from now, in hex; `None`: it cannot be read, so what
    /// runs stays.
    pub edge_program: Option<String>,
    /// SHA-256 over the secret values.
    pub secrets_digest: String,
    /// The number that a new release gets.
    pub next_release: ReleaseId,
    /// Every release whose content is still kept.
    pub releases: BTreeMap<ReleaseId, Release>,
    /// Those that a plan has reached: a deploy that failed leaves a release that is kept but never served.
    pub served: BTreeSet<ReleaseId>,
    /// The release that a rollback went to, until the next deploy.
    pub pinned: Option<ReleaseId>,
    pub backup: BackupFacts,
    /// Why the configured folder cannot take the data, and what to do; `None`: it can, or has it.
    pub dir_problem: Option<String>,
    /// The user's own PostgreSQL, as `database.url` says.
    pub external: Option<External>,
    pub remembered: Remembered,
}

/// What stands in the way of the configured backups, if any are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupFacts {
    /// Why there can be none, and what to do.
    pub problem: Option<String>,
    /// They would lie on the disk of the data.
    pub same_disk: bool,
}

/// From before a `down`, so that what comes back has the port and the number of instances it had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Of before servers had names.
    pub database_port: Option<u16>,
    pub nodes: BTreeMap<NodeId, u16>,
    /// Folders of their data, of those whose data is not in the state folder.
    pub dirs: BTreeMap<NodeId, PathBuf>,
    /// Who has the newest data. Not the first one, once a replica has taken over.
    pub primary: Option<NodeId>,
    pub pgproxy_port: Option<u16>,
    pub redis_ports: BTreeMap<Purpose, u16>,
    pub observe_port: Option<u16>,
    pub instance_ports: BTreeMap<InstanceId, u16>,
    /// What the load asked for last.
    pub counts: BTreeMap<ProcessName, u32>,
}

impl Facts {
    /// A machine with nothing on it: no PostgreSQL, no data, no release.
    pub fn nothing() -> Self {
        Self {
            postgres_installed: BTreeSet::new(),
            data_version: None,
            redis_installed: false,
            memory_bytes: 0,
            free_ports: Vec::new(),
            taken_ports: BTreeSet::new(),
            programs: BTreeMap::new(),
            edge_program: None,
            secrets_digest: String::new(),
            next_release: ReleaseId(1),
            releases: BTreeMap::new(),
            served: BTreeSet::new(),
            pinned: None,
            backup: BackupFacts::default(),
            dir_problem: None,
            external: None,
            remembered: Remembered::default(),
        }
    }
}
