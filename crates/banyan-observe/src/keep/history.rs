//! Everything that is kept: the last hour in memory, and three finenesses on the disk, each made of the one before.
//!
//! Memory: [`COLUMNS`] moments of [`super::rows::SERIES`] series are 58 MB, what waits for its block another 5 MB.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::time::Duration;

use banyan_topology::snapshot::observe::ObserveSettings;

use super::fold::{Column, Fold};
use super::rows::Rows;
use super::tier::{Bounds, Point, Tier};
use crate::series::{Found, Query, Sample, Series};

/// Moments that are in memory: an hour of them.
pub(super) const COLUMNS: usize = 360;
const HOUR: Duration = Duration::from_secs(3600);
const FINE: Duration = Duration::from_secs(10);
const MEDIUM: Duration = Duration::from_secs(60);
const COARSE: Duration = Duration::from_secs(600);
/// Of the finer two; `observe.keep` is of the coarse one.
const KEEP_FINE: Duration = Duration::from_secs(6 * 3600);
const KEEP_MEDIUM: Duration = Duration::from_secs(48 * 3600);

pub(super) struct History {
    rows: Rows,
    /// Oldest first.
    recent: VecDeque<Column>,
    disk: Option<Disk>,
    settings: ObserveSettings,
    pub(super) problem: Option<String>,
}

struct Disk {
    fine: Tier,
    to_medium: Fold,
    medium: Tier,
    to_coarse: Fold,
    coarse: Tier,
}

impl History {
    /// With what is in the folder from before. A folder that cannot be used is a problem, and no history.
    pub(super) fn open(folder: &Path, settings: ObserveSettings) -> Self {
        let mut history = Self {
            rows: Rows::default(),
            recent: VecDeque::new(),
            disk: None,
            settings,
            problem: None,
        };
        match Disk::open(folder) {
            Ok(disk) => {
                history.restore(&disk);
                history.disk = Some(history.refolded(disk));
            }
            Err(error) => history.failed(&error),
        }
        history
    }

    pub(super) fn set(&mut self, settings: ObserveSettings) {
        self.settings = settings;
    }

    /// Times must grow: a clock that was set back is waited for.
    pub(super) fn write(&mut self, at_ms: u64, samples: Vec<Sample>) {
        if self.recent.back().is_some_and(|last| last.at_ms >= at_ms) {
            return;
        }
        self.make_room();
        let mut values = Vec::new();
        for sample in samples {
            let value = sample.value;
            let Some(row) = self.rows.of(sample, at_ms) else {
                continue;
            };
            if row >= values.len() {
                values.resize(row + 1, f64::NAN);
            }
            values[row] = value;
        }
        let column = Column { at_ms, values };
        if let Some(disk) = &mut self.disk {
            match disk.add(&column, &self.rows, &self.settings) {
                Ok(true) => self.problem = None,
                Ok(false) => {}
                Err(error) => self.failed(&error),
            }
        }
        self.recent.push_back(column);
    }

    fn make_room(&mut self) {
        if self.recent.len() < COLUMNS {
            return;
        }
        self.recent.pop_front();
        let Some(oldest) = self.recent.front().map(|column| column.at_ms) else {
            return;
        };
        for row in self.rows.forget(oldest) {
            if let Some(disk) = &mut self.disk {
                disk.forget(row);
            }
        }
    }

    pub(super) fn query(&self, query: &Query) -> Vec<Found> {
        let mut found: BTreeMap<Series, BTreeMap<u64, f64>> = BTreeMap::new();
        let in_memory = self.recent.front().map_or(u64::MAX, |column| column.at_ms);
        for (series, row) in self.rows.wanted(query) {
            let wanted = self
                .recent
                .iter()
                .filter(|column| (query.from_ms..=query.to_ms).contains(&column.at_ms));
            let points: BTreeMap<u64, f64> = wanted
                .filter_map(|column| Some((column.at_ms, column.value(row)?)))
                .collect();
            if !points.is_empty() {
                found.insert(series.clone(), points);
            }
        }
        let mut until = query.to_ms.min(in_memory.saturating_sub(1));
        for tier in self.disk.iter().flat_map(|disk| disk.from(query.step)) {
            if until < query.from_ms {
                break;
            }
            tier.read(query.from_ms, until, &|series| query.wants(series), |point| {
                let points = found.entry(point.series.clone()).or_default();
                points.insert(point.at_ms, point.value);
            });
            until = until.min(tier.first_ms().map_or(u64::MAX, |first| first.saturating_sub(1)));
        }
        let step = u64::try_from(query.step.as_millis()).unwrap_or(u64::MAX);
        let found = found.into_iter().map(|(series, points)| Found {
            series,
            points: thinned(points, step),
        });
        found.collect()
    }

    /// What each counter was last: where it goes on after a restart.
    pub(super) fn last_counts(&self) -> Vec<(Series, f64)> {
        let Some(last) = self.recent.back() else {
            return Vec::new();
        };
        let counted = (0..last.values.len()).filter(|row| self.rows.counts(*row));
        let value = |row| Some((self.rows.series(row)?.clone(), last.value(row)?));
        counted.filter_map(value).collect()
    }

    pub(super) fn series(&self) -> u64 {
        self.rows.len() as u64
    }

    pub(super) fn dropped(&self) -> u64 {
        self.rows.dropped
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        let disk = self.disk.iter();
        disk.map(|disk| disk.fine.bytes() + disk.medium.bytes() + disk.coarse.bytes())
            .sum()
    }

    /// At the end, what waits for its block.
    pub(super) fn flush(&mut self) {
        if let Some(disk) = &mut self.disk
            && let Err(error) = disk.flush(&self.rows, &self.settings)
        {
            self.failed(&error);
        }
    }

