//! Requests per second from the counters of successive reports: pure, the time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use banyan_topology::InstanceId;
use banyan_topology::report::{EdgeReport, ProcessReport};

use crate::proto::ProcessRates;

/// Rates are averages over about this long.
const SPAN: Duration = Duration::from_secs(5);
/// A role reports each second; after this long without a report nothing is known.
const STALE: Duration = Duration::from_secs(5);

/// The reports of the last seconds, of one edge process.
#[derive(Debug, Default)]
pub(super) struct Rates {
    seen: Vec<(Instant, EdgeReport)>,
}

impl Rates {
    pub(super) fn take(&mut self, now: Instant, report: EdgeReport) {
        // One that only finishes what it has, beside the one that replaced it, does not speak for the edge.
        let serves = |report: &EdgeReport| !report.listening.is_empty();
        let other = self
            .current(now)
            .is_some_and(|known| known.pid != report.pid && serves(known));
        if other && !serves(&report) {
            return;
        }
        // Counters begin anew with the process.
        self.seen.retain(|(_, old)| old.pid == report.pid);
        self.seen.push((now, report));
        while self.seen.len() > 2 && now.duration_since(self.seen[1].0) >= SPAN {
            self.seen.remove(0);
        }
    }

    /// The newest report, unless the edge has fallen silent.
    pub(super) fn current(&self, now: Instant) -> Option<&EdgeReport> {
        let (at, report) = self.seen.last()?;
        (now.duration_since(*at) < STALE).then_some(report)
    }

    /// Requests per second over all endpoints.
    pub(super) fn total(&self, now: Instant) -> Option<f64> {
        self.per_second(now, |report| Some(report.totals.requests))
    }

    /// Share of 5xx answers among the requests of the last seconds; `None` without requests.
    pub(super) fn error_share(&self, now: Instant) -> Option<f64> {
        let requests = self.total(now)?;
        let errors = self.per_second(now, |report| Some(report.totals.responses_5xx))?;
        (requests > 0.0).then(|| (errors / requests).min(1.0))
    }

    pub(super) fn per_instance(&self, now: Instant) -> BTreeMap<InstanceId, f64> {
        let Some(report) = self.current(now) else {
            return BTreeMap::new();
        };
        let rate = |id: &InstanceId| {
            let requests =
                |report: &EdgeReport| Some(report.endpoints.iter().find(|e| e.id == *id)?.requests);
            self.per_second(now, requests)
        };
        let ids = report.endpoints.iter().map(|endpoint| &endpoint.id);
        ids.filter_map(|id| Some((id.clone(), rate(id)?))).collect()
    }

    pub(super) fn per_process(&self, now: Instant) -> Vec<ProcessRates> {
        let Some(report) = self.current(now) else {
            return Vec::new();
        };
        let one = |last: &ProcessReport| {
            let of = |read: fn(&ProcessReport) -> u64| {
                self.per_second(now, |report| {
                    let mut known = report.processes.iter();
                    known.find(|p| p.process == last.process).map(read)
                })
            };
            let (rps, errors) = (of(|p| p.requests), of(|p| p.errors));
            let share = |(rps, errors): (f64, f64)| (rps > 0.0).then(|| (errors / rps).min(1.0));
            ProcessRates {
                process: last.process.clone(),
                rps,
                error_share: rps.zip(errors).and_then(share),
                p50_us: last.p50_us,
                p99_us: last.p99_us,
            }
        };
        report.processes.iter().map(one).collect()
    }

    fn per_second(&self, now: Instant, count: impl Fn(&EdgeReport) -> Option<u64>) -> Option<f64> {
        self.current(now)?;
        let (until, last) = self.seen.last()?;
        let (since, first) = self.seen.iter().find(|(_, report)| count(report).is_some())?;
        let seconds = until.duration_since(*since).as_secs_f64();
        let counted = count(last)?.checked_sub(count(first)?)?;
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        (seconds > 0.0).then(|| counted as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use banyan_runtime::Clock;
    use banyan_topology::report::{EdgeTotals, EndpointReport};

    use super::*;

    fn report(pid: u32, requests: u64, errors: u64) -> EdgeReport {
        EdgeReport {
            pid,
            totals: EdgeTotals {
                requests,
                responses_5xx: errors,
                ..EdgeTotals::default()
            },
            endpoints: vec![EndpointReport {
                id: "web.1@r1".parse().unwrap(),
                healthy: true,
                reason: None,
                ejected: None,
                ejections: 0,
                in_flight: 0,
                requests: requests / 2,
                failures: 0,
            }],
            ..EdgeReport::default()
        }
    }

    #[test]
    fn a_rate_is_the_difference_over_the_last_seconds() {
        let start = Clock.now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut rates = Rates::default();
        assert_eq!(rates.total(at(0)), None);
        for second in 0..10 {
            rates.take(at(second), report(7, second * second * 10, second * second));
        }
        // From second 4 (160) to second 9 (810).
        assert_eq!(rates.total(at(9)), Some(130.0));
        assert_eq!(rates.error_share(at(9)), Some(0.1));
        assert_eq!(
            rates.per_instance(at(9)).into_values().collect::<Vec<_>>(),
            [65.0]
        );
    }

    #[test]
    fn each_process_has_its_own_rates() {
        let start = Clock.now();
        let mut rates = Rates::default();
        for second in 0..3 {
            let mut report = report(7, 0, 0);
            let process = |name: &str, requests, errors| ProcessReport {
                process: name.parse().unwrap(),
                shed: 0,
                waiting: 0,
                requests,
                errors,
                p50_us: Some(900),
                p99_us: None,
            };
            report.processes = vec![process("web", second * 100, second * 10)];
            if second > 0 {
                // Came later: its rate is of the time it is known.
                report.processes.push(process("api", second * 8, 0));
            }
            rates.take(start + Duration::from_secs(second), report);
        }
        let found = rates.per_process(start + Duration::from_secs(2));
        let shown: Vec<_> = found
            .iter()
            .map(|p| (p.process.as_str(), p.rps, p.error_share, p.p50_us))
            .collect();
        assert_eq!(
            shown,
            [
                ("web", Some(100.0), Some(0.1), Some(900)),
                ("api", Some(8.0), Some(0.0), Some(900))
            ]
        );
    }

    #[test]
    fn a_restarted_edge_begins_anew_and_a_silent_one_has_no_rate() {
        let start = Clock.now();
        let mut rates = Rates::default();
        rates.take(start, report(7, 1000, 0));
        rates.take(start + Duration::from_secs(1), report(8, 5, 0));
        assert_eq!(rates.total(start + Duration::from_secs(1)), None);
        rates.take(start + Duration::from_secs(2), report(8, 25, 0));
        assert_eq!(rates.total(start + Duration::from_secs(2)), Some(20.0));
        assert_eq!(rates.total(start + Duration::from_secs(8)), None);
    }
}
