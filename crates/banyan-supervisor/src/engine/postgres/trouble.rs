//! What can go wrong with PostgreSQL, each with the next step; and how its own words are recognised.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use banyan_topology::NodeId;

use super::{Server, settings};
use crate::child::{NotReady, StartError};
use crate::engine::files::FileError;
use crate::engine::place::PlaceError;

#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error("PostgreSQL is not installed; run: sudo apt-get install postgresql")]
    NoneInstalled,
    #[error(
        "PostgreSQL {major} is not installed (found: {installed}); run: sudo apt-get install postgresql-{major}"
    )]
    NotInstalled { major: u32, installed: String },
    #[error(
        "the data directory is of PostgreSQL {data}, not {wanted}; set `postgres = {data}` in [database], or move the \
         data to {wanted} with pg_upgrade or a dump first"
    )]
    OtherMajor { wanted: u32, data: u32 },
    #[error("{data} is not empty and is no PostgreSQL data directory; move what is there elsewhere")]
    NotData { data: PathBuf },
    #[error(
        "PostgreSQL does not run as root, and there is no user `{user}`; run: sudo apt-get install postgresql"
    )]
    NoUser { user: String },
    #[error("failed to {operation} {path}")]
    File {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{folder} is not there: mount the disk that holds the data. For a new, empty disk: `mkdir -p {folder}`, then \
         `banyan restore`"
    )]
    DataAway { folder: PathBuf },
    #[error("{inside} holds data, which is to be in {wanted}; move what is there elsewhere")]
    DataElsewhere { inside: PathBuf, wanted: PathBuf },
    #[error("no space is left on the disk of {path}; free some and try again, no data was lost")]
    DiskFull { path: PathBuf },
    #[error("initdb failed ({exit})\n{log_tail}")]
    Initdb { exit: String, log_tail: String },
    #[error(
        "a PostgreSQL server (pid {pid}) that this Banyan did not start runs in {data}; stop it first: kill -INT {pid}"
    )]
    AnotherServer { pid: u32, data: PathBuf },
    #[error("port {port} is taken{}; stop that program, or set another `port` in [database]", by_whom(.by))]
    PortInUse { port: u16, by: Option<String> },
    #[error(
        "shared memory of a crashed PostgreSQL server is still in use; find its processes with `ps -C postgres`, end \
         them, and try again"
    )]
    SharedMemory,
    #[error(
        "the machine cannot give PostgreSQL the memory asked for; lower `memory` in [database] (now {memory_mib} MiB)"
    )]
    Memory { memory_mib: u64 },
    #[error("PostgreSQL refuses a setting: {line}; correct it in [database] settings")]
    Setting { line: String },
    #[error(transparent)]
    Reserved(#[from] settings::Reserved),
    #[error(
        "PostgreSQL refuses the administrator's password in the installation's secrets: they do not belong to this \
         data directory; restore the secrets folder that does"
    )]
    Password,
    #[error("a query to PostgreSQL failed")]
    Query {
        #[source]
        source: tokio_postgres::Error,
    },
    #[error("the base backup of {node} failed ({exit})\n{log_tail}")]
    BaseBackup {
        node: NodeId,
        exit: String,
        log_tail: String,
    },
    #[error("{node} does not follow {primary} after {after:?}: {reason}")]
    NotFollowing {
        node: NodeId,
        primary: NodeId,
        after: Duration,
        reason: String,
    },
    #[error("{node} was not promoted: {reason}")]
    NotPromoted { node: NodeId, reason: String },
    #[error("{node} gave no answer for {after:?}")]
    Silent { node: NodeId, after: Duration },
    #[error("PostgreSQL gave an answer without content")]
    NoAnswer,
    #[error("pgBackRest ({what}): {reason}")]
    Backup { what: &'static str, reason: String },
    #[error(
        "PostgreSQL was started by a version of Banyan that knew no backups, and cannot begin to store its log while it \
         runs; `banyan down`, `banyan up`, then add [database.backup]"
    )]
    NotArchiving,
    #[error("the log was not stored within {after:?}; `banyan status` says why")]
    NotStored { after: Duration },
    #[error("no replica has joined the synchronous writes after {after:?}")]
    NotSynchronous { after: Duration },
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    NotReady(NotReady),
}

