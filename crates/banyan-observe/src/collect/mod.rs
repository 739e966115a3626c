//! Asks every process of the machine what it measures, and the machine itself; hands it to the keeper and to whoever looks.
//!
//! One task. Each [`STEP`] what is collected is kept; while somebody looks, it is collected each second. A process that does
//! not answer within two seconds is a gap.

mod host;
mod sockets;
mod totals;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use banyan_runtime::{Clock, own, spans, task};
use banyan_telemetry::Families;
use banyan_telemetry::exemplars::Exemplars;
use banyan_telemetry::families::Kind;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::keep::{Held, Keeper};
use crate::series::{STEP, Sample, Series};
use crate::view::{Figures, resources};
use totals::Totals;

/// While somebody looks.
const LIVE: Duration = Duration::from_secs(1);

/// Rates are of about so long.
const SPAN_MS: u64 = 5_500;
/// As many as there are in it, and one more.
const ROUNDS: usize = 7;

/// What was measured at a moment.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) at_ms: u64,
    /// Counters never fall: what a process that ended has counted stays counted.
    pub(crate) values: BTreeMap<Series, f64>,
}

/// The last ones, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds(VecDeque<Arc<Round>>);

impl Rounds {
    fn add(&mut self, round: Round) {
        self.0.push_back(Arc::new(round));
        while self.0.len() > ROUNDS {
            self.0.pop_front();
        }
    }

    pub(crate) fn newest(&self) -> Option<&Round> {
        self.0.back().map(Arc::as_ref)
    }

    /// The newest one, and one of some seconds before it, for rates.
    pub(crate) fn figures(&self) -> Figures<'_> {
        let newest = self.0.back();
        let near = |round: &Arc<Round>| newest.is_some_and(|newest| round.at_ms + SPAN_MS >= newest.at_ms);
        let before = self.0.iter().rev().skip(1).enumerate();
        let before = before
            .take_while(|(place, round)| *place == 0 || near(round))
            .last();
        Figures {
            before: before.map(|(_, round)| round.as_ref()),
            newest: newest.map(AsRef::as_ref),
        }
    }
}

/// Where to ask; cheap to clone.
#[derive(Clone)]
pub(crate) struct Places {
    /// `.banyan/metrics/`
    pub(crate) folder: PathBuf,
    /// Our own socket there.
    pub(crate) own: PathBuf,
    pub(crate) state_dir: PathBuf,
    pub(crate) started_unix_ms: u64,
    /// How busy each resource was by the last rounds, 0 to 1.
    pub(crate) busy: Arc<watch::Sender<Vec<(String, f64)>>>,
    /// Spans that this role did not keep for want of room.
    pub(crate) spans_dropped: Arc<AtomicU64>,
    /// Of the requests whose traces were kept last.
    pub(crate) exemplars: Arc<watch::Sender<Exemplars>>,
}

impl Places {
    /// What this process tells: of the machine, of itself, of what is kept.
    pub(crate) async fn of_this_process(&self, held: &Held) -> Families {
        let places = self.clone();
        let read = task::blocking(move || {
            let mut all = Families::default();
            host::families(&mut all, &places.state_dir);
            let version = env!("CARGO_PKG_VERSION");
            own::families(&mut all, "observe", version, places.started_unix_ms);
            all
        });
        let mut all = read.await.unwrap_or_default();
        let mut count = |kind, name, help, value| {
            all.family(kind, name, help).count(&[], value);
        };
        count(Kind::Gauge, "banyan_series", "Series that are kept.", held.series);
        let dropped = "Samples that were not kept because there were too many series.";
        count(
            Kind::Counter,
            "banyan_series_dropped_total",
            dropped,
            held.dropped,
        );
        let disk = "What the history takes on the disk.";
        count(Kind::Gauge, "banyan_observe_disk_bytes", disk, held.disk_bytes);
        let help = "Which part of a resource was in use over the last seconds.";
        let mut family = all.family(Kind::Gauge, "banyan_resource_busy_ratio", help);
        for (resource, busy) in self.busy.borrow().iter() {
            family.number(&[("resource", resource)], *busy);
        }
        spans::families(&mut all, "observe", self.spans_dropped.load(Ordering::Relaxed));
        all
    }

    /// By who tells it.
    async fn all(&self, held: &Held) -> Vec<(String, Families)> {
        let mut all = vec![("observe".to_owned(), self.of_this_process(held).await)];
        all.extend(sockets::read(&self.folder, &self.own).await);
        all
    }

    /// One page of the whole system.
    pub(crate) async fn page(&self, held: &Held) -> Families {
        let mut page = Families::default();
        for (_, families) in self.all(held).await {
            page.merge(families);
        }
        page
    }
}

/// Until the role ends.
pub(crate) async fn run(places: Places, keeper: Keeper, rounds: Arc<watch::Sender<Rounds>>) {
    let mut totals = Totals::resuming(keeper.last_counts().await);
    let mut tick = interval(LIVE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept: Option<Instant> = None;
    loop {
        tick.tick().await;
        let now = Clock.now();
        let due = kept.is_none_or(|kept| now.saturating_duration_since(kept) >= STEP);
        if !due && rounds.receiver_count() == 0 {
            continue;
        }
        let held = keeper.held().await;
        let round = round(&places.all(&held).await, &mut totals);
        if due {
            kept = Some(now);
            if !keeper.write(round.at_ms, samples(&round, &totals)) {
                tracing::warn!("the keeper is behind: a moment is missing in the history");
            }
        }
        rounds.send_modify(|rounds| rounds.add(round));
        let now = resources(&rounds.borrow().figures());
        let known = now
            .into_iter()
            .filter_map(|resource| Some((resource.id, resource.used?)));
        places.busy.send_replace(known.collect());
    }
}

fn round(told: &[(String, Families)], totals: &mut Totals) -> Round {
    totals.begin();
    for (who, families) in told {
        for number in families.numbers() {
            totals.add(who, &number);
        }
    }
    Round {
        at_ms: Clock.unix_ms(),
        values: totals.end(),
    }
}

fn samples(round: &Round, totals: &Totals) -> Vec<Sample> {
    let sample = |(series, value): (&Series, &f64)| Sample {
        counts: totals.counts(series),
        series: series.clone(),
        value: *value,
    };
    round.values.iter().map(sample).collect()
}
