//! The logs of the children, merged: what was written ([`History`]), what comes ([`Tail`]), which lines are wanted.
//!
//! Children write to their file themselves, so rotation truncates it after copying; a file that became shorter, or is
//! another one, is read from its beginning.

mod filter;
mod history;
mod render;
mod tail;

use banyan_telemetry::Record;

pub(crate) use filter::{Filter, Since};
pub(crate) use history::History;
pub(crate) use render::render;
pub(crate) use tail::Tail;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) child: String,
    /// Unix ms: its own, or that of a line near it.
    pub(crate) time_ms: u64,
    /// As it was written.
    pub(crate) text: String,
    pub(crate) record: Record,
}

impl Line {
    /// `around_ms`: for a line that does not say its time.
    fn new(child: &str, around_ms: u64, text: String) -> Self {
        let record = Record::read(&text);
        Self {
            child: child.to_owned(),
            time_ms: record.time_ms.unwrap_or(around_ms),
            text,
            record,
        }
    }
}

/// A line without a time belongs to the one before it; with none before, to the first that has one, else to `else_ms`.
fn timed(child: &str, texts: Vec<String>, else_ms: u64) -> Vec<Line> {
    let mut lines: Vec<Line> = texts
        .into_iter()
        .map(|text| Line::new(child, else_ms, text))
        .collect();
    let mut before = lines.iter().find_map(|line| line.record.time_ms);
    for line in &mut lines {
        before = line.record.time_ms.or(before);
        line.time_ms = before.unwrap_or(else_ms);
    }
    lines
}

/// Which children are wanted; empty: all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted(pub(crate) Vec<String>);

impl Wanted {
    /// `web` means all its instances, `web.1` that slot in every release, `web.1@r3` one, `edge` the edge.
    pub(crate) fn contains(&self, child: &str) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|name| {
                let rest = child.strip_prefix(name.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '@']))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_a_process_a_slot_or_a_child() {
        let wanted = |name: &str, child| Wanted(vec![name.to_owned()]).contains(child);
        assert!(wanted("web", "web.1@r3") && wanted("web.1", "web.1@r3") && wanted("edge", "edge"));
        assert!(!wanted("web", "webhook.1@r1") && !wanted("web.1", "web.11@r1"));
        assert!(Wanted::default().contains("postgres"));
    }
}
