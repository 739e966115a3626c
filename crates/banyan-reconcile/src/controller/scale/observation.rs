//! What was measured, as the policies know it: in their own time, which runs `speed` times faster than the clock. Rates
//! are per second of that time, and a request takes so many times longer.

use std::collections::BTreeMap;
use std::time::Duration;

use banyan_capacity::autoscale::{Decision, Downstream, HostRoom, Observation, Staffing};
use banyan_config::{Scale, ScalePolicy};
use banyan_supervisor::ChildStatus;
use banyan_topology::{Edge, InstanceId, Process, ProcessName, Topology};

use super::meter::Meter;
use super::{Sight, instances};
use crate::proto::{Decided, Measured};

const SHORT: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(15);
/// Reports come each second: a rate is over two of them at least.
const SHORTEST: Duration = Duration::from_millis(2500);
/// Reports over which requests under way are a mean.
const REPORTS: u32 = 5;
/// Until a request was measured, in seconds.
const SERVICE: f64 = 0.05;

/// A moment in the policies' time.
pub(super) fn time(unix_ms: u64, speed: u32) -> Duration {
    Duration::from_millis(unix_ms) * speed
}

/// `None`: too little was heard. `start`: of an instance.
pub(super) fn observe(
    meter: &mut Meter,
    process: &Process,
    scale: &Scale,
    sight: &Sight<'_>,
    start: Duration,
    host: HostRoom,
) -> Option<Observation> {
    let (speed, times) = (scale.speed, f64::from(scale.speed));
    let span = |window: Duration| (window / speed).max(SHORTEST);
    let age = meter.age(sight.now)?;
    let (rate_5s, rate_15s) = (meter.arrived(span(SHORT))?, meter.arrived(span(LONG))?);
    let ready = ready(&process.name, sight);
    let target = sight
        .coming
        .get(&process.name)
        .copied()
        .unwrap_or_else(|| instances(&process.name, sight.topology));
    let cpu = meter.cpu(
        sight.now,
        &used(&process.name, sight.children),
        f64::from(scale.cores),
    );
    let knee = meter.knee(rate_15s / f64::from(ready.max(1)), cpu);
    let edge = sight.topology.edge.as_ref()?;
    let reports = usize::try_from(REPORTS.div_ceil(speed)).unwrap_or(1);
    let in_flight = meter.in_flight(reports);
    Some(Observation {
        at: time(sight.unix_ms, speed),
        rate_5s: rate_5s / times,
        rate_15s: rate_15s / times,
        waiting: meter.waiting(),
        in_flight,
        staffing: Staffing {
            slots: slots(edge),
            service: meter.service(span(LONG)).unwrap_or(SERVICE) * times,
            variation: 1.0,
            knee: knee.map(|knee| knee / times),
            wait: scale.slo_wait * speed,
        },
        start: start * speed,
        ready: ready.min(target),
        starting: target.saturating_sub(ready),
        cpu,
        refused: meter.refused(span(LONG)),
        downstream: downstream(scale, sight, in_flight, ready),
        host,
        activity: sight.activity,
        age: age * speed,
    })
}

/// For people: by the clock.
pub(super) fn decided(
    process: &ProcessName,
    scale: &Scale,
    seen: &Observation,
    decision: &Decision,
    unix_ms: u64,
) -> Decided {
    let times = f64::from(scale.speed);
    let ms = |time: Duration| u64::try_from((time / scale.speed).as_millis()).unwrap_or(u64::MAX);
    Decided {
        unix_ms,
        process: process.clone(),
        policy: policy(scale).to_owned(),
        shadow: scale.shadow,
        min: scale.min,
        max: scale.max,
        measured: Measured {
            age_ms: ms(seen.age),
            rate_5s: seen.rate_5s * times,
            rate_15s: seen.rate_15s * times,
            waiting: seen.waiting,
            in_flight: seen.in_flight,
            ready: seen.ready,
            starting: seen.starting,
            slots: Some(seen.staffing.slots).filter(|slots| *slots < u32::MAX),
            service_ms: seen.staffing.service / times * 1000.0,
            capacity: seen.staffing.one() * times,
            start_ms: ms(seen.start),
            cpu: seen.cpu,
            refused: seen.refused,
            pool_wait: seen.downstream.pool_wait,
            connected: seen.downstream.instances,
            host_is_full: seen.host == HostRoom::Full,
        },
        need: decision.need,
        want: decision.want,
        why: decision.reason.to_string(),
        bounds: decision.bounds.iter().map(ToString::to_string).collect(),
    }
}

