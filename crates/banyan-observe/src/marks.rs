//! What was done and what happened, for the axis of time: changes, by the journal's files.
//!
//! Only the reason and the moment of a journal are read; what else it holds is the controller's. A journal is read
//! again only when its file has changed. Limit: the latest 100 marks.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{DirEntry, File};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The newest ones.
pub(crate) const MOST: usize = 100;
/// Of a journal's first line; what is longer is none.
const LINE: u64 = 16 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Unix ms.
    pub at_ms: u64,
    /// "deploy", "scaling failed"
    pub what: String,
    /// It did not go as it was meant to.
    pub bad: bool,
}

#[derive(Deserialize)]
struct Header {
    reason: String,
}

#[derive(Deserialize)]
struct Entry {
    entry: String,
}

/// Every journal that is kept, as it was read last; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journals(Arc<BTreeMap<OsString, Known>>);

#[derive(Clone, Debug)]
struct Known {
    version: Version,
    /// `None`: it is no journal.
    mark: Option<Mark>,
}

/// Of a file: it has changed when one of them has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    /// Since 1970.
    changed: Duration,
    bytes: u64,
}

impl Journals {
    /// Looks for what is new. Blocking. Answers how many files were read for it.
    pub(crate) fn read(&mut self, folder: &Path) -> usize {
        let mut count = 0;
        let mut look = |entry: DirEntry| {
            let name = entry.file_name();
            let version = version(&entry)?;
            let before = self.0.get(&name).filter(|known| known.version == version);
            let known = before.cloned().unwrap_or_else(|| {
                count += 1;
                let mark = one(&entry.path(), version.changed);
                Known { version, mark }
            });
            Some((name, known))
        };
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let known = entries.filter_map(|entry| look(entry.ok()?)).collect();
        self.0 = Arc::new(known);
        count
    }

    /// Oldest first.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        let mut marks: Vec<Mark> = self.0.values().filter_map(|known| known.mark.clone()).collect();
        marks.sort_by_key(|mark| mark.at_ms);
        let old = marks.len().saturating_sub(MOST);
        marks.split_off(old)
    }
}

/// `None`: it is not of a journal.
fn version(entry: &DirEntry) -> Option<Version> {
    if entry.path().extension()? != "jsonl" {
        return None;
    }
    let file = entry.metadata().ok()?;
    Some(Version {
        changed: file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?,
        bytes: file.len(),
    })
}

fn one(path: &Path, changed: Duration) -> Option<Mark> {
    let file = File::open(path).ok()?;
    let mut lines = BufReader::new(file.take(LINE)).lines().map_while(Result::ok);
    let header: Header = serde_json::from_str(&lines.next()?).ok()?;
    let failed = |line: String| {
        let entry = serde_json::from_str::<Entry>(&line);
        entry.is_ok_and(|entry| matches!(entry.entry.as_str(), "failed" | "reverting" | "abandoned"))
    };
    let bad = lines.any(failed);
    let what = match header.reason.as_str() {
        "configuration" => "apply",
        "scale" => "scaling",
        other => other,
    };
    Some(Mark {
        at_ms: u64::try_from(changed.as_millis()).ok()?,
        what: if bad {
            format!("{what} failed")
        } else {
            what.to_owned()
        },
        bad,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_a_mark_and_one_that_was_undone_says_so() {
        let folder = tempfile::TempDir::new().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let header = |reason: &str| {
            format!("{{\"entry\":\"plan\",\"number\":1,\"reason\":\"{reason}\",\"plan\":{{}}}}\n")
        };
        write(
            "0001.jsonl",
            &format!(
                "{}{{\"entry\":\"begun\",\"step\":0}}\n{{\"entry\":\"finished\"}}\n",
                header("scale")
            ),
        );
        write(
            "0002.jsonl",
            &format!(
                "{}{{\"entry\":\"failed\",\"step\":0,\"error\":\"no\"}}\n",
                header("deploy")
            ),
        );
        write("0003.jsonl", "torn");
        write("note.txt", "x");
        let mut journals = Journals::default();
        assert_eq!(journals.read(folder.path()), 3);
        let mut said: Vec<(String, bool)> = journals
            .marks()
            .into_iter()
            .map(|mark| (mark.what, mark.bad))
            .collect();
        said.sort();
        assert_eq!(
            said,
            [("deploy failed".to_owned(), true), ("scaling".to_owned(), false)]
        );
        journals.read(&folder.path().join("absent"));
        assert!(journals.marks().is_empty());
    }

    #[test]
    fn only_a_journal_that_has_changed_is_read_again() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        let header = "{\"entry\":\"plan\",\"reason\":\"deploy\"}\n";
        for name in ["0001.jsonl", "0002.jsonl"] {
            std::fs::write(path(name), header).unwrap();
        }
        let mut journals = Journals::default();
        assert_eq!(journals.read(folder.path()), 2);
        assert_eq!(journals.read(folder.path()), 0);
        std::fs::write(path("0002.jsonl"), format!("{header}{{\"entry\":\"failed\"}}\n")).unwrap();
        assert_eq!(journals.read(folder.path()), 1);
        assert_eq!(journals.marks().iter().filter(|mark| mark.bad).count(), 1);
        std::fs::remove_file(path("0001.jsonl")).unwrap();
        assert_eq!((journals.read(folder.path()), journals.marks().len()), (0, 1));
    }
}
