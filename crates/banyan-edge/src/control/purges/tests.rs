//! What a reader makes of the log, whatever happens to the file.

use std::fs;
use std::io::Write;

use banyan_topology::purge::{Actor, Head, Mode, Record, Scope};

use super::*;

struct Written {
    dir: tempfile::TempDir,
    tail: Tail,
}

fn record(seq: u64) -> String {
    let record = Record {
        seq,
        at_ms: 0,
        scope: Scope::Tag(seq.to_string()),
        mode: Mode::Hard,
        actor: Actor::Command,
    };
    record.line()
}

fn log(id: &str, after: u64, seqs: impl IntoIterator<Item = u64>) -> String {
    let head = Head {
        log: id.to_owned(),
        after,
    };
    head.line() + &seqs.into_iter().map(record).collect::<String>()
}

impl Written {
    /// A reader that begins with this in the file; `None`: without one.
    fn new(text: Option<&str>) -> Self {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("purge.log");
        if let Some(text) = text {
            fs::write(&path, text).unwrap();
        }
        let tail = Purges::begin(&path, 0).tail;
        Self { dir, tail }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("purge.log")
    }

    fn append(&self, text: &str) {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.path())
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn replace(&self, text: &str) {
        let new = self.dir.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    /// What it is told, and how far it is then.
    fn look(&mut self) -> (String, u64) {
        let told = match self.tail.look().unwrap() {
            News::Nothing => "nothing".to_owned(),
            News::Records(records) => format!("{:?}", records.iter().map(|r| r.seq).collect::<Vec<_>>()),
            News::Lost(_) => "everything".to_owned(),
        };
        (told, self.tail.last)
    }
}

fn told(what: &str, last: u64) -> (String, u64) {
    (what.to_owned(), last)
}

#[test]
fn each_record_is_told_once_and_a_torn_one_when_it_is_whole() {
    let mut it = Written::new(Some(&log("a", 0, 1..=2)));
    assert_eq!(it.look(), told("nothing", 2), "nothing is stored when it begins");
    it.append(&record(3));
    let torn = record(4);
    it.append(&torn[..30]);
    assert_eq!(it.look(), told("[3]", 3));
    it.append(&torn[30..]);
    assert_eq!(it.look(), told("[4]", 4));
    assert_eq!(it.look(), told("nothing", 4));
}

#[test]
fn a_log_that_begins_while_it_looks_is_followed_from_its_first_record() {
    let mut it = Written::new(None);
    assert_eq!(it.look(), told("nothing", 0));
    it.append(&log("a", 0, []));
    assert_eq!(it.look(), told("nothing", 0));
    it.append(&record(1));
    assert_eq!(it.look(), told("[1]", 1));
}

#[test]
fn a_log_that_was_cut_behind_what_is_known_is_followed_and_one_that_was_cut_before_it_is_not() {
    let mut it = Written::new(Some(&log("a", 0, 1..=4)));
    it.replace(&log("a", 3, 4..=6));
    assert_eq!(it.look(), told("[5, 6]", 6));
    it.replace(&log("a", 8, [9]));
    assert_eq!(it.look(), told("everything", 9));
}

#[test]
fn another_log_none_and_a_shorter_one_purge_everything_once() {
    let mut it = Written::new(Some(&log("a", 0, 1..=4)));
    it.replace(&log("b", 0, [1]));
    assert_eq!(it.look(), told("everything", 1));
    assert_eq!(it.look(), told("nothing", 1));
    it.replace(&log("b", 0, []));
    assert_eq!(it.look(), told("everything", 0));
    fs::remove_file(it.path()).unwrap();
    assert_eq!(it.look(), told("everything", 0));
    assert_eq!(it.look(), told("nothing", 0));
    it.append(&log("c", 0, [1]));
    assert_eq!(it.look(), told("[1]", 1));
}

#[test]
fn a_damaged_line_purges_everything_and_what_comes_behind_it_is_followed() {
    let mut it = Written::new(Some(&log("a", 0, 1..=2)));
    it.append(&record(3).replace("hard", "soft"));
    it.append(&record(4));
    assert_eq!(it.look(), told("everything", 4));
    it.append(&record(5));
    assert_eq!(it.look(), told("[5]", 5));
    it.append(&record(7));
    assert_eq!(it.look(), told("everything", 7), "a gap");
    let mut first = Written::new(Some("no log at all\n"));
    assert_eq!(first.look(), told("nothing", 0));
    first.append("nor now\n");
    assert_eq!(first.look().0, "everything");
}
