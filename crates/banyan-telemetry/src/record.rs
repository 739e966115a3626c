//! A line of any program's log in one schema: time, level, trace, message, and fields of its own. Pure.
//!
//! Understood are JSON objects under the names that loggers use, the access log, and text with a time and a level in
//! front (PostgreSQL, Redis, most loggers); of what says nothing of itself all is message, at level info.

use std::fmt;

use serde_json::{Map, Value};

use crate::{moment, redact};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Trace,
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Unix ms; `None`: the line does not say.
    pub time_ms: Option<u64>,
    pub level: Level,
    /// 32 hexadecimal digits where it is one of W3C's; else as the app wrote it.
    pub trace_id: Option<String>,
    pub message: String,
    pub fields: Map<String, Value>,
}

const TIMES: [&str; 6] = ["time", "ts", "timestamp", "@timestamp", "ts_ms", "at"];
const LEVELS: [&str; 5] = ["level", "severity", "lvl", "levelname", "log.level"];
const TRACES: [&str; 6] = [
    "trace_id",
    "traceId",
    "traceid",
    "trace.id",
    "traceparent",
    "trace",
];
const MESSAGES: [&str; 3] = ["message", "msg", "event"];

impl Level {
    pub const ALL: [Self; 5] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];

    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// As loggers call it, in any case: `WARNING`, `ERR`, `FATAL`, `notice`, …
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "trace" | "finest" => Self::Trace,
            "debug" | "debug1" | "debug2" | "debug3" | "debug4" | "debug5" | "verbose" => Self::Debug,
            "info" | "information" | "informational" | "notice" | "log" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" | "err" | "fatal" | "panic" | "critical" | "crit" | "alert" | "emerg" | "emergency" => {
                Self::Error
            }
            _ => return None,
        })
    }

    /// As pino and bunyan count them.
    fn of_number(number: u64) -> Self {
        match number {
            0..20 => Self::Trace,
            20..30 => Self::Debug,
            30..40 => Self::Info,
            40..50 => Self::Warn,
            _ => Self::Error,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Record {
    /// What a line says; nothing secret is in it any more.
    pub fn read(line: &str) -> Self {
        let object = line.starts_with('{').then(|| serde_json::from_str(line));
        match object {
            Some(Ok(fields)) => Self::of_fields(fields),
            _ => Self::of_text(line),
        }
    }

    fn of_fields(mut fields: Map<String, Value>) -> Self {
        if !MESSAGES.iter().any(|name| fields.contains_key(*name))
            && let Some(Value::Object(_)) = fields.get("fields")
            && let Some(Value::Object(inner)) = fields.remove("fields")
        {
            fields.extend(inner);
        }
        redact::fields(&mut fields);
        let time_ms = take(&mut fields, &TIMES, time);
        let level = take(&mut fields, &LEVELS, level);
        let trace_id = take(&mut fields, &TRACES, trace);
        let message = take(&mut fields, &MESSAGES, |value| value.as_str().map(str::to_owned));
        let answered = message.is_none().then(|| answered(&fields)).flatten();
        let (message, usual) = answered.unwrap_or_else(|| (message.unwrap_or_default(), Level::Info));
        Self {
            time_ms,
            level: level.unwrap_or(usual),
            trace_id,
            message,
            fields,
        }
    }

    fn of_text(line: &str) -> Self {
        let (time_ms, rest) = leading_time(line);
        Self {
            time_ms,
            level: leading_level(rest),
            trace_id: trace_in(line),
            message: redact::text(line).into_owned(),
            fields: Map::new(),
        }
    }

    /// The schema, `who` wrote it: what `banyan logs --json` prints.
    pub fn json(&self, who: &str, time_ms: u64) -> Value {
        let mut all = Map::new();
        all.insert("time".to_owned(), moment::iso(time_ms).into());
        all.insert("level".to_owned(), self.level.name().into());
        all.insert("who".to_owned(), who.into());
        if let Some(trace) = &self.trace_id {
            all.insert("trace_id".to_owned(), trace.as_str().into());
        }
        all.insert("message".to_owned(), self.message.as_str().into());
        if !self.fields.is_empty() {
            all.insert("fields".to_owned(), Value::Object(self.fields.clone()));
        }
        Value::Object(all)
    }
}

/// Takes out the first of these fields that can be read.
fn take<T>(fields: &mut Map<String, Value>, names: &[&str], read: impl Fn(&Value) -> Option<T>) -> Option<T> {
    let found = names
        .iter()
        .find_map(|name| Some((*name, read(fields.get(*name)?)?)));
    let (name, value) = found?;
    fields.remove(name);
    Some(value)
}

fn time(value: &Value) -> Option<u64> {
    /// Numbers below are seconds: as milliseconds they would be in 1970.
    const SECONDS_BELOW: f64 = 1e11;
    if let Some(text) = value.as_str() {
        return moment::iso_ms(text);
    }
    let number = value.as_f64().filter(|number| *number >= 0.0)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time; a fraction of a millisecond is none"
    )]
    let of = |ms: f64| ms as u64;
    Some(of(if number < SECONDS_BELOW {
        number * 1000.0
    } else {
        number
    }))
}

fn level(value: &Value) -> Option<Level> {
    let text = value.as_str().and_then(Level::parse);
    text.or_else(|| value.as_u64().map(Level::of_number))
}

/// An identifier, or that of a `traceparent`.
fn trace(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| !text.is_empty())?;
    let parent = crate::trace::TraceParent::parse(text);
    Some(parent.map_or_else(|| text.to_owned(), |parent| parent.trace_id().to_string()))
}

