//! What a process's instances are asked, measured from successive reports: pure, times are arguments.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use banyan_topology::report::EdgeReport;
use banyan_topology::{InstanceId, PlaceName, ProcessName};

/// Reports are kept for a little longer than the longest average.
const KEPT: Duration = Duration::from_secs(20);
/// Weight of the newest value in what is smoothed.
const NEW: f64 = 0.2;
/// Below this rate and this share of CPU, quotients are noise.
const LEAST_RATE: f64 = 1.0;
const LEAST_CPU: f64 = 0.05;

/// The last seconds of one process, over all places of the edge.
#[derive(Debug, Default)]
pub(super) struct Meter {
    lanes: BTreeMap<Option<PlaceName>, Lane>,
    /// CPU time of each instance, when it was last looked at.
    cpu: BTreeMap<InstanceId, (Instant, u64)>,
    service: Option<f64>,
    knee: Option<f64>,
}

/// What one process of the edge has said.
#[derive(Debug, Default)]
struct Lane {
    pid: u32,
    seen: Vec<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    ended: f64,
    shed: f64,
    in_flight: f64,
    waiting: f64,
}

#[expect(clippy::cast_precision_loss, reason = "rates need no exact counts")]
impl Lane {
    fn take(&mut self, at: Instant, process: &ProcessName, report: &EdgeReport) {
        let Some(of) = report.processes.iter().find(|of| of.process == *process) else {
            return;
        };
        // Counters begin anew with the process; one that only finishes what it has does not speak for the edge.
        if report.pid != self.pid {
            if report.listening.is_empty() {
                return;
            }
            self.pid = report.pid;
            self.seen.clear();
        }
        let endpoints = report.endpoints.iter().filter(|e| e.id.process == *process);
        self.seen.push(Sample {
            at,
            ended: of.requests as f64,
            shed: of.shed as f64,
            in_flight: endpoints.map(|e| e.in_flight).sum::<u64>() as f64,
            waiting: of.waiting as f64,
        });
        self.seen
            .retain(|sample| at.saturating_duration_since(sample.at) <= KEPT);
    }

    fn in_flight(&self, reports: usize) -> f64 {
        let last = self.seen.iter().rev().take(reports);
        let count = last.len().max(1) as f64;
        last.map(|sample| sample.in_flight).sum::<f64>() / count
    }

    fn per_second(&self, span: Duration, count: impl Fn(&Sample) -> f64) -> Option<f64> {
        let last = self.seen.last()?;
        let first = self
            .seen
            .iter()
            .rev()
            .take_while(|sample| last.at.saturating_duration_since(sample.at) <= span)
            .last()?;
        let seconds = last.at.saturating_duration_since(first.at).as_secs_f64();
        (seconds > 0.0).then(|| (count(last) - count(first)) / seconds)
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates need no exact counts")]
impl Meter {
    pub(super) fn take(&mut self, at: Instant, process: &ProcessName, report: &EdgeReport) {
        let lane = self.lanes.entry(report.place.clone()).or_default();
        lane.take(at, process, report);
    }

    /// Only these have anything to say from now on. One that has said nothing yet is waited for.
    pub(super) fn keep<'a>(&mut self, places: impl Iterator<Item = Option<&'a PlaceName>>) {
        let places: Vec<Option<PlaceName>> = places.map(Option::<&PlaceName>::cloned).collect();
        self.lanes.retain(|place, _| places.contains(place));
        for place in places {
            self.lanes.entry(place).or_default();
        }
    }

    /// Of the one that has been silent longest; `None`: one has said nothing yet.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        let age = |lane: &Lane| Some(now.saturating_duration_since(lane.seen.last()?.at));
        let ages: Option<Vec<Duration>> = self.lanes.values().map(age).collect();
        ages?.into_iter().max()
    }

    pub(super) fn waiting(&self) -> f64 {
        let last = self.lanes.values().filter_map(|lane| lane.seen.last());
        last.map(|sample| sample.waiting).sum()
    }

