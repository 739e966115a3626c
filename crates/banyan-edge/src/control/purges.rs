//! Follows the controller's log of purges: what it names is applied in its order, and the report says how far that is.
//!
//! Looked at with each change in the folder of snapshots and each second, also while draining. What cannot be followed (a gap,
//! another log, a damaged line) purges everything. Unsafe requests take effect here at once and are told to the controller,
//! again and again until the log has them, for the other edges.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use banyan_httpcache::Time;
use banyan_httpcache::purge::{Mode, Target};
use banyan_topology::purge::{self, Actor, Invalidated, PurgeReport, Record, Scope};
use banyan_topology::snapshot::EdgeSnapshot;

use super::Control;
use crate::cache::purge::{Names, mode};

/// What is told in one report.
const MOST_TOLD: usize = 500;
/// While the controller is dead; more become everything.
const MOST_UNTOLD: usize = 10_000;
/// After a hand-over two edges have stores for a while.
const TOGETHER: Duration = Duration::from_secs(120);

pub(super) struct Purges {
    tail: Tail,
    /// This process.
    name: String,
    told: u64,
    /// What the log does not have yet.
    untold: Vec<Invalidated>,
    /// Another edge serves beside this one until then.
    together: Option<Instant>,
    /// How far the report may say that purges are applied: a later process will hold to them, too.
    settled: Option<(String, u64)>,
}

/// How far the log was read.
struct Tail {
    path: PathBuf,
    /// Open, so that no other file can take its place unseen.
    file: Option<File>,
    log: String,
    last: u64,
    offset: u64,
}

enum News {
    Nothing,
    Records(Vec<Record>),
    /// What was purged meanwhile is not known.
    Lost(&'static str),
}

impl Purges {
    /// Nothing is in memory yet, so what the log has so far concerns only what earlier processes left on the disk.
    pub(super) fn begin(path: &Path, started_unix_ms: u64) -> Self {
        let mut tail = Tail {
            path: path.to_owned(),
            file: None,
            log: String::new(),
            last: 0,
            offset: 0,
        };
        if let Err(error) = tail.look() {
            tracing::warn!(%error, "the log of purges cannot be read");
        }
        let settled = Some((tail.log.clone(), tail.last));
        Self {
            tail,
            name: format!("{}-{started_unix_ms}", std::process::id()),
            told: 0,
            untold: Vec::new(),
            together: None,
            settled,
        }
    }

    pub(super) fn report(&self) -> PurgeReport {
        let (log, applied) = self.settled.clone().unwrap_or_default();
        PurgeReport {
            edge: self.name.clone(),
            log,
            applied,
            invalidated: self.untold.iter().take(MOST_TOLD).cloned().collect(),
        }
    }

    /// Another edge serves beside this one, for a while.
    pub(super) fn beside_another(&mut self) {
        self.together = Some(Instant::now() + TOGETHER);
    }
}

impl Tail {
    fn look(&mut self) -> io::Result<News> {
        let there = match std::fs::metadata(&self.path) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(self.vanished()),
            Err(error) => return Err(error),
        };
        match &self.file {
            Some(file) if is_same(&file.metadata()?, &there) && there.len() >= self.offset => self.read_on(),
            _ => self.read_anew(),
        }
    }

    fn vanished(&mut self) -> News {
        if self.file.take().is_none() {
            return News::Nothing;
        }
        (self.log, self.last, self.offset) = (String::new(), 0, 0);
        News::Lost("the log of purges is gone")
    }

    fn read_on(&mut self) -> io::Result<News> {
        let Some(file) = &self.file else {
            return Ok(News::Nothing);
        };
        let bytes = read_from(file, self.offset)?;
        if bytes.is_empty() {
            return Ok(News::Nothing);
        }
        let mut last = self.last;
        match purge::read_on(&bytes, &mut last) {
            Ok((records, sound)) => {
                self.offset += sound as u64;
                self.last = last;
                Ok(if records.is_empty() {
                    News::Nothing
                } else {
                    News::Records(records)
                })
            }
            Err(_) => Ok(self.resume_behind(&bytes, self.offset)),
        }
    }

    fn read_anew(&mut self) -> io::Result<News> {
        let file = File::open(&self.path)?;
        let bytes = read_from(&file, 0)?;
        let had_one = self.file.is_some();
        let reading = match purge::read(&bytes) {
            // Its first line is being written.
            Ok(None) => return Ok(News::Nothing),
            Ok(Some(reading)) => reading,
            Err(_) => {
                self.file = Some(file);
                return Ok(self.resume_behind(&bytes, 0));
            }
        };
        let follows = if had_one {
            reading.head.log == self.log && reading.head.after <= self.last
        } else {
            reading.head.after == 0
        };
        let known = self.last;
        self.file = Some(file);
        self.offset = reading.sound as u64;
        self.last = reading.head.after + reading.records.len() as u64;
        self.log = reading.head.log;
        if !follows || self.last < known {
            return Ok(News::Lost("the log of purges is another one, or begins too late"));
        }
        let mut records = reading.records;
        records.retain(|record| record.seq > known);
        Ok(if records.is_empty() {
            News::Nothing
        } else {
            News::Records(records)
        })
    }

