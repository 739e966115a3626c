//! The one place that turns failures of the proxy into PostgreSQL's errors: SQLSTATE, sentence, hint, rule.
//!
//! No default arm: a new failure does not compile before it has an answer. A rule id has a page in `docs/rules/`.

use std::time::Duration;

use crate::wire::frame::FrameError;
use crate::wire::message::{put_text, write};
use crate::wire::startup::StartupError;

/// Why a client gets an error that no server made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Startup(#[from] StartupError),
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Protocol(&'static str),
    /// The same words for a wrong password, an unknown user and an expired one.
    #[error("password authentication failed for user \"{user}\"")]
    Password { user: String },
    #[error("database \"{0}\" does not exist")]
    NoDatabase(String),
    #[error("unsupported startup parameter: {0}")]
    Parameter(String),
    #[error("replication connections do not pass the proxy")]
    Replication,
    #[error("failed to look up how \"{user}\" logs in: {cause}")]
    NoVerifier { user: String, cause: String },
    #[error("sorry, too many clients already")]
    TooManyClients,
    #[error("no server connection became free in {} s", waited.as_secs_f32())]
    PoolWait { waited: Duration },
    #[error("failed to connect to the database server: {0}")]
    Connect(String),
    #[error("the database server is starting, stopping or moving; nothing was executed")]
    Held,
    #[error("too many statements wait for the database")]
    ParkFull,
    #[error("the database connection was lost; the outcome of what ran on it is unknown")]
    BackendLost,
    #[error("the database server was lost and the transaction with it; nothing of it remains")]
    RolledBack,
    /// Nothing ran, but what the session held is gone: locks, temporary tables, a transaction.
    #[error("terminating connection: the database session that it held is gone")]
    SessionLost,
    #[error("the database server answered something unexpected; the connection is closed")]
    Desync,
    #[error("failed to restore this session's settings on another server connection: {0}")]
    Settings(String),
    #[error("canceling statement due to user request")]
    Cancelled,
    #[error("terminating connection due to administrator command")]
    Killed,
    #[error("too many sessions keep a server connection for themselves ({reason})")]
    PinCap { reason: &'static str },
    #[error("currval and lastval need the server connection of the INSERT, which others have used since")]
    Sequence,
    #[error("{0}")]
    Console(String),
    #[error("permission denied: only members of {role} may do that on the console")]
    Rights { role: &'static str },
}

impl Refusal {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Startup(StartupError::Protocol { .. }) | Self::Parameter(_) | Self::Replication => "0A000",
            Self::Startup(StartupError::NoUser) => "28000",
            Self::Startup(StartupError::Length | StartupError::Layout | StartupError::Behind)
            | Self::Frame(_)
            | Self::Protocol(_) => "08P01",
            Self::Password { .. } => "28P01",
            Self::NoDatabase(_) => "3D000",
            Self::TooManyClients | Self::PoolWait { .. } | Self::ParkFull => "53300",
            Self::Connect(_) | Self::NoVerifier { .. } => "08006",
            Self::Held => "57P03",
            Self::BackendLost | Self::Desync => "08007",
            Self::RolledBack => "40001",
            Self::Settings(_) => "08006",
            Self::Cancelled => "57014",
            Self::Killed | Self::SessionLost => "57P01",
            Self::PinCap { .. } => "53400",
            Self::Sequence => "55000",
            Self::Console(_) => "42601",
            Self::Rights { .. } => "42501",
        }
    }

    /// The page in `docs/rules/` that says more.
    pub(crate) fn rule(&self) -> Option<&'static str> {
        match self {
            Self::Sequence => Some("BN5003"),
            Self::PinCap { .. } => Some("BN5004"),
            Self::Desync => Some("BN5009"),
            Self::BackendLost => Some("BN5025"),
            Self::Startup(_)
            | Self::Frame(_)
            | Self::Protocol(_)
            | Self::Password { .. }
            | Self::NoDatabase(_)
            | Self::Parameter(_)
            | Self::Replication
            | Self::NoVerifier { .. }
            | Self::TooManyClients
            | Self::PoolWait { .. }
            | Self::Connect(_)
            | Self::Held
            | Self::SessionLost
            | Self::RolledBack
            | Self::ParkFull
            | Self::Settings(_)
            | Self::Cancelled
            | Self::Killed
            | Self::Rights { .. }
            | Self::Console(_) => None,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Replication => Some("Connect to the server itself: DATABASE_DIRECT_URL."),
            Self::TooManyClients => {
                Some("Raise pool.max_clients in [database], or lower the app's own pools.")
            }
            Self::PoolWait { .. } => {
                Some("Raise pool.size in [database], or find what holds transactions open: SHOW CLIENTS.")
            }
            Self::PinCap { .. } => {
                Some("Raise pool.size in [database], or use DATABASE_DIRECT_URL for such sessions.")
            }
            Self::Sequence => Some("Use INSERT ... RETURNING, or call it in the transaction of the INSERT."),
            Self::Held | Self::ParkFull | Self::Connect(_) | Self::NoVerifier { .. } => {
                Some("Nothing was executed: it can be tried again.")
            }
            Self::BackendLost | Self::Desync => {
                Some("Look whether the change is there before it is made again.")
            }
            Self::RolledBack => Some("The transaction can be tried again."),
            Self::Parameter(_) => Some("Set it with SET after connecting."),
            Self::Rights { .. } => {
                Some("GRANT it to the role that logs in, or log in as the proxy's own role.")
            }
            Self::Console(_) => Some("SHOW HELP lists what the console understands."),
            Self::Startup(_)
            | Self::Frame(_)
            | Self::Protocol(_)
            | Self::Password { .. }
            | Self::NoDatabase(_)
            | Self::Settings(_)
            | Self::Cancelled
            | Self::SessionLost
            | Self::Killed => None,
        }
    }
}

/// An ErrorResponse. `severity`: ERROR keeps the connection, FATAL is followed by its end.
pub(crate) fn error(out: &mut Vec<u8>, severity: &str, refusal: &Refusal) {
    let mut message = refusal.to_string();
    if let Some(rule) = refusal.rule() {
        message.push_str(" (");
        message.push_str(rule);
        message.push(')');
    }
    write(out, b'E', |body| {
        let mut field = |kind: u8, text: &str| {
            body.push(kind);
            put_text(body, text.as_bytes());
        };
        field(b'S', severity);
        field(b'V', severity);
        field(b'C', refusal.code());
        field(b'M', &message);
        if let Some(hint) = refusal.hint() {
            field(b'H', hint);
        }
        body.push(0);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::error_field;

    #[test]
    fn a_refusal_names_code_rule_and_hint() {
        let mut out = Vec::new();
        error(&mut out, "ERROR", &Refusal::Sequence);
        let field = |kind| String::from_utf8_lossy(error_field(&out[5..], kind).unwrap()).into_owned();
        assert_eq!(field(b'C'), "55000");
        assert!(field(b'M').ends_with("(BN5003)"), "{}", field(b'M'));
        assert!(field(b'H').contains("RETURNING"));
    }

    #[test]
    fn every_rule_has_its_page() {
        let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rules");
        for refusal in [
            Refusal::Sequence,
            Refusal::PinCap { reason: "temp" },
            Refusal::Desync,
            Refusal::BackendLost,
        ] {
            let page = format!("{pages}/{}.md", refusal.rule().unwrap());
            assert!(std::path::Path::new(&page).is_file(), "{page}");
        }
    }
}
