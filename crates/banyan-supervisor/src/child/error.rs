//! What can go wrong with a start, in words a user can act on. Who asked for the start says of what: `failed to start web.1@r1: …`.

use std::time::Duration;

use super::spec::ChildId;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("a child named {0} exists already")]
    Exists(ChildId),
    #[error("{program} was not found; check the command, or install it")]
    ProgramMissing { id: ChildId, program: String },
    #[error("its process could not be made")]
    Spawn {
        id: ChildId,
        #[source]
        source: std::io::Error,
    },
    #[error("`{0}` cannot be the name of a child: letters, digits, `.`, `@`, `-` and `_` only, at most 100")]
    Name(ChildId),
    #[error("its folder {folder} does not exist or cannot be entered")]
    Folder { id: ChildId, folder: String },
    #[error("there is no user `{user}` on this machine")]
    User { id: ChildId, user: String },
    #[error("the supervisor has ended")]
    Gone,
}

/// Why a start did not become ready. Every variant carries the last log lines where there are any.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    #[error("it exited ({exit}) {times} time(s) before it was ready\n{log_tail}")]
    Exited {
        id: ChildId,
        exit: String,
        times: u32,
        log_tail: String,
    },
    #[error("it was not ready after {after:?}: {reason}\n{log_tail}")]
    Timeout {
        id: ChildId,
        after: Duration,
        reason: String,
        log_tail: String,
    },
    #[error("no child is named {0}")]
    Unknown(ChildId),
    #[error("it was stopped before it was ready")]
    Stopped(ChildId),
    #[error("the supervisor has ended")]
    Gone,
}
