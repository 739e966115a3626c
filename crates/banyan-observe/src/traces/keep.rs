//! Which traces are kept: decided when all of a request is over (tail sampling), for the whole trace or not at all. Pure.
//!
//! A span waits until another one of its trace wants it kept, or its time is over; then it is judged with all that came of
//! its trace. Limits: 50,000 spans, 30 s; above, the oldest traces are judged early.

use std::collections::{BTreeMap, VecDeque};

use banyan_telemetry::span::{Span, TraceId};

/// How long spans wait for the end of their request, in microseconds.
const PATIENCE_US: u64 = 30_000_000;
/// In all traces together.
const WAITING: usize = 50_000;
/// Of one trace; further ones are dropped.
const LONGEST: usize = 2_000;
/// Ordinary traces of apps that no edge has judged, kept per second.
const ORDINARY: u32 = 5;

/// What of it is kept besides failures and what its sender wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What takes at least so long.
    pub slow_us: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { slow_us: 1_000_000 }
    }
}

/// Whether a trace is worth keeping, by all that is known of it. Spans that an edge has seen the root of say so themselves.
pub fn keep(spans: &[Span], rules: Rules) -> bool {
    spans
        .iter()
        .any(|span| span.keep || span.failed || span.took_us >= rules.slow_us)
}

#[derive(Debug, Default)]
pub struct Tail {
    rules: Rules,
    traces: BTreeMap<TraceId, Trace>,
    /// By arrival of the first span.
    order: VecDeque<(u64, TraceId)>,
    waiting: usize,
    dropped: u64,
    /// The second that runs, and what of ordinary traces was kept in it.
    second: u64,
    ordinary: u32,
}

#[derive(Debug, Default)]
struct Trace {
    spans: Vec<Span>,
    kept: bool,
    count: usize,
}

impl Tail {
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }

    /// What is to be kept now, of this span's trace and of those whose time is over.
    pub fn take(&mut self, span: Span, now_us: u64) -> Vec<Span> {
        let mut out = Vec::new();
        let id = span.trace;
        let trace = self.traces.entry(id).or_insert_with(|| {
            self.order.push_back((now_us, id));
            Trace::default()
        });
        if trace.count >= LONGEST {
            self.dropped += 1;
            return out;
        }
        trace.count += 1;
        let wanted = keep(std::slice::from_ref(&span), self.rules);
        trace.spans.push(span);
        self.waiting += 1;
        if wanted || trace.kept {
            trace.kept = true;
            self.waiting -= trace.spans.len();
            out.append(&mut trace.spans);
        }
        while self.waiting > WAITING {
            self.judge_oldest(now_us, &mut out);
        }
        out
    }

    /// Judges what has waited long enough.
    pub fn expire(&mut self, now_us: u64) -> Vec<Span> {
        let mut out = Vec::new();
        while let Some((since, _)) = self.order.front()
            && since.saturating_add(PATIENCE_US) <= now_us
        {
            self.judge_oldest(now_us, &mut out);
        }
        out
    }

    /// Spans that were dropped because their trace has too many.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// An edge has seen ordinary requests end and did not want them; of what no edge has seen a few are kept.
    fn judge_oldest(&mut self, now_us: u64, out: &mut Vec<Span>) {
        let Some((_, id)) = self.order.pop_front() else {
            return;
        };
        let Some(trace) = self.traces.remove(&id) else {
            return;
        };
        self.waiting -= trace.spans.len();
        let whole = trace.spans.iter().any(|span| span.parent.is_none());
        if whole && self.may_keep_ordinary(now_us / 1_000_000) {
            out.extend(trace.spans);
        }
    }

    fn may_keep_ordinary(&mut self, second: u64) -> bool {
        if self.second != second {
            (self.second, self.ordinary) = (second, 0);
        }
        self.ordinary += 1;
        self.ordinary <= ORDINARY
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::span;
    use super::*;

    fn of(trace: u128, id: u64, parent: u64) -> Span {
        Span {
            trace: TraceId(trace),
            ..span(id, parent, "x", 0, 1)
        }
    }

    fn ids(spans: &[Span]) -> Vec<u64> {
        spans.iter().map(|span| span.id.0).collect()
    }

    #[test]
    fn a_trace_is_kept_whole_from_the_moment_that_somebody_wants_it() {
        let mut tail = Tail::new(Rules::default());
        assert!(ids(&tail.take(of(1, 11, 12), 0)).is_empty());
        assert!(ids(&tail.take(of(2, 21, 22), 0)).is_empty());
        let root = Span {
            keep: true,
            ..of(1, 12, 0)
        };
        assert_eq!(ids(&tail.take(root, 5)), [11, 12]);
        // What comes late belongs to it.
        assert_eq!(ids(&tail.take(of(1, 13, 12), 9)), [13]);
        // The other one waits for nothing, and has no root that would be of use.
        assert!(ids(&tail.expire(PATIENCE_US - 1)).is_empty());
        assert!(ids(&tail.expire(PATIENCE_US)).is_empty());
        assert!(tail.traces.is_empty() && tail.waiting == 0);
    }

    #[test]
    fn failed_and_slow_ones_are_kept_without_being_asked() {
        let rules = Rules { slow_us: 5_000 };
        assert!(!keep(&[of(1, 1, 0)], rules));
        assert!(keep(
            &[
                of(1, 1, 0),
                Span {
                    failed: true,
                    ..of(1, 2, 1)
                }
            ],
            rules
        ));
        assert!(keep(
            &[Span {
                took_us: 5_000,
                ..of(1, 1, 0)
            }],
            rules
        ));
    }

    #[test]
    fn of_whole_ordinary_traces_a_few_are_kept() {
        let mut tail = Tail::new(Rules::default());
        (1..=20).for_each(|trace| drop(tail.take(of(trace, 1, 0), 0)));
        assert_eq!(tail.expire(PATIENCE_US).len(), ORDINARY as usize);
    }

    #[test]
    fn memory_is_bounded_by_judging_early() {
        let mut tail = Tail::new(Rules::default());
        for trace in 0..(WAITING as u128 + 10) {
            tail.take(of(trace + 1, 1, 9), 0);
        }
        assert_eq!((tail.waiting, tail.traces.len()), (WAITING, WAITING));
        for id in 0..(LONGEST as u64 + 5) {
            tail.take(
                Span {
                    keep: true,
                    ..of(u128::MAX, id + 1, 0)
                },
                0,
            );
        }
        assert_eq!(tail.dropped(), 5);
    }
}
