//! The log of slow statements: a line each, with the trace that it is part of. Values never are in it: neither literals nor parameters.
//!
//! The trace comes from a comment as sqlcommenter writes it (`/*traceparent='00-…'*/`, W3C Trace Context) or from `application_name`.
//! Limit: [`LINES`] a second; the next line says how many were left out.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::LazyLock;

use banyan_telemetry::trace::TraceParent;
use memchr::memmem::Finder;

use super::table::Query;
use crate::parse::lex::{self, TokenKind};

/// A database that is slow is not to be slowed by its log.
const LINES: u32 = 10;
/// Longer statements are cut.
const SHOWN: usize = 2_000;

/// A statement that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) query: Query,
    pub(crate) took_us: u64,
    pub(crate) failed: bool,
    /// Else it is told only because all are.
    pub(crate) is_slow: bool,
}

/// What the client knows of a slow statement of its own.
pub(crate) struct SlowLine<'a> {
    pub(crate) trace: Option<TraceParent>,
    pub(crate) application: &'a str,
    pub(crate) user: &'a str,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) node: String,
    /// For a connection, or for the end of a hold, before it began.
    pub(crate) waited_us: u64,
}

impl Slow {
    pub(super) fn write(&self, statement: &str, line: &SlowLine<'_>, left_out: u32) {
        let statement: String = statement.chars().take(SHOWN).collect();
        let trace_id = line.trace.map(|trace| trace.trace_id().to_string());
        tracing::info!(
            duration_ms = ms(self.took_us),
            waited_ms = (line.waited_us > 0).then(|| ms(line.waited_us)),
            trace_id,
            failed = self.failed.then_some(true),
            node = line.node,
            user = line.user,
            application = (!line.application.is_empty()).then_some(line.application),
            client = line.client.map(|client| client.to_string()),
            left_out = (left_out > 0).then_some(left_out),
            statement,
            "slow statement"
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
fn ms(us: u64) -> f64 {
    us as f64 / 1e3
}

const NAME: &[u8] = b"traceparent";

/// Made once: every statement is searched while somebody keeps traces.
static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(NAME));

/// The trace that a text's comments name.
pub(crate) fn trace_in(text: &[u8]) -> Option<TraceParent> {
    FINDER.find(text)?;
    let comments = lex::tokens(text)
        .flatten()
        .filter(|token| token.kind == TokenKind::Comment);
    comments.into_iter().find_map(|comment| {
        let comment = &text[comment.start..comment.end];
        let rest = &comment[FINDER.find(comment)? + NAME.len()..];
        let value = rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
        let value = value.strip_prefix(b"'").unwrap_or(value);
        let ends = value
            .iter()
            .position(|byte| !(byte.is_ascii_hexdigit() || *byte == b'-'));
        TraceParent::parse(std::str::from_utf8(&value[..ends.unwrap_or(value.len())]).ok()?)
    })
}

/// Lines of the second that runs.
#[derive(Default)]
pub(super) struct Limit {
    second: Cell<u64>,
    lines: Cell<u32>,
    left_out: Cell<u32>,
}

impl Limit {
    /// `None`: no more in this second; else how many were left out since the last line.
    pub(super) fn take(&self, second: u64) -> Option<u32> {
        if self.second.replace(second) != second {
            self.lines.set(0);
        }
        if self.lines.get() >= LINES {
            self.left_out.set(self.left_out.get() + 1);
            return None;
        }
        self.lines.set(self.lines.get() + 1);
        Some(self.left_out.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_is_taken_from_comments_only() {
        let found = |text: String| trace_in(text.as_bytes()).map(|trace| trace.trace_id().to_string());
        let id = Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned());
        assert_eq!(
            found(format!("SELECT 1 /*action='x',traceparent='{PARENT}'*/")),
            id
        );
        assert_eq!(found(format!("-- traceparent={PARENT}\nSELECT 1")), id);
        assert_eq!(found(format!("SELECT 'traceparent={PARENT}'")), None);
        assert_eq!(found("SELECT 1 /*traceparent='00-zz'*/".to_owned()), None);
        assert_eq!(found("SELECT 1".to_owned()), None);
    }

    #[test]
    fn lines_are_few_and_the_next_one_says_how_many_were_left_out() {
        let limit = Limit::default();
        let first: Vec<_> = (0..LINES + 3).map(|_| limit.take(7)).collect();
        assert_eq!(
            first.iter().filter(|taken| taken.is_some()).count(),
            LINES as usize
        );
        assert_eq!(limit.take(8), Some(3));
        assert_eq!(limit.take(8), Some(0));
    }
}
