//! One fineness of history on the disk: segments of blocks, the oldest of which go when they are too old or too many.
//!
//! A disk that takes nothing is tried again with the next block; what could not be written is lost, and said to be.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::block::Block;
use super::fold::Column;
use super::rows::Rows;
use super::segment::{self, Open};
use crate::series::Series;

pub(super) struct Tier {
    folder: PathBuf,
    /// Moments of a block.
    per_block: usize,
    /// Time of a segment.
    per_segment: Duration,
    /// Oldest first; the last one may be open.
    segments: Vec<Closed>,
    open: Option<Writing>,
    /// For the next block.
    pending: Vec<Column>,
}

struct Closed {
    path: PathBuf,
    start_ms: u64,
    bytes: u64,
}

struct Writing {
    segment: Open,
    /// Its numbers, by row.
    numbers: HashMap<usize, u32>,
    next: u32,
}

/// What was read.
pub(super) struct Point<'a> {
    pub(super) series: &'a Series,
    pub(super) counts: bool,
    pub(super) at_ms: u64,
    pub(super) value: f64,
}

/// How old and how much history may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) keep: Duration,
    pub(super) bytes: u64,
}

impl Tier {
    /// With what is there from before. Files that are no segments are left alone.
    pub(super) fn open(folder: PathBuf, per_block: usize, per_segment: Duration) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let mut segments = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str());
            let start_ms = name.and_then(|name| name.parse().ok());
            let is_one = path.extension().is_some_and(|e| e == "seg");
            if let (Some(start_ms), true) = (start_ms, is_one) {
                let bytes = fs::metadata(&path).map_or(0, |data| data.len());
                segments.push(Closed {
                    path,
                    start_ms,
                    bytes,
                });
            }
        }
        segments.sort_by_key(|segment| segment.start_ms);
        Ok(Self {
            folder,
            per_block,
            per_segment,
            segments,
            open: None,
            pending: Vec::new(),
        })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// A moment more; whether a block was written with it. `Err`: that block is lost.
    pub(super) fn add(&mut self, column: Column, rows: &Rows, bounds: Bounds) -> io::Result<bool> {
        self.wait(column);
        if self.pending.len() < self.per_block {
            return Ok(false);
        }
        self.flush(rows, bounds).map(|()| true)
    }

    /// A moment more, for the next block.
    pub(super) fn wait(&mut self, column: Column) {
        self.pending.push(column);
    }

    pub(super) fn waiting(&self) -> &[Column] {
        &self.pending
    }

    /// Writes what waits for its block to be full.
    pub(super) fn flush(&mut self, rows: &Rows, bounds: Bounds) -> io::Result<()> {
        let columns = std::mem::take(&mut self.pending);
        let (Some(first), Some(last)) = (columns.first(), columns.last()) else {
            return Ok(());
        };
        let (start_ms, now_ms) = (first.at_ms, last.at_ms);
        self.drop_old(now_ms, bounds);
        match self.write(&columns, start_ms, rows, bounds) {
            // The disk's end: what is oldest makes room, once.
            Err(error) if error.kind() == io::ErrorKind::StorageFull && self.segments.len() > 1 => {
                self.drop_first();
                self.write(&columns, start_ms, rows, bounds)
            }
            written => written,
        }
    }

    fn write(&mut self, columns: &[Column], start_ms: u64, rows: &Rows, bounds: Bounds) -> io::Result<()> {
        let length = u64::try_from(self.per_segment.as_millis()).unwrap_or(u64::MAX);
        let full = |writing: &Writing| {
            let old = start_ms.saturating_sub(writing.segment.start_ms) >= length;
            old || writing.segment.bytes >= bounds.bytes / 4
        };
        let mut writing = match self.open.take_if(|open| !full(open)) {
            Some(writing) => writing,
            None => self.begin(start_ms)?,
        };
        let (block, numbers) = writing.block(columns, rows);
        writing.segment.append(&block.encode())?;
        writing.next += u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        writing.numbers.extend(numbers);
        if let Some(last) = self.segments.last_mut() {
            last.bytes = writing.segment.bytes;
        }
        self.open = Some(writing);
        Ok(())
    }

    fn begin(&mut self, start_ms: u64) -> io::Result<Writing> {
        self.open = None;
        // After one that was begun in the same moment, before a restart.
        let after = self.segments.last().map_or(0, |last| last.start_ms + 1);
        let segment = Open::create(&self.folder, start_ms.max(after))?;
        self.segments.push(Closed {
            path: segment.path.clone(),
            start_ms: segment.start_ms,
            bytes: segment.bytes,
        });
        Ok(Writing {
            segment,
            numbers: HashMap::new(),
            next: 0,
        })
    }

    fn drop_old(&mut self, now_ms: u64, bounds: Bounds) {
        let keep = u64::try_from(bounds.keep.as_millis()).unwrap_or(u64::MAX);
        let oldest = now_ms.saturating_sub(keep);
        // One ends where the next begins.
        while self.segments.get(1).is_some_and(|next| next.start_ms < oldest) {
            self.drop_first();
        }
        while self.segments.len() > 1 && self.bytes() > bounds.bytes {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if self.segments.is_empty() {
            return;
        }
        let first = self.segments.remove(0);
        if let Err(error) = fs::remove_file(&first.path) {
            tracing::warn!(%error, path = %first.path.display(), "old history is still there");
        }
    }

    /// The next block begins a segment.
    #[cfg(test)]
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Its row is another series' from now on.
    pub(super) fn forget(&mut self, row: usize) {
        for column in &mut self.pending {
            if let Some(value) = column.values.get_mut(row) {
                *value = f64::NAN;
            }
        }
        if let Some(open) = &mut self.open {
            open.numbers.remove(&row);
        }
    }

    /// What is on the disk, by series; what waits for its block is not. A segment that cannot be read is left out.
    pub(super) fn read(
        &self,
        from_ms: u64,
        to_ms: u64,
        wants: &dyn Fn(&Series) -> bool,
        mut take: impl FnMut(Point<'_>),
    ) {
        let ends = self
            .segments
            .iter()
            .skip(1)
            .map(|next| next.start_ms)
            .chain([u64::MAX]);
        for (segment, end_ms) in self.segments.iter().zip(ends) {
            if segment.start_ms > to_ms || end_ms < from_ms {
                continue;
            }
            match segment::read(&segment.path) {
                Ok(blocks) => read_blocks(&blocks, (from_ms, to_ms), wants, &mut take),
                Err(error) => tracing::warn!(%error, path = %segment.path.display(), "history is missing"),
            }
        }
    }

    /// The first moment that it may have.
    pub(super) fn first_ms(&self) -> Option<u64> {
        self.segments.first().map(|segment| segment.start_ms)
    }

    /// The last moment on the disk.
    pub(super) fn last_ms(&self) -> Option<u64> {
        let mut blocks = self
            .segments
            .iter()
            .rev()
            .filter_map(|segment| segment::read(&segment.path).ok());
        blocks.find_map(|blocks| blocks.iter().rev().find_map(|block| block.times.last().copied()))
    }
}

impl Writing {
    /// With the numbers that its series get.
    fn block(&self, columns: &[Column], rows: &Rows) -> (Block, Vec<(usize, u32)>) {
        let mut block = Block {
            times: columns.iter().map(|column| column.at_ms).collect(),
            first_name: self.next,
            ..Block::default()
        };
        let mut new = Vec::new();
        let most = columns
            .iter()
            .map(|column| column.values.len())
            .max()
            .unwrap_or(0);
        for row in 0..most {
            let values: Vec<f64> = columns
                .iter()
                .map(|column| column.value(row).unwrap_or(f64::NAN))
                .collect();
            let Some(series) = rows
                .series(row)
                .filter(|_| values.iter().any(|value| !value.is_nan()))
            else {
                continue;
            };
            let number = match self.numbers.get(&row) {
                Some(number) => *number,
                None => {
                    let number = self.next + u32::try_from(new.len()).unwrap_or(u32::MAX);
                    new.push((row, number));
                    block.names.push(written(series, rows.counts(row)));
                    number
                }
            };
            block.rows.insert(number, values);
        }
        (block, new)
    }
}

fn read_blocks(
    blocks: &[Block],
    (from_ms, to_ms): (u64, u64),
    wants: &dyn Fn(&Series) -> bool,
    take: &mut impl FnMut(Point<'_>),
) {
    let mut names: HashMap<u32, Option<(Series, bool)>> = HashMap::new();
    for block in blocks {
        for (number, name) in (block.first_name..).zip(&block.names) {
            let named = read_name(name).filter(|(series, _)| wants(series));
            names.insert(number, named);
        }
        for (number, values) in &block.rows {
            // Of one whose name was in a damaged block, or that nobody wants.
            let Some(Some((series, counts))) = names.get(number) else {
                continue;
            };
            for (at_ms, value) in block.times.iter().zip(values) {
                if (from_ms..=to_ms).contains(at_ms) && !value.is_nan() {
                    take(Point {
                        series,
                        counts: *counts,
                        at_ms: *at_ms,
                        value: *value,
                    });
                }
            }
        }
    }
}

/// Parts end with a byte that no name has.
const END: char = '\u{1}';

fn written(series: &Series, counts: bool) -> String {
    let mut text = format!("{}{END}{}", if counts { 'c' } else { 'g' }, series.name);
    for (name, value) in &series.labels {
        text.extend([END]);
        text.push_str(name);
        text.extend([END]);
        text.push_str(value);
    }
    text
}

fn read_name(text: &str) -> Option<(Series, bool)> {
    let mut parts = text.split(END);
    let counts = parts.next()? == "c";
    let name = parts.next()?.to_owned();
    let mut labels = Vec::new();
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        labels.push((name.to_owned(), value.to_owned()));
    }
    Some((Series { name, labels }, counts))
}
