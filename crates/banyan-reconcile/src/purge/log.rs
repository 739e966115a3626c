//! The controller's end of `purge.log`: appends, durably, before anybody is told that something is purged.
//!
//! A crash at any point leaves a log whose whole lines are all that was answered for, and perhaps more. What cannot be read
//! makes place for a new log, which tells its readers to purge everything. Kept: 7 days, and no more than [`MOST_BYTES`].

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use banyan_runtime::watched::{self, WatchedError};
use banyan_topology::purge::{self, Actor, Head, Mode, Record, Scope};

/// A larger log is cut to half of that.
const MOST_BYTES: u64 = 8 << 20;
const KEEP_MS: u64 = 7 * 24 * 3600 * 1000;

#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("failed to {operation} {path}; nothing was purged")]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the log of purges could not be begun; nothing was purged")]
    Begin(#[source] WatchedError),
}

/// One record to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) scope: Scope,
    pub(crate) mode: Mode,
    pub(crate) actor: Actor,
}

#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    /// Its name; another one after everything was lost.
    pub(crate) id: String,
    last: u64,
    bytes: u64,
    /// Up to which number what each edge told is in it.
    known: HashMap<String, u64>,
}

impl Log {
    /// Reads what there is, or begins a log. `now_ms` names a new one.
    pub(crate) fn open(path: &Path, now_ms: u64) -> Result<Self, LogError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(failed("read", path)(source)),
        };
        match purge::read(&bytes) {
            Ok(Some(reading)) => {
                let mut log = Self {
                    path: path.to_owned(),
                    last: reading.head.after + reading.records.len() as u64,
                    id: reading.head.log,
                    bytes: reading.sound as u64,
                    known: HashMap::new(),
                };
                reading.records.iter().for_each(|record| log.know(record));
                if reading.sound < bytes.len() {
                    log.cut_back()?;
                }
                Ok(log)
            }
            Ok(None) => Self::begin(path, now_ms),
            Err(damaged) => {
                tracing::error!(%damaged, "a new one is begun: edges purge everything");
                Self::begin(path, now_ms)
            }
        }
    }

    fn begin(path: &Path, now_ms: u64) -> Result<Self, LogError> {
        let id = format!("{now_ms:x}-{:x}", std::process::id());
        let text = Head {
            log: id.clone(),
            after: 0,
        }
        .line();
        watched::replace(path, text.as_bytes()).map_err(LogError::Begin)?;
        Ok(Self {
            path: path.to_owned(),
            id,
            last: 0,
            bytes: text.len() as u64,
            known: HashMap::new(),
        })
    }

    fn know(&mut self, record: &Record) {
        if let Actor::Edge { edge, number } = &record.actor {
            let known = self.known.entry(edge.clone()).or_default();
            *known = (*known).max(*number);
        }
    }

    /// What this edge has told is in the log up to here.
    pub(crate) fn known_of(&self, edge: &str) -> u64 {
        self.known.get(edge).copied().unwrap_or(0)
    }

    /// All of them, on the disk when it returns; the number of the last. `Err`: none of them.
    pub(crate) fn append(&mut self, wanted: Vec<Wanted>, now_ms: u64) -> Result<u64, LogError> {
        if self.bytes > MOST_BYTES {
            self.shorten(now_ms)?;
        }
        let records = wanted
            .into_iter()
            .zip(self.last + 1..)
            .map(|(wanted, seq)| Record {
                seq,
                at_ms: now_ms,
                scope: wanted.scope,
                mode: wanted.mode,
                actor: wanted.actor,
            });
        let records: Vec<Record> = records.collect();
        let text: String = records.iter().map(Record::line).collect();
        if let Err(error) = self.write(text.as_bytes()) {
            // What is half there would stand before all that follows.
            self.cut_back()?;
            return Err(error);
        }
        self.bytes += text.len() as u64;
        self.last += records.len() as u64;
        records.iter().for_each(|record| self.know(record));
        Ok(self.last)
    }

    /// Closed again: that is what readers watch for.
    fn write(&self, bytes: &[u8]) -> Result<(), LogError> {
        let file = OpenOptions::new().append(true).open(&self.path);
        let mut file = file.map_err(failed("open", &self.path))?;
        let there = file.metadata().map_err(failed("look at", &self.path))?.len();
        if there != self.bytes {
            let source =
                io::Error::other("somebody else has changed it; restart the controller to begin a new one");
            return Err(failed("append to", &self.path)(source));
        }
        file.write_all(bytes).map_err(failed("append to", &self.path))?;
        file.sync_data().map_err(failed("sync", &self.path))
    }

    fn cut_back(&self) -> Result<(), LogError> {
        let file = OpenOptions::new().write(true).open(&self.path);
        let cut = file.and_then(|file| {
            file.set_len(self.bytes)?;
            file.sync_all()
        });
        cut.map_err(failed("cut back", &self.path))
    }

    /// The newest, as far as they are young enough and take no more than half.
    fn shorten(&mut self, now_ms: u64) -> Result<(), LogError> {
        let bytes = fs::read(&self.path).map_err(failed("read", &self.path))?;
        let Ok(Some(reading)) = purge::read(&bytes) else {
            return Ok(());
        };
        let mut kept = Vec::new();
        let mut room = MOST_BYTES / 2;
        for record in reading.records.into_iter().rev() {
            let line = record.line();
            let young = record.at_ms + KEEP_MS >= now_ms;
            if !young || line.len() as u64 > room {
                break;
            }
            room -= line.len() as u64;
            kept.push(line);
        }
        let head = Head {
            log: self.id.clone(),
            after: self.last - kept.len() as u64,
        };
        kept.push(head.line());
        kept.reverse();
        let text = kept.concat();
        watched::replace(&self.path, text.as_bytes()).map_err(LogError::Begin)?;
        self.bytes = text.len() as u64;
        Ok(())
    }
}

