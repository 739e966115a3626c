//! `.banyan/alerts/`: what fires and who is still to be told (`state.json`), what happened (`history.jsonl`), and what people
//! do not want to hear of (`silences.json`). The role writes the first two, `banyan alerts` the last; both read all, so none
//! needs the other to run. A full disk costs history, and nothing else.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use banyan_alert::{Alert, Kept, Silence, Silences, Transition};
use banyan_runtime::watched::WatchedError;
use banyan_runtime::{Clock, task, watched};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use super::now;

/// A history of this size becomes `history.1.jsonl`, and what that held is gone.
const HISTORY: u64 = 1 << 20;

/// What is written of alerts.
#[derive(Clone, Debug)]
pub struct Book(PathBuf);

/// What people see.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Shown {
    /// When rules were judged last; 0: never, or none is.
    pub judged_ms: u64,
    /// What fires and what is pending, the most urgent first.
    pub alerts: Vec<Alert>,
    pub silences: Vec<Silence>,
    /// Receivers that could not be told so far, with why.
    pub undelivered: BTreeMap<String, String>,
    /// Changes that nobody took within an hour.
    pub lost: u64,
    /// Oldest first.
    pub history: Vec<Transition>,
}

impl Book {
    /// Of an installation.
    pub fn at(state_dir: &Path) -> Self {
        Self(state_dir.join("alerts"))
    }

    /// With at most so much of the history. Blocking.
    pub fn shown(&self, history: usize) -> Result<Shown, WatchedError> {
        let kept: Kept = watched::read(&self.state())?.unwrap_or_default();
        let silences: Silences = watched::read(&self.silences_path())?.unwrap_or_default();
        Ok(Shown {
            judged_ms: kept.state.at_ms,
            alerts: kept.state.alerts,
            silences: silences.at(now()).cloned().collect(),
            undelivered: kept.outbox.problems(),
            lost: kept.outbox.lost,
            history: self.history(history),
        })
    }

    /// Changes what people do not want to hear of. Blocking.
    pub fn change_silences<T>(&self, change: impl FnOnce(&mut Silences) -> T) -> io::Result<T> {
        self.make()?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(self.0.join("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let path = self.silences_path();
        let known = watched::read(&path).map_err(io::Error::other)?;
        let mut silences: Silences = known.unwrap_or_default();
        silences.tidy(now());
        let changed = change(&mut silences);
        watched::publish(&path, &silences).map_err(io::Error::other)?;
        Ok(changed)
    }

    /// What cannot be read begins anew.
    pub(super) fn kept(&self) -> Kept {
        or_nothing(watched::read(&self.state()), "what fired before is not known")
    }

    /// None can be read as none holds: people are told rather once too often.
    pub(super) fn silences(&self) -> Silences {
        or_nothing(watched::read(&self.silences_path()), "silences cannot be read")
    }

    /// Nothing is judged: nothing fires.
    pub(super) fn forget(&self) {
        let _absent = fs::remove_file(self.state());
    }

    /// Writes what is, and adds what happened to the history.
    pub(super) async fn keep(&self, kept: &Kept, happened: Vec<Transition>) {
        let (book, kept) = (self.clone(), kept.clone());
        let written = task::blocking(move || book.write(&kept, &happened)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "alerts are not on the disk: a restart would forget them");
        }
    }

    fn write(&self, kept: &Kept, happened: &[Transition]) -> io::Result<()> {
        self.make()?;
        watched::publish(&self.state(), kept).map_err(io::Error::other)?;
        if happened.is_empty() {
            return Ok(());
        }
        let [path, old] = self.history_paths();
        if fs::metadata(&path).is_ok_and(|file| file.len() > HISTORY) {
            fs::rename(&path, old)?;
        }
        append(&path, happened)
    }

    /// The newest; a line that was torn by a crash is left out.
    fn history(&self, most: usize) -> Vec<Transition> {
        if most == 0 {
            return Vec::new();
        }
        let [path, old] = self.history_paths();
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let text = read(old) + &read(path);
        let newest = text
            .lines()
            .rev()
            .filter_map(|line| serde_json::from_str(line).ok());
        let mut history: Vec<Transition> = newest.take(most).collect();
        history.reverse();
        history
    }

    fn make(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    fn state(&self) -> PathBuf {
        self.0.join("state.json")
    }

    fn silences_path(&self) -> PathBuf {
        self.0.join("silences.json")
    }

    /// The one that is written, and the one before.
    fn history_paths(&self) -> [PathBuf; 2] {
        ["history.jsonl", "history.1.jsonl"].map(|name| self.0.join(name))
    }
}

impl Shown {
    /// How long ago rules were judged last, in milliseconds.
    pub fn age_ms(&self) -> u64 {
        Clock.unix_ms().saturating_sub(self.judged_ms)
    }
}

fn or_nothing<T: Default>(read: Result<Option<T>, WatchedError>, otherwise: &str) -> T {
    let read = read.unwrap_or_else(|error| {
        tracing::warn!(%error, "{otherwise}");
        None
    });
    read.unwrap_or_default()
}

fn append(path: &Path, happened: &[Transition]) -> io::Result<()> {
    let mut lines = Vec::new();
    for transition in happened {
        serde_json::to_writer(&mut lines, transition)?;
        lines.push(b'\n');
    }
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&lines)
}
