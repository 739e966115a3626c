//! How far replicas were behind in the last hour: the most of each minute.

use std::collections::{BTreeMap, VecDeque};

use banyan_topology::NodeId;
use banyan_topology::report::NodeReport;
use banyan_topology::signals::{LagMost, LagSignal};

const MINUTES: usize = 60;

#[derive(Default)]
pub(super) struct LagHistory(BTreeMap<NodeId, Node>);

#[derive(Default)]
struct Node {
    now: Option<LagMost>,
    /// The minute that the last of `minutes` is.
    minute: u64,
    minutes: VecDeque<Option<LagMost>>,
}

impl LagHistory {
    /// What was reported just now; `second`: of any clock that does not go back.
    pub(super) fn add(&mut self, second: u64, reports: &[NodeReport]) {
        let replica = |report: &&NodeReport| report.in_recovery != Some(false);
        let known: Vec<&NodeReport> = reports.iter().filter(replica).collect();
        self.0.retain(|id, _| known.iter().any(|report| report.id == *id));
        for report in known {
            let lag = report.lag_bytes.zip(report.lag_seconds);
            let lag = lag.map(|(bytes, seconds)| LagMost { bytes, seconds });
            // A primary that is asked by nobody looks like a replica of which nothing is known.
            if lag.is_some() || self.0.contains_key(&report.id) {
                self.0.entry(report.id).or_default().add(second / 60, lag);
            }
        }
    }

    pub(super) fn signals(&self) -> Vec<LagSignal> {
        let signal = |(id, node): (&NodeId, &Node)| LagSignal {
            id: *id,
            bytes: node.now.map(|lag| lag.bytes),
            seconds: node.now.map(|lag| lag.seconds),
            minutes: node.minutes.iter().copied().collect(),
        };
        self.0.iter().map(signal).collect()
    }
}

impl Node {
    fn add(&mut self, minute: u64, lag: Option<LagMost>) {
        let passed = match self.minutes.is_empty() {
            true => 1,
            false => minute.saturating_sub(self.minute),
        };
        for _ in 0..passed.min(MINUTES as u64) {
            if self.minutes.len() >= MINUTES {
                self.minutes.pop_front();
            }
            self.minutes.push_back(None);
        }
        self.minute = minute;
        self.now = lag;
        if let (Some(last), Some(lag)) = (self.minutes.back_mut(), lag) {
            let before = last.unwrap_or_default();
            *last = Some(LagMost {
                bytes: before.bytes.max(lag.bytes),
                seconds: before.seconds.max(lag.seconds),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(id: u32, lag: Option<(u64, f64)>) -> NodeReport {
        NodeReport {
            id: NodeId(id),
            reachable: true,
            reason: None,
            in_recovery: Some(id > 1),
            lag_bytes: lag.map(|(bytes, _)| bytes),
            lag_seconds: lag.map(|(_, seconds)| seconds),
            incarnation: None,
            replayed: None,
        }
    }

    #[test]
    fn the_most_of_each_minute_is_kept_for_an_hour() {
        let mut history = LagHistory::default();
        for second in 0..4_000 {
            let lag = (second < 3_900).then_some((second, 0.5));
            history.add(second, &[report(1, None), report(2, lag)]);
        }
        let signals = history.signals();
        assert_eq!(signals.len(), 1, "a primary has no lag");
        let replica = &signals[0];
        assert_eq!(
            (replica.id, replica.bytes, replica.minutes.len()),
            (NodeId(2), None, MINUTES)
        );
        // The last two minutes say nothing: it was not asked.
        assert_eq!(replica.most(1), None);
        assert_eq!(replica.most(3).map(|most| most.bytes), Some(3_899));
        assert_eq!(
            replica.minutes.iter().flatten().next().map(|most| most.bytes),
            Some(479)
        );
        history.add(4_001, &[report(1, None)]);
        assert!(history.signals().is_empty(), "one that is no more is forgotten");
    }
}
