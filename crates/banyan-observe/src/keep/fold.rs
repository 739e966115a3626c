//! Many moments into one, for coarser steps: of a counter the last value, of anything else the mean. Pure.

use super::rows::Rows;

/// What was measured at a moment, by row; NaN, and what is beyond the end: it was not.
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    pub(super) at_ms: u64,
    pub(super) values: Vec<f64>,
}

impl Column {
    pub(super) fn value(&self, row: usize) -> Option<f64> {
        self.values.get(row).copied().filter(|value| !value.is_nan())
    }
}

/// The window that is being filled.
#[derive(Debug)]
pub(super) struct Fold {
    every_ms: u64,
    /// Of the last moment in it.
    at_ms: u64,
    sums: Vec<f64>,
    counts: Vec<u32>,
}

impl Fold {
    pub(super) fn new(every_ms: u64) -> Self {
        Self {
            every_ms,
            at_ms: 0,
            sums: Vec::new(),
            counts: Vec::new(),
        }
    }

    /// The window before, once this moment begins another one.
    pub(super) fn add(&mut self, column: &Column, rows: &Rows) -> Option<Column> {
        let whole = self.window(self.at_ms) != self.window(column.at_ms);
        let done = if whole { self.take() } else { None };
        self.at_ms = column.at_ms;
        let size = column.values.len().max(self.sums.len());
        self.sums.resize(size, 0.0);
        self.counts.resize(size, 0);
        for (row, value) in column
            .values
            .iter()
            .enumerate()
            .filter(|(_, value)| !value.is_nan())
        {
            if rows.counts(row) {
                (self.sums[row], self.counts[row]) = (*value, 1);
            } else {
                self.sums[row] += value;
                self.counts[row] += 1;
            }
        }
        done
    }

    /// What is in the window so far; `None`: nothing.
    pub(super) fn take(&mut self) -> Option<Column> {
        if self.counts.iter().all(|count| *count == 0) {
            return None;
        }
        let mean = |(sum, count): (&f64, &u32)| match count {
            0 => f64::NAN,
            1 => *sum,
            // A mean has no more to tell than this, and is small like this.
            count => rounded(sum / f64::from(*count)),
        };
        let values = self.sums.iter().zip(&self.counts).map(mean).collect();
        self.sums.clear();
        self.counts.clear();
        Some(Column {
            at_ms: self.at_ms,
            values,
        })
    }

    /// Its row is another series' from now on.
    pub(super) fn forget(&mut self, row: usize) {
        if let Some(count) = self.counts.get_mut(row) {
            (*count, self.sums[row]) = (0, 0.0);
        }
    }

    fn window(&self, at_ms: u64) -> u64 {
        at_ms / self.every_ms
    }
}

fn rounded(value: f64) -> f64 {
    let places = if value.abs() < 1000.0 { 1e6 } else { 1e3 };
    (value * places).round() / places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{Sample, Series};

    fn column(at_ms: u64, values: &[f64]) -> Column {
        Column {
            at_ms,
            values: values.to_vec(),
        }
    }

    #[test]
    fn of_a_counter_the_last_value_stays_and_of_a_gauge_the_mean() {
        let mut rows = Rows::default();
        for (name, counts) in [("a_total", true), ("b", false)] {
            let series = Series::new(name, &[]);
            rows.of(
                Sample {
                    series,
                    counts,
                    value: 0.0,
                },
                0,
            );
        }
        let mut fold = Fold::new(60_000);
        for n in 1..6 {
            let value = n as f64;
            assert!(
                fold.add(&column(n * 10_000, &[value * 10.0, value]), &rows)
                    .is_none()
            );
        }
        let done = fold.add(&column(60_000, &[99.0, 99.0]), &rows).unwrap();
        assert_eq!((done.at_ms, done.values), (50_000, vec![50.0, 3.0]));
        assert_eq!(fold.take().unwrap().values, [99.0, 99.0]);
        assert!(fold.take().is_none());
    }
}
