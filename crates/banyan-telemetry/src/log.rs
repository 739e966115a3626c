//! Log lines go to stderr: text for people, one JSON object per line in the schema of [`crate::Record`] for roles.

use std::fmt;
use std::io::IsTerminal;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::TryInitError;

use crate::redact;

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
        Format::Json => builder.event_format(Lines).finish().try_init(),
    }
    .map_err(LogError::Twice)
}

/// `{"time":…,"level":"info","message":…,"target":…, fields}`, values of secret keys masked.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let meta = event.metadata();
        let level = meta.level().as_str().to_ascii_lowercase();
        write!(writer, "{{\"time\":\"{time}\",\"level\":\"{level}\"")?;
        let message = fields.0.remove("message").unwrap_or_default();
        redact::fields(&mut fields.0);
        let known = [("message", message), ("target", Value::from(meta.target()))];
        for (name, value) in known.iter().map(|(name, value)| (*name, value)) {
            write!(writer, ",\"{name}\":{value}")?;
        }
        for (name, value) in &fields.0 {
            write!(writer, ",{}:{value}", Value::from(name.as_str()))?;
        }
        writeln!(writer, "}}")
    }
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        // A name that is no identifier was written as `r#name`.
        let name = field.name().trim_start_matches("r#");
        self.0.insert(name.to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc;

    use super::*;
    use crate::{Level, Record};

    /// What is written, as it comes.
    #[derive(Clone)]
    struct Out(mpsc::Sender<Vec<u8>>);

    impl io::Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).ok();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_in_the_schema_and_holds_no_secret() {
        let (sender, lines) = mpsc::channel();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || Out(sender.clone()))
            .event_format(Lines)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
            tracing::warn!(trace_id, epoch = 7_u64, token = "t0p", error = %"of \"it\"", "it went wrong");
        });
        let line = String::from_utf8(lines.try_iter().flatten().collect()).unwrap();
        assert!(line.ends_with("}\n") && !line.contains("t0p"), "{line}");
        let record = Record::read(line.trim_end());
        assert!(record.time_ms.is_some(), "{line}");
        assert_eq!(
            (record.level, record.message.as_str()),
            (Level::Warn, "it went wrong")
        );
        assert_eq!(
            record.trace_id.as_deref(),
            Some("4bf92f3577b34da6a3ce929d0e0e4736")
        );
        assert_eq!(record.fields["epoch"], 7);
        assert_eq!(record.fields["error"], "of \"it\"");
    }

    #[test]
    fn a_wrong_level_is_refused_with_what_to_write() {
        let error = init(Format::Json, "loud=very").unwrap_err().to_string();
        assert!(error.contains("`loud=very`") && error.contains("info"), "{error}");
    }
}
