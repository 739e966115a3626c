//! One line of JSON per request that is logged (`exchange/tally.rs` chooses), without the core ever waiting for the disk or a reader.
//!
//! A core appends to its own buffer and hands it over full or each tick; the writer thread writes. When the writer is
//! behind by more than its queue, whole buffers are dropped and counted. Limits: 32 KiB per buffer, 64 buffers.
//! Query strings are not logged: they carry tokens.

use std::fmt::Write as _;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use banyan_config::Fraction;
use banyan_telemetry::moment::date_time;
use banyan_telemetry::trace::TraceParent;
use tokio::sync::mpsc;

use crate::metrics::CoreMetrics;

const FULL: usize = 32 * 1024;
const QUEUE: usize = 64;

/// What a line says.
pub(crate) struct Record<'a> {
    pub unix_ms: u64,
    pub id: &'a str,
    pub client: IpAddr,
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    pub bytes: u64,
    pub took: Duration,
    /// The one that matched.
    pub route: Option<&'a str>,
    /// Who has shown who it is.
    pub user: Option<&'a str>,
    pub trace: Option<TraceParent>,
    pub upstream: Option<&'a str>,
    /// For an instance.
    pub waited: Duration,
    pub retries: u32,
    /// `1.0`, `1.1`, `2`.
    pub protocol: &'static str,
    pub tls: Option<&'static str>,
    pub outcome: &'static str,
    /// One of how many it stands for, where others have no line.
    pub sample: Option<Fraction>,
}

/// One core's end.
pub(crate) struct AccessLog {
    buffer: String,
    lines: u64,
    dropped: u64,
    /// The second that `time` holds as text.
    second: u64,
    time: String,
    writer: mpsc::Sender<String>,
    metrics: Arc<CoreMetrics>,
}

/// The writer and the handle that cores clone.
pub(crate) fn channel() -> (mpsc::Sender<String>, mpsc::Receiver<String>) {
    mpsc::channel(QUEUE)
}

/// Writes until every core is gone. A reader that went away loses the log, not the role.
pub(crate) async fn write_all(mut out: Box<dyn Write + Send>, mut buffers: mpsc::Receiver<String>) {
    let mut failed = false;
    while let Some(buffer) = buffers.recv().await {
        let result = out.write_all(buffer.as_bytes()).and_then(|()| out.flush());
        if let (Err(error), false) = (&result, failed) {
            tracing::warn!(%error, "the access log cannot be written");
        }
        failed = result.is_err();
    }
}

impl AccessLog {
    pub(crate) fn new(writer: mpsc::Sender<String>, metrics: Arc<CoreMetrics>) -> Self {
        Self {
            buffer: String::new(),
            lines: 0,
            dropped: 0,
            second: u64::MAX,
            time: String::new(),
            writer,
            metrics,
        }
    }

    pub(crate) fn record(&mut self, record: &Record<'_>) {
        let second = record.unix_ms / 1000;
        if second != self.second {
            self.second = second;
            self.time = date_time(second);
        }
        let out = &mut self.buffer;
        // Writing to a String cannot fail.
        let _infallible = write!(
            out,
            "{{\"time\":\"{}.{:03}Z\",\"id\":\"",
            self.time,
            record.unix_ms % 1000
        );
        escape(out, record.id);
        let _infallible = write!(out, "\",\"client\":\"{}\",\"method\":\"", record.client);
        escape(out, record.method);
        out.push_str("\",\"path\":\"");
        escape(out, record.path);
        let _infallible = write!(
            out,
            "\",\"protocol\":\"{}\",\"status\":{},\"bytes\":{},\"ms\":",
            record.protocol, record.status, record.bytes,
        );
        milliseconds(out, record.took);
        if let Some(tls) = record.tls {
            let _infallible = write!(out, ",\"tls\":\"{tls}\"");
        }
        if let Some(route) = record.route {
            let _infallible = write!(out, ",\"route\":\"{route}\"");
        }
        if let Some(user) = record.user {
            out.push_str(",\"user\":\"");
            escape(out, user);
            out.push('"');
        }
        if let Some(trace) = record.trace {
            let _infallible = write!(out, ",\"trace_id\":\"{}\"", trace.trace_id());
        }
        if let Some(upstream) = record.upstream {
            let _infallible = write!(out, ",\"upstream\":\"{upstream}\"");
        }
        if !record.waited.is_zero() {
            out.push_str(",\"waited_ms\":");
            milliseconds(out, record.waited);
        }
        if let Some(sample) = record.sample {
            let _infallible = write!(out, ",\"sample\":{}", sample.of_one());
        }
        let _infallible = writeln!(
            out,
            ",\"retries\":{},\"outcome\":\"{}\"}}",
            record.retries, record.outcome
        );
        self.lines += 1;
        if self.buffer.len() >= FULL {
            self.flush();
        }
    }

