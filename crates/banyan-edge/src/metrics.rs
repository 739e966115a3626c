//! What one core counts; the control task sums over cores and makes reports and the page of metrics of it.
//!
//! A cell is written by one core only, so nothing here is shared on a request's path. Who counts what is decided when a
//! snapshot is taken: a request finds its cells where it finds its route, its process, its endpoint and its listener.

use std::sync::Arc;
use std::time::Duration;

use banyan_config::Coding;
use banyan_httpcache::Why;
use banyan_telemetry::{Counter, Durations, Gauge, Histogram};
use banyan_tls::{Session, Version};
use banyan_topology::report::{EdgeTotals, ProcessReport};
use http::StatusCode;

use crate::filter::WAF_COUNT;
use crate::forward::gate::Seats;

/// One cell per core.
pub(crate) type Shards<T> = Vec<Arc<T>>;

pub(crate) fn shards<T: Default>(cores: usize) -> Shards<T> {
    (0..cores).map(|_| Arc::default()).collect()
}

/// By hundreds of the status: `2xx` and so on. What has no status (the client went away) counts as 4xx, as nginx's 499.
#[derive(Debug, Default)]
pub(crate) struct ByClass<T>([T; CLASSES.len()]);

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl<T> ByClass<T> {
    pub(crate) fn of(&self, status: Option<StatusCode>) -> &T {
        let class = status.map_or(4, |status| usize::from(status.as_u16() / 100));
        &self.0[class.clamp(1, CLASSES.len()) - 1]
    }

    /// With their names.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&'static str, &T)> {
        CLASSES.into_iter().zip(&self.0)
    }
}

/// Of the whole core.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct CoreMetrics {
    pub requests: Counter,
    pub responses: ByClass<Counter>,
    pub made_here: Counter,
    /// What the edge refused itself, by status from 400 on.
    pub refused: Refused,
    pub retries: Counter,
    pub connections: Counter,
    pub open: Gauge,
    pub in_flight: Gauge,
    pub latency: Histogram,
    /// For an endpoint; recorded where there is a limit per endpoint.
    pub queue_wait: Histogram,
    /// Refused because everything was busy for too long, or the queue was full.
    pub shed: Counter,
    /// Connections refused for their client address.
    pub turned_away: Counter,
    /// Access lines that the disk was too slow for.
    pub lines_dropped: Counter,
    /// What no route sends elsewhere.
    pub unrouted: RouteCells,
    /// Answers that were begun compressed, by coding.
    pub compressed: [Counter; Coding::ALL.len()],
    /// That are being compressed now.
    pub compressing: Gauge,
    /// That went as they were, because too many others were being compressed.
    pub not_compressed: Counter,
    /// Bytes of their bodies before and after.
    pub compressed_in: Counter,
    pub compressed_out: Counter,
    /// Requests whose rate limits were asked of Redis.
    pub counted_together: Counter,
    /// That should have been, and were counted here.
    pub counted_alone: Counter,
    /// By rule: what was let through, and what was refused.
    pub waf: [[Counter; 2]; WAF_COUNT],
}

/// Exact statuses: there are few, and each has one or two reasons.
pub(crate) struct Refused([Counter; 200]);

impl Default for Refused {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl Refused {
    pub(crate) fn count(&self, status: StatusCode) {
        let place = status.as_u16().checked_sub(400).map(usize::from);
        if let Some(counter) = place.and_then(|place| self.0.get(place)) {
            counter.increment();
        }
    }

    /// Those that occurred.
    pub(crate) fn each(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = (400..).zip(self.0.iter().map(Counter::get));
        counts.filter(|(_, count)| *count > 0)
    }
}

/// Of one route.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct RouteCells {
    /// Requests being answered. Not kept for what no route matched: that is the rest.
    pub active: Gauge,
    pub durations: ByClass<Durations>,
    /// Connections that became something else (WebSocket): they last as long as their users stay.
    pub upgraded: Counter,
    pub received: Counter,
    pub sent: Counter,
    pub cache: CacheCells,
    /// The same for what edges beside this one ask.
    pub beside: CacheCells,
    pub mirror: MirrorCells,
}

/// What the cache did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheResult {
    Hit,
    /// A hit past its time, while it is fetched anew or because the client takes it.
    Stale,
    /// The origin said that it is still good, or sent the part that was missing.
    Validated,
    /// Shared another request's answer.
    Collapsed,
    /// In place of an origin that failed.
    StoodIn,
    Miss,
    /// Not a matter for the cache.
    Bypass,
}

impl CacheResult {
    pub(crate) const ALL: [Self; 7] = [
        Self::Hit,
        Self::Stale,
        Self::Validated,
        Self::Collapsed,
        Self::StoodIn,
        Self::Miss,
        Self::Bypass,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Validated => "validated",
            Self::Collapsed => "collapsed",
            Self::StoodIn => "stood-in",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// Of one route's requests that came to the cache.
#[derive(Debug)]
pub(crate) struct CacheCells {
    /// By result; in each the first is without a reason.
    counts: [[Counter; 1 + Why::ALL.len()]; CacheResult::ALL.len()],
    /// Bytes of what was stored already.
    pub sent: Counter,
}

impl Default for CacheCells {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| std::array::from_fn(|_| Counter::default())),
            sent: Counter::default(),
        }
    }
}

