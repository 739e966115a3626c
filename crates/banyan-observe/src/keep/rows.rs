//! Which series there are: a small number for each, given to another one when it was not measured for long.
//!
//! Limit: [`SERIES`]; more are dropped and counted.

use std::collections::HashMap;

use crate::series::{Query, Sample, Series};

pub(super) const SERIES: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct Rows {
    all: Vec<Row>,
    known: HashMap<Series, usize>,
    free: Vec<usize>,
    pub(super) dropped: u64,
}

#[derive(Debug)]
struct Row {
    series: Series,
    counts: bool,
    last_ms: u64,
}

impl Rows {
    /// `None`: there are too many.
    pub(super) fn of(&mut self, sample: Sample, at_ms: u64) -> Option<usize> {
        let Sample { series, counts, .. } = sample;
        if let Some(row) = self.known.get(&series) {
            let known = &mut self.all[*row];
            (known.last_ms, known.counts) = (at_ms, counts);
            return Some(*row);
        }
        let new = Row {
            series: series.clone(),
            counts,
            last_ms: at_ms,
        };
        let row = match self.free.pop() {
            Some(row) => {
                self.all[row] = new;
                row
            }
            None if self.all.len() < SERIES => {
                self.all.push(new);
                self.all.len() - 1
            }
            None => {
                self.dropped += 1;
                return None;
            }
        };
        self.known.insert(series, row);
        Some(row)
    }

    /// Those that had no point since then are given away.
    pub(super) fn forget(&mut self, before_ms: u64) -> Vec<usize> {
        let mut gone = Vec::new();
        let all = &self.all;
        self.known.retain(|_, row| {
            let stays = all[*row].last_ms >= before_ms;
            if !stays {
                gone.push(*row);
            }
            stays
        });
        self.free.extend(&gone);
        gone
    }

    pub(super) fn counts(&self, row: usize) -> bool {
        self.all.get(row).is_some_and(|row| row.counts)
    }

    pub(super) fn series(&self, row: usize) -> Option<&Series> {
        self.all.get(row).map(|row| &row.series)
    }

    pub(super) fn wanted<'a>(&'a self, query: &'a Query) -> impl Iterator<Item = (&'a Series, usize)> {
        let all = self.known.iter().map(|(series, row)| (series, *row));
        all.filter(|(series, _)| query.wants(series))
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}
