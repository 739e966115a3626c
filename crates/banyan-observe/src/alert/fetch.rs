//! What rules ask for, as the keeper has it, or as the last minutes were measured each second.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use banyan_alert::{Distribution, Labels, Point, Rule, Samples, Select, Series};

use crate::collect::Round;
use crate::keep::Keeper;
use crate::series::{Query, STEP};

/// What is measured each second is held for so long; longer windows are the keeper's.
const HELD: Duration = Duration::from_secs(5 * 60);
/// So many points are enough of a window.
const POINTS: u32 = 120;

/// By metric and window.
pub(super) struct Fetched(BTreeMap<Need, Samples>);

type Need = (String, Duration);

/// The last minutes, each second.
pub(super) struct Live {
    wanted: BTreeSet<String>,
    samples: Samples,
}

impl Live {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let wanted = rules.iter().flat_map(Rule::needs).map(|(metric, _)| metric);
        Self {
            wanted: wanted.collect(),
            samples: Samples::new(Duration::from_secs(2), HELD),
        }
    }

    pub(super) fn take(&mut self, round: &Round) {
        let at = Duration::from_millis(round.at_ms);
        for (series, value) in round
            .values
            .iter()
            .filter(|(series, _)| self.wanted.contains(&series.name))
        {
            let labels: Labels = series.labels.iter().cloned().collect();
            self.samples.push(at, &series.name, &labels, *value);
        }
    }
}

/// Everything that these rules need now.
pub(super) async fn all(rules: &[Rule], keeper: &Keeper, live: Option<&Live>, now: Duration) -> Fetched {
    let needs: BTreeSet<Need> = rules.iter().flat_map(Rule::needs).collect();
    let mut all = BTreeMap::new();
    for need in needs {
        let samples = match live.filter(|_| need.1 <= HELD) {
            Some(live) => live.samples.clone(),
            None => kept(keeper, &need, now).await,
        };
        all.insert(need, samples);
    }
    Fetched(all)
}

/// One step more than the window, so that its begin has a value.
async fn kept(keeper: &Keeper, (metric, over): &Need, now: Duration) -> Samples {
    let step = (*over / POINTS).max(STEP);
    let from = now.saturating_sub(*over + step * 3);
    let mut query = Query::of(metric, ms(from), ms(now));
    query.step = if step > STEP { step } else { Duration::ZERO };
    let mut samples = Samples::new(step, *over + step * 4);
    for found in keeper.query(query).await {
        let labels: Labels = found.series.labels.iter().cloned().collect();
        for (at_ms, value) in found.points {
            samples.push(Duration::from_millis(at_ms), metric, &labels, value);
        }
    }
    samples
}

impl Fetched {
    fn of(&self, metric: &str, over: Duration) -> Option<&Samples> {
        self.0.get(&(metric.to_owned(), over))
    }
}

impl Series for Fetched {
    fn newest(&self, select: &Select, now: Duration) -> Vec<Point> {
        let samples = self.of(select.metric, Duration::ZERO);
        samples
            .map(|samples| samples.newest(select, now))
            .unwrap_or_default()
    }

    fn growth(&self, select: &Select, over: Duration, now: Duration) -> Vec<Point> {
        let samples = self.of(select.metric, over);
        samples
            .map(|samples| samples.growth(select, over, now))
            .unwrap_or_default()
    }

    fn slope(&self, select: &Select, over: Duration, now: Duration) -> Vec<Point> {
        let samples = self.of(select.metric, over);
        samples
            .map(|samples| samples.slope(select, over, now))
            .unwrap_or_default()
    }

    fn distribution(&self, metric: &str, over: Duration, now: Duration) -> Vec<Distribution> {
        let samples = self.of(&format!("{metric}_bucket"), over);
        samples
            .map(|samples| samples.distribution(metric, over, now))
            .unwrap_or_default()
    }

    fn known_for(&self, select: &Select, over: Duration, now: Duration) -> Option<Duration> {
        self.of(select.metric, over)?.known_for(select, over, now)
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