/// `trace_id=…` or `traceparent=…` in a text.
fn trace_in(text: &str) -> Option<String> {
    let named = ["trace_id=", "traceparent="];
    let rest = named.iter().find_map(|name| Some(text.split_once(name)?.1))?;
    let rest = rest.trim_start_matches(['"', '\'']);
    let end = rest.find(|c: char| !c.is_ascii_hexdigit() && c != '-');
    trace(&Value::from(&rest[..end.unwrap_or(rest.len())]))
}

/// Of an answered request: what was asked, and how bad the answer is.
fn answered(fields: &Map<String, Value>) -> Option<(String, Level)> {
    let status = fields.get("status")?.as_u64()?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let level = match status {
        500.. => Level::Error,
        400..500 => Level::Warn,
        _ => Level::Info,
    };
    let message = format!("{} {} {status}", text("method")?, text("path")?);
    Some((message, level))
}

/// A date near the line's beginning, and what follows it.
fn leading_time(line: &str) -> (Option<u64>, &str) {
    let digit = line.bytes().take(24).position(|byte| byte.is_ascii_digit());
    let read = |start: usize| {
        let text = line.get(start..)?;
        Some((moment::iso_ms(text)?, text.get(19..)?))
    };
    match digit.and_then(read) {
        Some((ms, rest)) => (Some(ms), rest),
        None => (None, line),
    }
}

/// A level among the first words: `[123] LOG:`, `WARN target:`, `[error]`, `level=warn`. In small letters only where a sign says
/// that it is one: `error` may begin any sentence.
fn leading_level(text: &str) -> Level {
    const WORDS: usize = 6;
    let words = text.split_whitespace().take(WORDS);
    words.into_iter().find_map(level_word).unwrap_or_default()
}

fn level_word(word: &str) -> Option<Level> {
    let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if let Some(value) = bare.strip_prefix("level=") {
        return Level::parse(value.trim_matches('"'));
    }
    let marked = word.starts_with(['[', '<', '(']) || bare.bytes().all(|byte| byte.is_ascii_uppercase());
    (marked && !bare.is_empty()).then(|| Level::parse(bare)).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(line: &str) -> Value {
        let record = Record::read(line);
        record.json("web.1", record.time_ms.unwrap_or(0))
    }

    #[test]
    fn the_specifications_example_is_in_the_schema() {
        let line = r#"{"timestamp":"2024-01-15T10:30:45.123Z","level":"error","service":"payment-service","trace_id":"abc123","user_id":456789,"message":"Payment declined","error":{"code":"insufficient_funds","card_last4":"4242"}}"#;
        assert_eq!(
            shown(line),
            json!({"time": "2024-01-15T10:30:45.123Z", "level": "error", "who": "web.1", "trace_id": "abc123",
                "message": "Payment declined", "fields": {"service": "payment-service", "user_id": 456789,
                "error": {"code": "insufficient_funds", "card_last4": "***"}}})
        );
    }

    #[test]
    fn an_answered_request_is_as_bad_as_its_status() {
        let line = |status: u16| {
            let line = json!({"time": "2026-01-01T00:00:00.000Z", "method": "GET", "path": "/a", "status": status,
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"});
            Record::read(&line.to_string())
        };
        assert_eq!(line(200).message, "GET /a 200");
        assert_eq!(
            [200, 404, 503].map(|status| line(status).level),
            [Level::Info, Level::Warn, Level::Error]
        );
        assert_eq!(
            line(200).trace_id.as_deref(),
            Some("4bf92f3577b34da6a3ce929d0e0e4736")
        );
    }

    #[test]
    fn loggers_are_understood_by_their_own_names() {
        let pino = Record::read(
            r#"{"level":50,"time":1760000000123,"msg":"no","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}"#,
        );
        assert_eq!(
            (pino.time_ms, pino.level, pino.message.as_str()),
            (Some(1_760_000_000_123), Level::Error, "no")
        );
        assert_eq!(pino.trace_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        let zap = Record::read(r#"{"level":"warn","ts":1760000000.5,"msg":"slow"}"#);
        assert_eq!((zap.time_ms, zap.level), (Some(1_760_000_000_500), Level::Warn));
        let nested = Record::read(
            r#"{"timestamp":"2026-01-01T00:00:00Z","level":"INFO","fields":{"message":"hi","n":1}}"#,
        );
        assert_eq!(nested.message, "hi");
        assert_eq!(nested.fields, *json!({"n": 1}).as_object().unwrap());
    }

    #[test]
    fn text_may_name_its_trace() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        for line in [
            format!("INFO request{{trace_id=\"{id}\"}}: done"),
            format!("done traceparent=00-{id}-00f067aa0ba902b7-01 ok"),
        ] {
            assert_eq!(Record::read(&line).trace_id.as_deref(), Some(id), "{line}");
        }
        assert_eq!(Record::read("trace_id= none").trace_id, None);
    }

    #[test]
    fn text_has_the_level_that_it_names() {
        for (line, level) in [
            ("2026-01-01 00:00:00.123 UTC [7] LOG:  ready", Level::Info),
            (
                "2026-01-01 00:00:00.123 UTC [7] FATAL:  role does not exist",
                Level::Error,
            ),
            ("2026-01-01T00:00:00Z  WARN photos: slow", Level::Warn),
            ("[error] it broke", Level::Error),
            ("time=x level=debug msg=y", Level::Debug),
            ("error handling is on", Level::Info),
            ("plain words", Level::Info),
            ("", Level::Info),
        ] {
            let record = Record::read(line);
            assert_eq!((record.level, record.message.as_str()), (level, line));
        }
        assert_eq!(
            Record::read("2026-01-01 00:00:00.123 UTC [7] LOG:  ready").time_ms,
            Some(1_767_225_600_123)
        );
    }
}
