//! What can go wrong with Redis, each with the next step.

use std::path::PathBuf;
use std::time::Duration;

use banyan_config::Purpose;

use super::client::ClientError;
use crate::child::{NotReady, StartError};
use crate::engine::files::FileError;
use crate::engine::place::PlaceError;

#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    #[error("Redis is not installed; run: sudo apt-get install redis-server")]
    NotInstalled,
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "a Redis (pid {pid}) that this Banyan did not start runs in {data}; stop it first: kill -TERM {pid}"
    )]
    AnotherServer { pid: u32, data: PathBuf },
    #[error("port {port} is taken{}; stop that program, or set another `port` in [{purpose}]", by_whom(.by))]
    PortInUse {
        port: u16,
        by: Option<String>,
        purpose: Purpose,
    },
    #[error("Redis refuses a setting: {line}; correct it in [{purpose}.settings]")]
    Setting { line: String, purpose: Purpose },
    #[error(
        "Redis cannot read what it has kept in {data}: {line}; copy that folder, then try `redis-check-aof --fix` on the \
         file that is named there"
    )]
    Data { line: String, data: PathBuf },
    #[error("Redis did not answer within {after:?}: {last}")]
    Silent { after: Duration, last: String },
    #[error("a command to Redis failed")]
    Command(#[from] ClientError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    NotReady(NotReady),
}

impl From<PlaceError> for RedisError {
    fn from(error: PlaceError) -> Self {
        match error {
            // Debian's package makes both.
            PlaceError::NoUser(_) => Self::NotInstalled,
            PlaceError::File(error) => error.into(),
        }
    }
}

fn by_whom(by: &Option<String>) -> String {
    by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default()
}

/// Redis's own last words as an error with a next step; `None`: nothing that is known.
pub(super) fn known(log_tail: &str, server: &super::Server) -> Option<RedisError> {
    let line = |words: &[&str]| {
        let found = log_tail
            .lines()
            .rev()
            .find(|line| words.iter().any(|words| line.contains(words)))?;
        Some(found.trim().to_owned())
    };
    let redis = &server.redis;
    if line(&["Address already in use"]).is_some() {
        return Some(RedisError::PortInUse {
            port: redis.port,
            by: None,
            purpose: redis.purpose,
        });
    }
    if let Some(line) = line(&[
        "Bad file format",
        "Unrecoverable error reading the append only file",
    ]) {
        return Some(RedisError::Data {
            line,
            data: server.data.clone(),
        });
    }
    log_tail.contains("FATAL CONFIG FILE ERROR").then(|| {
        // The setting in quotes, then what is wrong with it.
        let said = log_tail.lines().rev().filter(|line| !line.trim().is_empty());
        let mut said: Vec<&str> = said.take(2).map(str::trim).collect();
        said.reverse();
        RedisError::Setting {
            line: said.join(": "),
            purpose: redis.purpose,
        }
    })
}
