//! What was done and what happened, for the axis of time: changes by the journal's files, failovers by who is primary.
//!
//! Only the reason and the moment of a journal are read; what else it holds is the controller's. Limit: the latest 100 marks.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// The newest ones.
const MOST: usize = 100;
/// Of a journal's first line; what is longer is none.
const LINE: u64 = 16 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Unix ms.
    pub at_ms: u64,
    /// "deploy", "failover"
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

/// Of every change whose journal is kept, oldest first. Blocking.
pub(crate) fn of_journals(folder: &Path) -> Vec<Mark> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut marks: Vec<Mark> = entries.filter_map(|entry| one(&entry.ok()?.path())).collect();
    marks.sort_by_key(|mark| mark.at_ms);
    let old = marks.len().saturating_sub(MOST);
    marks.split_off(old)
}

fn one(path: &Path) -> Option<Mark> {
    if path.extension()? != "jsonl" {
        return None;
    }
    let file = File::open(path).ok()?;
    let changed = file.metadata().ok()?.modified().ok()?;
    let at_ms = changed.duration_since(UNIX_EPOCH).ok()?.as_millis();
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
        at_ms: u64::try_from(at_ms).ok()?,
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
        let mut said: Vec<(String, bool)> = of_journals(folder.path())
            .into_iter()
            .map(|mark| (mark.what, mark.bad))
            .collect();
        said.sort();
        assert_eq!(
            said,
            [("deploy failed".to_owned(), true), ("scaling".to_owned(), false)]
        );
        assert!(of_journals(&folder.path().join("absent")).is_empty());
    }
}
