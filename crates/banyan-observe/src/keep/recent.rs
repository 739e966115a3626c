//! The last hour, in memory: a column per moment, a row per series.
//!
//! Limits: [`SERIES`] rows, [`COLUMNS`] columns: 58 MB when full. A series that has had no point for all that time gives
//! its row to another one.

use std::collections::{HashMap, VecDeque};

use crate::series::{Found, Query, Sample, Series};

/// Rows; more series are dropped and counted.
pub(super) const SERIES: usize = 20_000;
/// Moments that are kept: an hour of them.
pub(super) const COLUMNS: usize = 360;

#[derive(Default)]
pub(super) struct Recent {
    /// When each row had a point last.
    rows: Vec<u64>,
    known: HashMap<Series, usize>,
    free: Vec<usize>,
    /// Oldest first.
    columns: VecDeque<Column>,
    dropped: u64,
}

struct Column {
    at_ms: u64,
    /// By row; NaN, and what is beyond the end: it was not measured.
    values: Vec<f64>,
}

impl Recent {
    /// Times must grow: a clock that was set back is waited for.
    pub(super) fn write(&mut self, at_ms: u64, samples: Vec<Sample>) {
        if self.columns.back().is_some_and(|last| last.at_ms >= at_ms) {
            return;
        }
        if self.columns.len() == COLUMNS {
            self.columns.pop_front();
            self.forget();
        }
        let mut values = vec![f64::NAN; self.rows.len()];
        for sample in samples {
            let Some(row) = self.row(sample.series, at_ms) else {
                self.dropped += 1;
                continue;
            };
            if row >= values.len() {
                values.resize(row + 1, f64::NAN);
            }
            values[row] = sample.value;
        }
        self.columns.push_back(Column { at_ms, values });
    }

    /// `None`: there are too many.
    fn row(&mut self, series: Series, at_ms: u64) -> Option<usize> {
        if let Some(row) = self.known.get(&series) {
            self.rows[*row] = at_ms;
            return Some(*row);
        }
        let row = match self.free.pop() {
            Some(row) => {
                self.rows[row] = at_ms;
                row
            }
            None if self.rows.len() < SERIES => {
                self.rows.push(at_ms);
                self.rows.len() - 1
            }
            None => return None,
        };
        self.known.insert(series, row);
        Some(row)
    }

    /// Rows without a point left.
    fn forget(&mut self) {
        let Some(oldest) = self.columns.front().map(|column| column.at_ms) else {
            return;
        };
        let rows = &self.rows;
        let free = &mut self.free;
        self.known.retain(|_, row| {
            let stays = rows[*row] >= oldest;
            if !stays {
                free.push(*row);
            }
            stays
        });
    }

    pub(super) fn query(&self, query: &Query) -> Vec<Found> {
        let wanted = |column: &&Column| (query.from_ms..=query.to_ms).contains(&column.at_ms);
        let columns: Vec<&Column> = self.columns.iter().filter(wanted).collect();
        let mut found: Vec<Found> = self
            .known
            .iter()
            .filter(|(series, _)| query.wants(series))
            .map(|(series, row)| Found {
                series: series.clone(),
                points: points(&columns, *row),
            })
            .filter(|found| !found.points.is_empty())
            .collect();
        found.sort_by(|a, b| a.series.cmp(&b.series));
        found
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

fn points(columns: &[&Column], row: usize) -> Vec<(u64, f64)> {
    let point = |column: &&Column| {
        let value = *column.values.get(row)?;
        (!value.is_nan()).then_some((column.at_ms, value))
    };
    columns.iter().filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str, value: f64) -> Sample {
        Sample {
            series: Series::new(name, &[]),
            counts: false,
            value,
        }
    }

    fn points_of(recent: &Recent, name: &str) -> Vec<(u64, f64)> {
        let found = recent.query(&Query::of(name, 0, u64::MAX));
        found.into_iter().flat_map(|found| found.points).collect()
    }

    #[test]
    fn what_was_not_measured_is_a_gap_and_not_zero() {
        let mut recent = Recent::default();
        recent.write(1, vec![sample("a", 1.0)]);
        recent.write(2, vec![sample("b", 2.0)]);
        recent.write(3, vec![sample("a", 3.0), sample("b", 4.0)]);
        assert_eq!(points_of(&recent, "a"), [(1, 1.0), (3, 3.0)]);
        assert_eq!(points_of(&recent, "b"), [(2, 2.0), (3, 4.0)]);
    }

    #[test]
    fn a_clock_that_was_set_back_is_waited_for() {
        let mut recent = Recent::default();
        recent.write(10, vec![sample("a", 1.0)]);
        recent.write(5, vec![sample("a", 2.0)]);
        recent.write(11, vec![sample("a", 3.0)]);
        assert_eq!(points_of(&recent, "a"), [(10, 1.0), (11, 3.0)]);
    }

    #[test]
    fn too_many_series_are_dropped_and_counted_and_a_row_that_is_unused_is_given_away() {
        let mut recent = Recent::default();
        let many = |from: usize, count: usize| {
            (from..from + count)
                .map(|n| sample(&n.to_string(), 1.0))
                .collect()
        };
        recent.write(1, many(0, SERIES + 3));
        assert_eq!((recent.len(), recent.dropped()), (SERIES, 3));
        for at in 2..COLUMNS as u64 + 2 {
            recent.write(at, many(0, 1));
        }
        assert_eq!(recent.len(), 1);
        recent.write(1000, vec![sample("new", 9.0), sample("0", 2.0)]);
        assert_eq!(points_of(&recent, "new"), [(1000, 9.0)]);
        assert_eq!(points_of(&recent, "0").last(), Some(&(1000, 2.0)));
    }
}