impl From<FileError> for PostgresError {
    fn from(error: FileError) -> Self {
        let FileError {
            operation,
            path,
            source,
        } = error;
        if source.kind() == io::ErrorKind::StorageFull {
            return Self::DiskFull { path };
        }
        Self::File {
            operation,
            path,
            source,
        }
    }
}

impl From<PlaceError> for PostgresError {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::NoUser(user) => Self::NoUser { user },
            PlaceError::File(error) => error.into(),
        }
    }
}

fn by_whom(by: &Option<String>) -> String {
    by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default()
}

impl Server {
    /// PostgreSQL's own last words as an error with a next step; `None`: nothing that is known.
    pub(super) fn known_trouble(&self, log_tail: &str) -> Option<PostgresError> {
        let says = |words: &str| log_tail.contains(words);
        if says("No space left on device") {
            return Some(PostgresError::DiskFull {
                path: self.data.clone(),
            });
        }
        if says("pre-existing shared memory block") {
            return Some(PostgresError::SharedMemory);
        }
        if says("could not bind IPv4 address") {
            return Some(PostgresError::PortInUse {
                port: self.port(),
                by: None,
            });
        }
        if says("could not map anonymous shared memory") || says("could not resize shared memory segment") {
            return Some(PostgresError::Memory {
                memory_mib: self.database.memory_bytes >> 20,
            });
        }
        let setting = [
            "unrecognized configuration parameter",
            "invalid value for parameter",
            "is outside the valid range",
        ];
        let line = log_tail
            .lines()
            .find(|line| setting.iter().any(|words| line.contains(words)))?;
        let line = line
            .split_once(": ")
            .map_or(line, |(_prefix, words)| words)
            .trim();
        Some(PostgresError::Setting {
            line: line.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use banyan_topology::{Node, NodeId};

    use super::*;
    use crate::child::RunAs;

    fn trouble(log_tail: &str) -> String {
        let server = Server {
            database: banyan_topology::Database {
                version: 15,
                nodes: BTreeMap::from([(
                    NodeId(1),
                    Node {
                        id: NodeId(1),
                        port: 20005,
                        dir: None,
                    },
                )]),
                primary: NodeId(1),
                durability: banyan_config::Durability::Async,
                memory_bytes: 1 << 40,
                max_connections: 100,
                name: "photos".to_owned(),
                user: "photos".to_owned(),
                backup: None,
                settings: BTreeMap::new(),
            },
            node: NodeId(1),
            bin: PathBuf::from("/usr/lib/postgresql/15/bin"),
            data: PathBuf::from("/state/data/postgres"),
            secrets: PathBuf::from("/state/secrets"),
            log: PathBuf::from("/state/logs/postgres.log"),
            run_as: RunAs::Same,
        };
        let found = server.known_trouble(log_tail);
        found.map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_servers_last_words_become_a_next_step() {
        let full = trouble("initdb: error: could not write file \"x\": No space left on device");
        assert!(
            full.contains("no space is left on the disk of /state/data/postgres"),
            "{full}"
        );
        let memory = trouble("FATAL:  could not map anonymous shared memory: Cannot allocate memory");
        assert!(
            memory.contains("lower `memory`") && memory.contains("1048576 MiB"),
            "{memory}"
        );
        let shared = trouble("FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use");
        assert!(shared.contains("ps -C postgres"), "{shared}");
        let port = trouble("LOG:  could not bind IPv4 address \"127.0.0.1\": Address already in use");
        assert!(port.contains("port 20005 is taken"), "{port}");
        assert_eq!(trouble("LOG:  all is well"), "");
    }
}