    /// A line of other fields: what stands behind the time, without braces.
    pub(crate) fn line(&mut self, unix_ms: u64, fields: std::fmt::Arguments<'_>) {
        let second = unix_ms / 1000;
        if second != self.second {
            self.second = second;
            self.time = date_time(second);
        }
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            self.buffer,
            "{{\"time\":\"{}.{:03}Z\",{fields}}}",
            self.time,
            unix_ms % 1000
        );
        self.lines += 1;
        if self.buffer.len() >= FULL {
            self.flush();
        }
    }

    /// Hands over what has gathered; called when full and each tick.
    pub(crate) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let mut buffer = std::mem::replace(&mut self.buffer, String::with_capacity(FULL + 1024));
        if self.dropped > 0 {
            let _infallible = writeln!(buffer, "{{\"dropped_lines\":{}}}", self.dropped);
        }
        match self.writer.try_send(buffer) {
            Ok(()) => self.dropped = 0,
            Err(_behind) => {
                self.dropped += self.lines;
                self.metrics.lines_dropped.add(self.lines);
            }
        }
        self.lines = 0;
    }
}

fn milliseconds(out: &mut String, time: Duration) {
    let _infallible = write!(out, "{}.{:03}", time.as_millis(), time.subsec_micros() % 1000);
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c < ' ' => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str) -> Record<'_> {
        Record {
            unix_ms: 1_709_251_199_042,
            id: "abc",
            client: IpAddr::from([10, 0, 0, 1]),
            method: "GET",
            path,
            status: 200,
            bytes: 12,
            took: Duration::from_micros(1_234),
            route: None,
            user: None,
            trace: None,
            upstream: Some("web.1@r1"),
            waited: Duration::ZERO,
            retries: 0,
            protocol: "1.1",
            tls: None,
            outcome: "answered",
            sample: None,
        }
    }

    #[test]
    fn a_line_is_json_with_every_field() {
        let (sender, mut receiver) = channel();
        let mut log = AccessLog::new(sender, Arc::default());
        log.record(&line("/a\"b\\c"));
        log.flush();
        let text = receiver.try_recv().unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "time": "2024-02-29T23:59:59.042Z", "id": "abc", "client": "10.0.0.1", "method": "GET",
                "path": "/a\"b\\c", "protocol": "1.1", "status": 200, "bytes": 12, "ms": 1.234, "upstream": "web.1@r1",
                "retries": 0, "outcome": "answered",
            })
        );
    }

    #[test]
    fn a_writer_that_is_behind_costs_lines_which_are_counted() {
        let (sender, mut receiver) = channel();
        let mut log = AccessLog::new(sender, Arc::default());
        for _ in 0..QUEUE + 3 {
            log.record(&line("/"));
            log.flush();
        }
        while receiver.try_recv().is_ok() {}
        log.record(&line("/"));
        log.flush();
        assert!(receiver.try_recv().unwrap().contains("{\"dropped_lines\":3}"));
    }
}