fn failed<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> LogError + 'a {
    move |source| LogError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// Held by whoever must not lose it over a failure: opened when it is needed first, and anew when it could not be used.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) path: PathBuf,
    pub(crate) log: Option<Log>,
}

impl Kept {
    pub(crate) fn get(&mut self, now_ms: u64) -> Result<&mut Log, LogError> {
        let log = match self.log.take() {
            Some(log) => log,
            None => Log::open(&self.path, now_ms)?,
        };
        Ok(self.log.insert(log))
    }

    /// The log's name and the number of the last record.
    pub(crate) fn append(&mut self, wanted: Vec<Wanted>, now_ms: u64) -> Result<(String, u64), LogError> {
        let log = self.get(now_ms)?;
        let done = log.append(wanted, now_ms);
        let id = log.id.clone();
        if done.is_err() {
            self.log = None;
        }
        Ok((id, done?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(tag: &str) -> Vec<Wanted> {
        vec![Wanted {
            scope: Scope::Tag(tag.to_owned()),
            mode: Mode::Hard,
            actor: Actor::Command,
        }]
    }

    fn tags(path: &Path) -> Vec<String> {
        let reading = purge::read(&fs::read(path).unwrap()).unwrap().unwrap();
        let scopes = reading.records.into_iter().map(|record| record.scope.to_string());
        scopes.collect()
    }

    #[test]
    fn a_controller_killed_at_any_byte_loses_nothing_it_answered_for_and_the_next_goes_on() {
        let dir = tempfile::TempDir::new().unwrap();
        let whole = dir.path().join("whole");
        let mut log = Log::open(&whole, 1).unwrap();
        let begun = fs::metadata(&whole).unwrap().len();
        log.append(wanted("a"), 1).unwrap();
        let answered = fs::metadata(&whole).unwrap().len();
        log.append(wanted("b"), 1).unwrap();
        let bytes = fs::read(&whole).unwrap();
        for cut in 0..=bytes.len() {
            let path = dir.path().join("cut");
            fs::write(&path, &bytes[..cut]).unwrap();
            let mut next = Log::open(&path, 2).unwrap();
            let seq = next.append(wanted("c"), 2).unwrap();
            let tags = tags(&path);
            assert_eq!(tags.len() as u64, seq, "cut at {cut}");
            assert_eq!(tags.last().unwrap(), "the tag c");
            assert_eq!(
                tags[0] == "the tag a",
                cut as u64 >= answered,
                "cut at {cut}: {tags:?}"
            );
            assert_eq!(
                next.id == log.id,
                cut as u64 >= begun,
                "another log below its first line"
            );
        }
    }

    #[test]
    fn a_damaged_log_makes_place_for_another() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::open(&path, 1).unwrap();
        log.append(wanted("a"), 1).unwrap();
        log.append(wanted("b"), 1).unwrap();
        let text = fs::read_to_string(&path).unwrap().replace("\"a\"", "\"x\"");
        fs::write(&path, text).unwrap();
        let next = Log::open(&path, 2).unwrap();
        assert_ne!(next.id, log.id);
        assert_eq!(tags(&path), Vec::<String>::new());
        let foreign = log.append(wanted("c"), 2).unwrap_err();
        assert!(foreign.to_string().contains("nothing was purged"), "{foreign}");
    }

    #[test]
    fn what_edges_told_is_known_again_after_a_restart() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("log");
        let told = Wanted {
            scope: Scope::All,
            mode: Mode::Hard,
            actor: Actor::Edge {
                edge: "7-1".to_owned(),
                number: 3,
            },
        };
        Log::open(&path, 1).unwrap().append(vec![told], 1).unwrap();
        let log = Log::open(&path, 2).unwrap();
        assert_eq!((log.known_of("7-1"), log.known_of("8-1")), (3, 0));
    }

    #[test]
    fn a_large_log_keeps_its_newest_records_and_their_numbers() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::open(&path, 1).unwrap();
        let many = (0..6_000).flat_map(|n| wanted(&format!("{n:01500}"))).collect();
        let seq = log.append(many, 1).unwrap();
        assert!(log.bytes > MOST_BYTES);
        assert_eq!(log.append(wanted("last"), 2).unwrap(), seq + 1);
        assert!(log.bytes <= MOST_BYTES / 2 + 1024);
        let reading = purge::read(&fs::read(&path).unwrap()).unwrap().unwrap();
        assert_eq!(reading.head.log, log.id);
        assert_eq!(reading.records.last().unwrap().seq, seq + 1);
        let again = Log::open(&path, 3).unwrap();
        assert_eq!((again.last, again.bytes), (log.last, log.bytes));
        log.append(
            (0..6_000).flat_map(|n| wanted(&format!("{n:01500}"))).collect(),
            3,
        )
        .unwrap();
        log.append(wanted("later"), 3 + KEEP_MS + 5).unwrap();
        assert_eq!(tags(&path), ["the tag later"], "the others are too old");
    }
}