    /// What came behind this number of that log. `None`: that is not known.
    fn since(&self, log: &str, seq: u64) -> Option<Vec<Record>> {
        let Some(file) = &self.file else {
            return log.is_empty().then(Vec::new);
        };
        let reading = purge::read(&read_from(file, 0).ok()?).ok()??;
        let follows = match log {
            "" => reading.head.after == 0,
            log => reading.head.log == log && reading.head.after <= seq,
        };
        let mut records = reading.records;
        records.retain(|record| record.seq > seq);
        follows.then_some(records)
    }

    /// Behind the last line that can be read: all before it will count as done.
    fn resume_behind(&mut self, bytes: &[u8], from: u64) -> News {
        if let Some((seq, end)) = purge::last_sound(bytes) {
            self.last = self.last.max(seq);
            self.offset = from + end as u64;
        } else {
            self.offset = from + bytes.len() as u64;
        }
        News::Lost("a line of the log of purges is damaged")
    }
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

fn read_from(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.metadata()?.len().saturating_sub(offset)).unwrap_or(0);
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

impl Control {
    /// Takes what is new in the log, and tells that it is in force. Never before it is.
    pub(super) fn look_at_purges(&mut self) {
        let news = match self.purges.tail.look() {
            Ok(news) => news,
            Err(error) => {
                tracing::warn!(%error, "the log of purges cannot be read");
                return;
            }
        };
        let (log, last) = (&self.purges.tail.log, self.purges.tail.last);
        self.stored.store.followed.know(log, last);
        match news {
            News::Nothing => {}
            News::Records(records) => self.apply_purges(&records),
            News::Lost(why) => {
                tracing::warn!(why, "everything stored is given up");
                self.stored.store.purge(&Target::All, Mode::Hard, self.now());
            }
        }
        self.stored.store.followed.applied();
        if self.settle_purges() {
            self.publish();
        }
    }

    /// Objects on the disk are of use from now on.
    pub(super) fn begin_on_disk(&mut self, snapshot: &EdgeSnapshot) {
        self.look_at_the_past(snapshot);
        self.purges.settled = None;
        self.settle_purges();
    }

    /// What was applied is in force for later processes, too, and the report may say so. `false`: it says nothing new.
    pub(super) fn settle_purges(&mut self) -> bool {
        let reached = (self.purges.tail.log.clone(), self.purges.tail.last);
        if self.purges.settled.as_ref() == Some(&reached) && !self.stored.store.is_unsettled() {
            return false;
        }
        if let Err(error) = self.stored.store.settle_log(&reached.0, reached.1) {
            tracing::warn!(%error, "purges are not acknowledged: the disk of the cache cannot be told");
            return false;
        }
        self.purges.settled = Some(reached);
        true
    }

    /// What processes before this one left on the disk is used as far as it is known what was purged since.
    fn look_at_the_past(&self, snapshot: &EdgeSnapshot) {
        let names = Names::new(snapshot.settings.cache.as_deref());
        let tail = &self.purges.tail;
        self.stored.store.look_at_the_past(self.now(), |log, seq| {
            let missed = tail.since(log, seq)?;
            let targets = missed.iter().flat_map(|record| {
                let targets = names.targets(&record.scope);
                targets.into_iter().map(|target| (target, mode(record.mode)))
            });
            Some(targets.collect())
        });
    }

    /// Another one of this place has ended since the last time.
    pub(super) fn look_at_who_ended(&self) {
        if self.stored.store.disk().is_some() {
            self.look_at_the_past(&self.snapshot);
        }
    }

    fn apply_purges(&mut self, records: &[Record]) {
        let names = Names::new(self.snapshot.settings.cache.as_deref());
        let now = self.now();
        for record in records {
            if let Actor::Edge { edge, number } = &record.actor
                && *edge == self.purges.name
            {
                self.purges.untold.retain(|one| one.number > *number);
                self.stored.store.elsewhere.heard(&record.scope);
                continue;
            }
            for target in names.targets(&record.scope) {
                self.stored.store.purge(&target, mode(record.mode), now);
            }
        }
    }

    /// What unsafe requests made untrue, for the next report.
    pub(super) fn gather_invalidated(&mut self) {
        for scope in self.stored.store.elsewhere.take() {
            let untold = &mut self.purges.untold;
            // Nobody has taken any for long.
            let scope = if untold.len() < MOST_UNTOLD {
                scope
            } else {
                Scope::All
            };
            if untold.last().is_some_and(|last| last.scope == Scope::All) {
                break;
            }
            self.purges.told += 1;
            let number = self.purges.told;
            untold.push(Invalidated { number, scope });
        }
        self.publish();
    }

    /// Each second and with each snapshot: whether what passes here must be told.
    pub(super) fn look_for_others(&mut self) {
        let together = self.purges.together.is_some_and(|until| Instant::now() < until);
        let several = self.place.is_some() || !self.snapshot.places.is_empty();
        self.stored.store.elsewhere.switch(together || several);
    }

    pub(super) fn now(&self) -> Time {
        self.stored.store.steady.now(self.clock).time
    }
}

#[cfg(test)]
mod tests;