    /// Mean over the last reports, of which one comes each second.
    pub(super) fn in_flight(&self, reports: usize) -> f64 {
        self.lanes.values().map(|lane| lane.in_flight(reports)).sum()
    }

    /// Requests per second that arrived within `span`: what has ended, and what has come to those under way.
    pub(super) fn arrived(&self, span: Duration) -> Option<f64> {
        let all = |sample: &Sample| sample.ended + sample.in_flight + sample.waiting;
        Some(self.per_second(span, all)?.max(0.0))
    }

    /// Share of what ended within `span` that found no instance.
    pub(super) fn refused(&self, span: Duration) -> Option<f64> {
        let (ended, shed) = (
            self.per_second(span, |s| s.ended)?,
            self.per_second(span, |s| s.shed)?,
        );
        (ended > 0.0).then(|| (shed / ended).clamp(0.0, 1.0))
    }

    fn per_second(&self, span: Duration, count: impl Fn(&Sample) -> f64) -> Option<f64> {
        self.lanes
            .values()
            .map(|lane| lane.per_second(span, &count))
            .sum()
    }

    /// Mean time of a request, by Little's law, smoothed. Taken only while nothing waits: a queue says nothing of it.
    pub(super) fn service(&mut self, span: Duration) -> Option<f64> {
        let served = self.per_second(span, |sample| sample.ended - sample.shed)?;
        if served >= LEAST_RATE && self.waiting() < 1.0 {
            let now = (self.in_flight(5) / served).max(1e-4);
            self.service = Some(smoothed(self.service, now));
        }
        self.service
    }

    /// CPU that the instances used since it was last asked, as a share of `cores` each. `used`: CPU time of each in ms.
    pub(super) fn cpu(&mut self, now: Instant, used: &BTreeMap<InstanceId, u64>, cores: f64) -> Option<f64> {
        let mut shares = Vec::new();
        for (id, ms) in used {
            let Some((then, before)) = self.cpu.get(id) else {
                continue;
            };
            let seconds = now.saturating_duration_since(*then).as_secs_f64();
            if let (true, Some(spent)) = (seconds > 0.0, ms.checked_sub(*before)) {
                shares.push(spent as f64 / 1000.0 / seconds / cores);
            }
        }
        self.cpu = used.iter().map(|(id, ms)| (id.clone(), (now, *ms))).collect();
        (!shares.is_empty()).then(|| shares.iter().sum::<f64>() / shares.len() as f64)
    }

    /// Requests per second at which an instance's CPUs would be busy all the time, smoothed (utilisation law).
    pub(super) fn knee(&mut self, each: f64, cpu: Option<f64>) -> Option<f64> {
        if let Some(cpu) = cpu
            && cpu >= LEAST_CPU
            && each >= LEAST_RATE
        {
            self.knee = Some(smoothed(self.knee, each / cpu));
        }
        self.knee
    }
}

fn smoothed(before: Option<f64>, now: f64) -> f64 {
    before.map_or(now, |before| before + NEW * (now - before))
}

#[cfg(test)]
mod tests {
    use banyan_runtime::Clock;
    use banyan_topology::report::{EndpointReport, ProcessReport};

    use super::*;

    fn process() -> ProcessName {
        "web".parse().unwrap()
    }

    fn report(pid: u32, ended: u64, in_flight: u64, waiting: u64) -> EdgeReport {
        EdgeReport {
            pid,
            listening: vec!["127.0.0.1:80".parse().unwrap()],
            endpoints: vec![EndpointReport {
                id: "web.1@r1".parse().unwrap(),
                healthy: true,
                reason: None,
                ejected: None,
                ejections: 0,
                in_flight,
                requests: 0,
                failures: 0,
            }],
            processes: vec![ProcessReport {
                process: process(),
                requests: ended,
                errors: 0,
                shed: ended / 10,
                waiting,
                p50_us: None,
                p99_us: None,
            }],
            ..EdgeReport::default()
        }
    }