    fn failed(&mut self, error: &io::Error) {
        let problem = format!("history is not written: {error}");
        if self.problem.as_ref() != Some(&problem) {
            tracing::warn!(problem, "what is measured now will be missing on the disk");
        }
        self.problem = Some(problem);
    }

    /// The last hour as it was left.
    fn restore(&mut self, disk: &Disk) {
        let Some(last) = disk.fine.last_ms() else { return };
        for column in columns(&disk.fine, last.saturating_sub(millis(HOUR)), &mut self.rows) {
            if self.recent.len() == COLUMNS {
                self.recent.pop_front();
            }
            self.recent.push_back(column);
        }
    }

    /// What the coarser ones had not written yet is made again of the finer ones.
    fn refolded(&mut self, mut disk: Disk) -> Disk {
        let after = disk.medium.last_ms().map_or(0, |last| last + 1);
        for column in self.recent.iter().filter(|column| column.at_ms >= after) {
            // What it would write now has no block yet, and comes with the next one.
            if let Some(minute) = disk.to_medium.add(column, &self.rows) {
                disk.medium.wait(minute);
            }
        }
        let after = disk.coarse.last_ms().map_or(0, |last| last + 1);
        let minutes = columns(&disk.medium, after, &mut self.rows);
        let waiting: Vec<Column> = disk.medium.waiting().to_vec();
        for column in minutes
            .iter()
            .chain(&waiting)
            .filter(|column| column.at_ms >= after)
        {
            if let Some(tenth) = disk.to_coarse.add(column, &self.rows) {
                disk.coarse.wait(tenth);
            }
        }
        disk
    }
}

impl Disk {
    fn open(folder: &Path) -> io::Result<Self> {
        let tier = |name: &str, per_block, segment| Tier::open(folder.join(name), per_block, segment);
        Ok(Self {
            fine: tier("10s", 6, HOUR)?,
            to_medium: Fold::new(millis(MEDIUM)),
            medium: tier("1m", 10, HOUR)?,
            to_coarse: Fold::new(millis(COARSE)),
            coarse: tier("10m", 6, HOUR * 24)?,
        })
    }

    /// Whether a block was written.
    fn add(&mut self, column: &Column, rows: &Rows, settings: &ObserveSettings) -> io::Result<bool> {
        let [fine, medium, coarse] = bounds(settings);
        let minute = self.to_medium.add(column, rows);
        let tenth = minute
            .as_ref()
            .and_then(|minute| self.to_coarse.add(minute, rows));
        let mut written = self.fine.add(column.clone(), rows, fine);
        for (tier, folded, bounds) in [
            (&mut self.medium, minute, medium),
            (&mut self.coarse, tenth, coarse),
        ] {
            if let Some(folded) = folded {
                let more = tier.add(folded, rows, bounds);
                written = written.and_then(|wrote| more.map(|more| wrote || more));
            }
        }
        written
    }

    fn flush(&mut self, rows: &Rows, settings: &ObserveSettings) -> io::Result<()> {
        let [fine, medium, coarse] = bounds(settings);
        self.fine.flush(rows, fine)?;
        self.medium.flush(rows, medium)?;
        self.coarse.flush(rows, coarse)
    }

    fn forget(&mut self, row: usize) {
        for tier in [&mut self.fine, &mut self.medium, &mut self.coarse] {
            tier.forget(row);
        }
        self.to_medium.forget(row);
        self.to_coarse.forget(row);
    }

    /// The tier that is as coarse as the step allows, then the coarser ones, for what is older.
    fn from(&self, step: Duration) -> impl Iterator<Item = &Tier> {
        let tiers = [(FINE, &self.fine), (MEDIUM, &self.medium), (COARSE, &self.coarse)];
        let enough = tiers.iter().rposition(|(own, _)| *own <= step).unwrap_or(0);
        tiers.into_iter().skip(enough).map(|(_, tier)| tier)
    }
}

fn bounds(settings: &ObserveSettings) -> [Bounds; 3] {
    let of = |keep: Duration, percent: u64| Bounds {
        keep: keep.min(settings.keep),
        bytes: settings.disk_bytes / 100 * percent,
    };
    [of(KEEP_FINE, 40), of(KEEP_MEDIUM, 30), of(Duration::MAX, 30)]
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Of a tier, from a moment on.
fn columns(tier: &Tier, from_ms: u64, rows: &mut Rows) -> Vec<Column> {
    let mut columns: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    tier.read(from_ms, u64::MAX, &|_| true, |point: Point<'_>| {
        let sample = Sample {
            series: point.series.clone(),
            counts: point.counts,
            value: point.value,
        };
        let Some(row) = rows.of(sample, point.at_ms) else {
            return;
        };
        let values = columns.entry(point.at_ms).or_default();
        if row >= values.len() {
            values.resize(row + 1, f64::NAN);
        }
        values[row] = point.value;
    });
    let column = |(at_ms, values)| Column { at_ms, values };
    columns.into_iter().map(column).collect()
}

/// The last point of each step.
fn thinned(points: BTreeMap<u64, f64>, step_ms: u64) -> Vec<(u64, f64)> {
    let mut thin: Vec<(u64, f64)> = Vec::with_capacity(points.len());
    for (at_ms, value) in points {
        match thin.last_mut() {
            Some(last) if step_ms > 0 && last.0 / step_ms == at_ms / step_ms => *last = (at_ms, value),
            _ => thin.push((at_ms, value)),
        }
    }
    thin
}

#[cfg(test)]
mod tests;
