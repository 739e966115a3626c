//! The durable progress of plans: one append-only file of JSON lines per plan, `.banyan/journal/NNNN.jsonl`.
//!
//! A line is on the disk before what it announces begins. A torn last line (a crash while writing) is as if it had not
//! been written. No secret gets here: topologies and steps hold none.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use banyan_topology::{Plan, PlannedStep, Topology};
use serde::{Deserialize, Serialize};

use crate::intent::Intent;

/// Journals of plans that ended are kept for people; more than this many are pruned.
const KEEP: usize = 50;

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("failed to {operation} the journal {path}")]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the journal {path} is damaged at line {line}; move it away to go on without it")]
    Content {
        path: PathBuf,
        line: usize,
        #[source]
        source: serde_json::Error,
    },
    #[error("the journal {path} does not begin with a plan; move it away to go on without it")]
    NoPlan { path: PathBuf },
}

/// What is to be done and why: the first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub number: u32,
    pub reason: Reason,
    pub config_hash: String,
    pub from: Topology,
    pub plan: Plan,
    pub on_failure: OnFailure,
    pub intent_before: Intent,
    /// Becomes the intent when the plan is finished.
    pub intent_after: Intent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Start,
    Configuration,
    Deploy,
    Rollback,
    Switchover,
    Scale,
    Down,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Configuration => "apply",
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
            Self::Switchover => "switchover",
            Self::Scale => "scaling",
            Self::Down => "down",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Undo what was done: a deploy either succeeds or leaves everything as before.
    Revert,
    /// Stand still and ask.
    Stop,
}

/// A line. Steps are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "entry")]
pub enum Entry {
    Plan(Box<Header>),
    /// More than one may be begun before the first of them ends.
    Begun {
        step: usize,
    },
    Done {
        step: usize,
    },
    Failed {
        step: usize,
        error: String,
    },
    /// From here on, done steps are undone, last first.
    Reverting,
    Undoing {
        step: usize,
    },
    Undone {
        step: usize,
    },
    Reverted,
    Finished,
    /// The plan no longer fits what runs; a new one takes its place.
    Abandoned {
        reason: String,
    },
}

/// A plan and how far it got: what the lines of a journal add up to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub header: Header,
    /// Steps that are done and not undone.
    pub done: BTreeSet<usize>,
    /// Begun, and nobody knows whether they came to their end: more than one where steps are performed at once.
    pub in_doubt: BTreeSet<usize>,
    pub failure: Option<(usize, String)>,
    pub reverting: bool,
    pub ended: bool,
}

impl Record {
    pub fn new(header: Header) -> Self {
        Self {
            header,
            done: BTreeSet::new(),
            in_doubt: BTreeSet::new(),
            failure: None,
            reverting: false,
            ended: false,
        }
    }

    pub fn steps(&self) -> &[PlannedStep] {
        &self.header.plan.steps
    }

    pub fn take(&mut self, entry: &Entry) {
        match entry {
            Entry::Plan(_) => {}
            Entry::Begun { step } => {
                self.in_doubt.insert(*step);
                self.failure = None;
            }
            Entry::Done { step } => {
                self.done.insert(*step);
                self.in_doubt.remove(step);
                // What another of the same wave failed by counts on.
                self.failure.take_if(|(failed, _)| failed == step);
            }
            Entry::Failed { step, error } => {
                self.in_doubt.remove(step);
                // Of a wave the first step counts, whichever ended first.
                if self.failure.as_ref().is_none_or(|(failed, _)| step < failed) {
                    self.failure = Some((*step, error.clone()));
                }
            }
            Entry::Reverting => {
                self.reverting = true;
                self.ended = false;
            }
            // An inverse that was begun is simply performed again, so the step counts as done until it is undone.
            Entry::Undoing { step } => {
                self.done.insert(*step);
                self.in_doubt.insert(*step);
            }
            Entry::Undone { step } => {
                self.done.remove(step);
                self.in_doubt.remove(step);
            }
            Entry::Reverted | Entry::Finished | Entry::Abandoned { .. } => self.ended = true,
        }
    }
}

/// The journals of one installation.
#[derive(Clone, Debug)]
pub struct Journals(PathBuf);

impl Journals {
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Begins the journal of a new plan; `header.number` is set to the next free number.
    pub fn create(&self, mut header: Header) -> Result<(Journal, Record), JournalError> {
        let numbers = self.numbers()?;
        header.number = numbers.last().map_or(1, |last| last + 1);
        for old in numbers.iter().rev().skip(KEEP) {
            let path = self.path(*old);
            fs::remove_file(&path).map_err(failed("prune", &path))?;
        }
        let path = self.path(header.number);
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(failed("create", &path))?;
        let mut journal = Journal { file, path };
        journal.append(&Entry::Plan(Box::new(header.clone())))?;
        sync_folder(&self.0)?;
        Ok((journal, Record::new(header)))
    }

    /// The newest plan and its journal, ready for more lines; `None` when there is none.
    pub fn last(&self) -> Result<Option<(Journal, Record)>, JournalError> {
        for number in self.numbers()?.into_iter().rev() {
            if let Some(found) = self.open(number)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The plan to resume or revert, if the newest one came to no end.
    pub fn unfinished(&self) -> Result<Option<(Journal, Record)>, JournalError> {
        Ok(self.last()?.filter(|(_, record)| !record.ended))
    }

    /// `None`: the crash came before the plan itself was written, so nothing of it was done.
    fn open(&self, number: u32) -> Result<Option<(Journal, Record)>, JournalError> {
        let path = self.path(number);
        let bytes = fs::read(&path).map_err(failed("read", &path))?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        if whole == 0 {
            return Ok(None);
        }
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(failed("open", &path))?;
        // What follows the last whole line is torn; the next line must not continue it.
        file.set_len(whole as u64).map_err(failed("repair", &path))?;
        let record = replay(&path, &bytes[..whole])?;
        Ok(Some((Journal { file, path }, record)))
    }

    fn numbers(&self) -> Result<Vec<u32>, JournalError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("list", &self.0)(error)),
        };
        let mut numbers: Vec<u32> = entries
            .filter_map(|entry| {
                let name = entry.ok()?.file_name();
                name.to_str()?.strip_suffix(".jsonl")?.parse().ok()
            })
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn path(&self, number: u32) -> PathBuf {
        self.0.join(format!("{number:04}.jsonl"))
    }
}

fn replay(path: &Path, bytes: &[u8]) -> Result<Record, JournalError> {
    let mut record = None::<Record>;
    for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let entry: Entry = serde_json::from_slice(line).map_err(|source| JournalError::Content {
            path: path.to_owned(),
            line: index + 1,
            source,
        })?;
        match (&mut record, entry) {
            (None, Entry::Plan(header)) => record = Some(Record::new(*header)),
            (None, _) => {
                return Err(JournalError::NoPlan {
                    path: path.to_owned(),
                });
            }
            (Some(record), entry) => record.take(&entry),
        }
    }
    record.ok_or_else(|| JournalError::NoPlan {
        path: path.to_owned(),
    })
}

/// One open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// The line is on the disk when this returns.
    pub fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let mut line = serde_json::to_vec(entry).map_err(|source| JournalError::Content {
            path: self.path.clone(),
            line: 0,
            source,
        })?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .and_then(|()| self.file.sync_data())
            .map_err(failed("write", &self.path))
    }
}

fn sync_folder(folder: &Path) -> Result<(), JournalError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("sync the folder of", folder))
}

fn failed<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> JournalError + 'a {
    move |source| JournalError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}
