//! All that was written and is still there, packed files included, in the order of time.
//!
//! One file per child is open at a time, and a line per child in memory: a gigabyte is read like a kilobyte.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, BufRead, Read};
use std::path::Path;

use banyan_supervisor::child::log::{self, LogFile, Part};

use super::{Line, Tail, Wanted, timed};

/// Lines without a time that are looked through for one that has.
const AHEAD: usize = 500;
/// What of a line is read at once; a longer one is several.
const LONGEST: u64 = 1 << 20;

pub(crate) struct History {
    children: Vec<Child>,
    /// The next line's time of each child, and which it is.
    next: BinaryHeap<Reverse<(u64, usize)>>,
}

/// The files of one, oldest first.
struct Child {
    name: String,
    files: VecDeque<(LogFile, u64)>,
    open: Option<(Box<dyn BufRead>, u64)>,
    /// Read and timed already.
    ready: VecDeque<Line>,
    /// No line is before the one before it.
    last_ms: u64,
}

impl History {
    /// Up to where `tail` has read, so that it goes on without a gap. Files whose last line is before `since_ms` are left out.
    pub(crate) fn open(folder: &Path, wanted: &Wanted, since_ms: u64, tail: &Tail) -> io::Result<Self> {
        let mut children: Vec<Child> = Vec::new();
        for file in log::files(folder)? {
            // A time in a line may be a little after the file's own.
            const SLACK_MS: u64 = 60_000;
            if !wanted.contains(&file.child) || file.until_ms.saturating_add(SLACK_MS) < since_ms {
                continue;
            }
            if children.last().is_none_or(|child| child.name != file.child) {
                children.push(Child::new(file.child.clone()));
            }
            let limit = match file.part {
                Part::Current => tail.read_to(&file.child),
                Part::Packed | Part::Older => u64::MAX,
            };
            if let Some(child) = children.last_mut() {
                child.files.push_back((file, limit));
            }
        }
        let mut history = Self {
            next: BinaryHeap::new(),
            children,
        };
        for index in 0..history.children.len() {
            history.schedule(index)?;
        }
        Ok(history)
    }

    /// The next one in time; `None`: that was all.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Line>> {
        let Some(Reverse((_, index))) = self.next.pop() else {
            return Ok(None);
        };
        let line = self.children[index].ready.pop_front();
        self.schedule(index)?;
        Ok(line)
    }

    fn schedule(&mut self, index: usize) -> io::Result<()> {
        let child = &mut self.children[index];
        child.fill()?;
        if let Some(line) = child.ready.front() {
            child.last_ms = child.last_ms.max(line.time_ms);
            self.next.push(Reverse((child.last_ms, index)));
        }
        Ok(())
    }
}

impl Child {
    fn new(name: String) -> Self {
        Self {
            name,
            files: VecDeque::new(),
            open: None,
            ready: VecDeque::new(),
            last_ms: 0,
        }
    }

    /// At least one line is ready, unless there are no more.
    fn fill(&mut self) -> io::Result<()> {
        while self.ready.is_empty() {
            let Some((lines, until_ms)) = &mut self.open else {
                let Some((file, limit)) = self.files.pop_front() else {
                    return Ok(());
                };
                self.open = open(&file, limit)?.map(|lines| (lines, file.until_ms));
                continue;
            };
            let else_ms = if self.last_ms > 0 { self.last_ms } else { *until_ms };
            let mut texts = Vec::new();
            while texts.len() < AHEAD {
                let Some(text) = read_line(lines)? else {
                    self.open = None;
                    break;
                };
                texts.push(text);
                // Those before any line with a time look for one; from then on each line is by itself.
                if self.last_ms > 0 {
                    break;
                }
            }
            self.ready.extend(timed(&self.name, texts, else_ms));
        }
        Ok(())
    }
}

/// `None`: it went away meanwhile.
fn open(file: &LogFile, limit: u64) -> io::Result<Option<Box<dyn BufRead>>> {
    match log::open_lines(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Ok(lines) => Ok(Some(Box::new(lines.take(limit)))),
        Err(error) => Err(error),
    }
}

fn read_line(lines: &mut dyn BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if lines.take(LONGEST).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let text = line.strip_suffix(b"\n").unwrap_or(&line);
    Ok(Some(String::from_utf8_lossy(text).into_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn all(folder: &Path, since_ms: u64) -> Vec<String> {
        let wanted = Wanted::default();
        let mut tail = Tail::new(folder.to_owned(), wanted.clone());
        tail.last(0).unwrap();
        let mut history = History::open(folder, &wanted, since_ms, &tail).unwrap();
        let mut texts = Vec::new();
        while let Some(line) = history.next_line().unwrap() {
            texts.push(format!("{}:{}", line.child, line.text));
        }
        texts
    }

    #[test]
    fn all_files_of_all_children_are_read_in_the_order_of_time() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8]| fs::write(folder.path().join(name), text).unwrap();
        write(
            "a.log.1",
            b"2026-01-01T00:00:02Z two\n  more\n2026-01-01T00:00:04Z four\n",
        );
        write("a.log", b"2026-01-01T00:00:06Z six\n2026-01-01T00:00:07Z half of");
        write(
            "b.log",
            b"{\"time\":\"2026-01-01T00:00:03Z\"}\n2026-01-01 00:00:05 UTC five\n",
        );
        write("b.log.new", b"is not one\n");
        let lines = [
            "a:2026-01-01T00:00:02Z two",
            "a:  more",
            "b:{\"time\":\"2026-01-01T00:00:03Z\"}",
            "a:2026-01-01T00:00:04Z four",
            "b:2026-01-01 00:00:05 UTC five",
            "a:2026-01-01T00:00:06Z six",
        ];
        assert_eq!(all(folder.path(), 0), lines);
        assert_eq!(all(folder.path(), u64::MAX), Vec::<String>::new());
    }
}