impl CacheCells {
    /// `why`: the reason that it was no hit.
    pub(crate) fn count(&self, result: CacheResult, why: Option<Why>) {
        let reason = why.map_or(0, |why| 1 + why as usize);
        self.counts[result as usize][reason].increment();
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = (CacheResult, Option<Why>, u64)> {
        let whys = || std::iter::once(None).chain(Why::ALL.into_iter().map(Some));
        let results = CacheResult::ALL.into_iter().zip(&self.counts);
        results.flat_map(move |(result, counts)| {
            let counts = whys().zip(counts);
            counts.map(move |(why, count)| (result, why, count.get()))
        })
    }
}

/// Of the copies of a route's requests.
#[derive(Debug, Default)]
pub(crate) struct MirrorCells {
    pub active: Gauge,
    pub answered: Counter,
    pub failed: Counter,
    /// Left out, by why.
    pub busy: Counter,
    pub too_large: Counter,
    pub nobody: Counter,
}

/// Of one address that connections are accepted on.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ListenerCells {
    pub connections: Counter,
    pub open: Gauge,
    pub active: Gauge,
    /// HTTP/1, HTTP/2.
    pub requests: [ByClass<Counter>; 2],
    pub received: Counter,
    pub sent: Counter,
    pub handshakes: Handshakes,
}

/// Of TLS.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    /// By version, each in full and resumed.
    done: [[Counter; 2]; 2],
    pub failed: Counter,
}

impl Handshakes {
    pub(crate) fn count(&self, session: Session) {
        self.done[session.version as usize][usize::from(session.resumed)].increment();
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (Version, bool, u64)> {
        let versions = Version::ALL.into_iter().zip(&self.done);
        versions.flat_map(|(version, kinds)| {
            let kinds = [false, true].into_iter().zip(kinds);
            kinds.map(move |(resumed, count)| (version, resumed, count.get()))
        })
    }
}

/// Of one process: what its instances were asked.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct ProcessCells {
    pub requests: Counter,
    /// Answers of 5xx, and those that never came.
    pub errors: Counter,
    pub retries: Counter,
    pub shed: Counter,
    pub latency: Histogram,
    /// For an endpoint.
    pub queue_wait: Durations,
}

/// Of one endpoint.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct EndpointCells {
    pub in_flight: Gauge,
    pub requests: Counter,
    pub failures: Counter,
    /// Answers that were no 5xx.
    pub successes: Counter,
    pub responses: ByClass<Counter>,
    /// From the request sent to the answer's head.
    pub durations: Durations,
    /// Shared with the other cores.
    pub seats: Arc<Seats>,
}

impl EndpointCells {
    pub(crate) fn answered(&self, status: StatusCode, took: Duration) {
        self.responses.of(Some(status)).increment();
        self.durations.record(took);
    }
}

/// Over all cores; `second` as given to the histograms.
pub(crate) fn totals(cores: &[Arc<CoreMetrics>], waiting: usize, second: u64) -> EdgeTotals {
    let sum = |read: fn(&CoreMetrics) -> u64| cores.iter().map(|c| read(c)).sum();
    let quantiles = Histogram::quantiles(cores.iter().map(|c| &c.latency), second);
    let waits = Histogram::quantiles(cores.iter().map(|c| &c.queue_wait), second);
    EdgeTotals {
        requests: sum(|c| c.requests.get()),
        responses_2xx: sum(|c| c.responses.0[1].get()),
        responses_3xx: sum(|c| c.responses.0[2].get()),
        responses_4xx: sum(|c| c.responses.0[3].get()),
        responses_5xx: sum(|c| c.responses.0[4].get()),
        made_here: sum(|c| c.made_here.get()),
        retries: sum(|c| c.retries.get()),
        connections: sum(|c| c.connections.get()),
        in_flight: sum(|c| c.in_flight.get()),
        p50_us: quantiles.p50_us,
        p99_us: quantiles.p99_us,
        queue_length: waiting as u64,
        queue_p50_us: waits.p50_us,
        queue_p99_us: waits.p99_us,
        shed: sum(|c| c.shed.get()),
        turned_away: sum(|c| c.turned_away.get()),
    }
}

/// Of one process over all cores.
pub(crate) fn process(
    name: &banyan_topology::ProcessName,
    cells: &[Arc<ProcessCells>],
    second: u64,
) -> ProcessReport {
    let quantiles = Histogram::quantiles(cells.iter().map(|c| &c.latency), second);
    ProcessReport {
        process: name.clone(),
        requests: cells.iter().map(|c| c.requests.get()).sum(),
        errors: cells.iter().map(|c| c.errors.get()).sum(),
        shed: cells.iter().map(|c| c.shed.get()).sum(),
        waiting: 0,
        p50_us: quantiles.p50_us,
        p99_us: quantiles.p99_us,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_went_away_counts_with_the_4xx_and_strange_statuses_somewhere() {
        let classes: ByClass<Counter> = ByClass::default();
        classes.of(None).increment();
        classes.of(Some(StatusCode::NOT_FOUND)).increment();
        classes.of(StatusCode::from_u16(999).ok()).increment();
        let counts: Vec<_> = classes.each().map(|(name, c)| (name, c.get())).collect();
        assert_eq!(
            counts,
            [("1xx", 0), ("2xx", 0), ("3xx", 0), ("4xx", 2), ("5xx", 1)]
        );
    }

    #[test]
    fn refusals_are_kept_by_their_exact_status() {
        let refused = Refused::default();
        refused.count(StatusCode::SERVICE_UNAVAILABLE);
        refused.count(StatusCode::BAD_REQUEST);
        refused.count(StatusCode::BAD_REQUEST);
        // Sent elsewhere is not refused.
        refused.count(StatusCode::MOVED_PERMANENTLY);
        assert_eq!(refused.each().collect::<Vec<_>>(), [(400, 2), (503, 1)]);
    }
}