fn policy(scale: &Scale) -> &'static str {
    match scale.policy {
        ScalePolicy::Headroom => "headroom",
        ScalePolicy::Target(_) => "target",
        ScalePolicy::Concurrency => "concurrency",
        ScalePolicy::Spec(_) => "spec",
    }
}

fn ready(process: &ProcessName, sight: &Sight<'_>) -> u32 {
    let ready = sight
        .endpoints
        .iter()
        .filter(|e| e.id.process == *process && e.healthy && e.ejected.is_none());
    u32::try_from(ready.count()).unwrap_or(u32::MAX)
}

fn used(process: &ProcessName, children: &[ChildStatus]) -> BTreeMap<InstanceId, u64> {
    let of = |child: &ChildStatus| {
        let id: InstanceId = child.id.0.parse().ok()?;
        (id.process == *process).then_some((id, child.cpu_ms?))
    };
    children.iter().filter_map(of).collect()
}

/// Each place of the edge gives an instance as many at once.
fn slots(edge: &Edge) -> u32 {
    let places = u32::try_from(edge.everywhere().count()).unwrap_or(1);
    let each = edge.settings.queue.max_connections;
    each.map_or(u32::MAX, |each| each.saturating_mul(places))
}

/// What the proxy says of the database: how many of the requests under way wait for a connection at this moment, and how
/// many instances find theirs.
fn downstream(scale: &Scale, sight: &Sight<'_>, in_flight: f64, ready: u32) -> Downstream {
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let waiting = sight.pgproxy.map(|report| report.waiting as f64);
    let share = |waiting: f64| (in_flight >= 1.0).then(|| (waiting / in_flight).min(1.0));
    let clients = sight.pgproxy.map(|report| report.clients);
    Downstream {
        busy: None,
        pool_wait: waiting.and_then(share),
        instances: connected(scale, sight.topology, clients, ready),
    }
}

/// So many instances find their connections. `clients`: connections to the proxy now, those of other processes too.
fn connected(scale: &Scale, topology: &Topology, clients: Option<u64>, ready: u32) -> Option<u32> {
    let Some(proxy) = &topology.pgproxy else {
        // Nobody sees how many there are: what is declared was checked against the server's limit.
        let database = topology.database.as_ref()?;
        let for_app = database
            .max_connections
            .saturating_sub(banyan_config::BESIDE_THE_POOL);
        return Some(for_app / scale.connections?);
    };
    find_theirs(
        u64::from(proxy.pool.max_clients),
        clients?,
        scale.connections.unwrap_or(0),
        ready,
    )
}

/// Of `most` connections so many are there, of `ready` instances that open `declared` at most (0: not said). `None`: nobody
/// opens any.
fn find_theirs(most: u64, clients: u64, declared: u32, ready: u32) -> Option<u32> {
    let declared = u64::from(declared);
    let each = clients.div_ceil(u64::from(ready.max(1))).max(declared);
    let taken = clients.max(declared * u64::from(ready));
    let more = most.saturating_sub(taken).checked_div(each)?;
    Some(ready.saturating_add(u32::try_from(more).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_more_takes_as_many_connections_as_those_before_or_as_it_may() {
        assert_eq!(find_theirs(100, 40, 0, 4), Some(10));
        assert_eq!(
            find_theirs(100, 40, 25, 4),
            Some(4),
            "each may open more than it has"
        );
        assert_eq!(find_theirs(100, 120, 0, 4), Some(4), "those that run have theirs");
        assert_eq!(find_theirs(100, 0, 0, 4), None, "nobody connects");
        assert_eq!(find_theirs(100, 0, 10, 0), Some(10));
    }

    #[test]
    fn a_policy_whose_time_runs_faster_asks_for_the_same_instances() {
        let staffing = |times: f64| Staffing {
            slots: 8,
            service: 0.04 * times,
            variation: 1.0,
            knee: None,
            wait: Duration::from_millis(100).mul_f64(times),
        };
        for rate in [50.0, 300.0, 1100.0] {
            let late = [1.0, 5.0].map(|times| format!("{:.6}", staffing(times).late(6, rate / times)));
            assert_eq!(late[0], late[1]);
        }
    }
}
