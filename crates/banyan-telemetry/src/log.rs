//! Log lines go to stderr: text for people, one JSON object per line for roles whose log is read by programs.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people; coloured when stderr is a terminal and `color` is true.
    Text { color: bool },
    /// One object per line.
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(
        "`{level}` is not a log level; write error, warn, info, debug, trace or a list such as banyan_edge=debug"
    )]
    Level {
        level: String,
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    #[error("logging was already started")]
    Twice(#[source] TryInitError),
}

/// Starts logging for the process, once. `level` is a filter such as `info` or `info,banyan_edge=debug`. NO_COLOR is the
/// binary's to read: it decides `color`.
pub fn init(format: Format, level: &str) -> Result<(), LogError> {
    use tracing_subscriber::util::SubscriberInitExt;
    let filter = EnvFilter::try_new(level).map_err(|source| LogError::Level {
        level: level.to_owned(),
        source,
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        Format::Text { color } => builder
            .with_ansi(color && std::io::stderr().is_terminal())
            .with_target(false)
            .compact()
            .finish()
            .try_init(),
        Format::Json => builder.json().flatten_event(true).finish().try_init(),
    }
    .map_err(LogError::Twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_level_is_refused_with_what_to_write() {
        let error = init(Format::Json, "loud=very").unwrap_err().to_string();
        assert!(error.contains("`loud=very`") && error.contains("info"), "{error}");
    }
}