    #[test]
    fn what_waits_and_what_is_under_way_has_arrived_too() {
        let (start, mut meter) = (Clock.now(), Meter::default());
        for second in 0..10 {
            let at = start + Duration::from_secs(second);
            meter.take(at, &process(), &report(7, 100 * second, 8, 20 * second));
        }
        assert_eq!(meter.arrived(Duration::from_secs(5)), Some(120.0));
        assert_eq!(meter.waiting().to_string(), "180");
        assert_eq!(meter.refused(Duration::from_secs(5)), Some(0.1));
    }

    #[test]
    fn places_are_added_up_and_one_that_is_silent_is_missed() {
        let (start, mut meter) = (Clock.now(), Meter::default());
        let north: PlaceName = "north".parse().unwrap();
        let places = [None, Some(&north)];
        meter.keep(places.into_iter());
        let at = |second| start + Duration::from_secs(second);
        for second in 0..3 {
            meter.take(at(second), &process(), &report(7, 10 * second, 0, 1));
        }
        assert_eq!(meter.age(at(2)), None, "nothing was heard of the other");
        for second in 0..2 {
            let report = EdgeReport {
                place: Some(north.clone()),
                ..report(8, 30 * second, 0, 2)
            };
            meter.take(at(second), &process(), &report);
        }
        assert_eq!(meter.arrived(Duration::from_secs(5)), Some(40.0));
        assert_eq!(meter.age(at(11)), Some(Duration::from_secs(10)));
        meter.keep([None].into_iter());
        assert_eq!(meter.arrived(Duration::from_secs(5)), Some(10.0));
    }

    #[test]
    fn the_time_of_a_request_is_what_is_under_way_over_what_ends() {
        let (start, mut meter) = (Clock.now(), Meter::default());
        for second in 0..6 {
            let at = start + Duration::from_secs(second);
            meter.take(at, &process(), &report(7, 100 * second, 4, 0));
        }
        // 90 of 100 a second were served, 10 refused at once.
        let service = meter.service(Duration::from_secs(5)).unwrap();
        assert!((service - 4.0 / 90.0).abs() < 1e-9, "{service}");
        meter.take(start + Duration::from_secs(6), &process(), &report(7, 600, 8, 50));
        assert_eq!(meter.service(Duration::from_secs(5)), Some(service), "a queue");
    }

    #[test]
    fn counters_of_another_edge_process_begin_anew() {
        let (start, mut meter) = (Clock.now(), Meter::default());
        let at = |second| start + Duration::from_secs(second);
        meter.take(at(0), &process(), &report(7, 1000, 0, 0));
        meter.take(at(1), &process(), &report(8, 5, 0, 0));
        assert_eq!(meter.arrived(Duration::from_secs(5)), None);
        meter.take(at(2), &process(), &report(8, 25, 0, 0));
        assert_eq!(meter.arrived(Duration::from_secs(5)), Some(20.0));
        assert_eq!(meter.age(at(4)), Some(Duration::from_secs(2)));
    }

    #[test]
    fn cpu_is_a_share_of_what_an_instance_is_meant_to_use() {
        let (start, mut meter) = (Clock.now(), Meter::default());
        let used = |one, two| {
            let ids = ["web.1@r1", "web.2@r1"].map(|id| id.parse().unwrap());
            ids.into_iter().zip([one, two]).collect()
        };
        assert_eq!(meter.cpu(start, &used(0, 1000), 1.0), None);
        let later = start + Duration::from_secs(5);
        assert_eq!(meter.cpu(later, &used(4000, 2000), 1.0), Some(0.5));
        assert_eq!(meter.knee(50.0, Some(0.5)), Some(100.0));
        assert_eq!(meter.knee(50.0, Some(0.01)), Some(100.0), "too little to tell");
    }
}
