//! The ends of the files that are being written: the last lines, then what comes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Line, Wanted, timed};

/// Of a huge file only this much is looked at for the last lines.
const TAIL_BYTES: u64 = 4 << 20;

/// Reads what is new in all wanted files of a folder.
pub(crate) struct Tail {
    folder: PathBuf,
    wanted: Wanted,
    files: BTreeMap<String, Position>,
}

#[derive(Default)]
struct Position {
    inode: u64,
    offset: u64,
    /// The beginning of a line whose end has not been written yet.
    partial: Vec<u8>,
}

impl Tail {
    pub(crate) fn new(folder: PathBuf, wanted: Wanted) -> Self {
        Self {
            folder,
            wanted,
            files: BTreeMap::new(),
        }
    }

    /// The last `count` lines of each file, the files merged by the time in their lines. Continue with [`Tail::new_lines`].
    pub(crate) fn last(&mut self, count: usize) -> io::Result<Vec<Line>> {
        let mut all: Vec<Line> = Vec::new();
        for child in self.children()? {
            let path = self.path(&child);
            let Some((text, position)) = ending(&path)? else {
                continue;
            };
            let lines: Vec<&str> = text.lines().collect();
            let wanted = lines[lines.len().saturating_sub(count)..].iter();
            let texts = wanted.map(|line| (*line).to_owned()).collect();
            all.extend(timed(&child, texts, modified_ms(&path)));
            self.files.insert(child, position);
        }
        all.sort_by_key(|line| line.time_ms);
        Ok(all)
    }

    /// What was written since the last call; a file that is new is read from its beginning.
    pub(crate) fn new_lines(&mut self) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        for child in self.children()? {
            let path = self.path(&child);
            let position = self.files.entry(child.clone()).or_default();
            let texts = position.advance(&path)?;
            lines.extend(timed(&child, texts, modified_ms(&path)));
        }
        Ok(lines)
    }

    /// Names of the children that have a log, wanted ones only.
    pub(crate) fn children(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".log")?.to_owned()))
            .filter(|name| self.wanted.contains(name))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Up to where each file was read.
    pub(crate) fn read_to(&self, child: &str) -> u64 {
        let position = self.files.get(child);
        position.map_or(0, |position| position.offset - position.partial.len() as u64)
    }

    fn path(&self, child: &str) -> PathBuf {
        self.folder.join(format!("{child}.log"))
    }
}

impl Position {
    fn advance(&mut self, path: &Path) -> io::Result<Vec<String>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        if meta.ino() != self.inode || meta.len() < self.offset {
            *self = Self {
                inode: meta.ino(),
                ..Self::default()
            };
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let before = self.partial.len();
        file.take(TAIL_BYTES).read_to_end(&mut self.partial)?;
        self.offset += (self.partial.len() - before) as u64;
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        Ok(String::from_utf8_lossy(&whole)
            .lines()
            .map(str::to_owned)
            .collect())
    }
}

/// The end of a file up to its last whole line, and where that is.
fn ending(path: &Path) -> io::Result<Option<(String, Position)>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    let start = meta.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let end = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let position = Position {
        inode: meta.ino(),
        offset: start + bytes.len() as u64,
        partial: bytes.split_off(end),
    };
    Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), position)))
}

fn modified_ms(path: &Path) -> u64 {
    crate::machine::modified_ms(path).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn append(folder: &Path, name: &str, text: &str) {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(folder.join(name))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn texts(lines: Vec<Line>) -> Vec<String> {
        lines
            .into_iter()
            .map(|line| format!("{}:{}", line.child, line.text))
            .collect()
    }

    #[test]
    fn files_are_merged_by_the_times_in_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        append(
            folder.path(),
            "a.log",
            "2026-01-01T00:00:01Z one\n  more of one\n2026-01-01T00:00:03Z three\n",
        );
        append(
            folder.path(),
            "b.log",
            "{\"ts\":\"2026-01-01T00:00:02.000Z\"}\n2026-01-01 00:00:04.5 UTC four\n",
        );
        let mut tail = Tail::new(folder.path().to_owned(), Wanted::default());
        let lines = texts(tail.last(10).unwrap());
        assert_eq!(
            lines,
            [
                "a:2026-01-01T00:00:01Z one",
                "a:  more of one",
                "b:{\"ts\":\"2026-01-01T00:00:02.000Z\"}",
                "a:2026-01-01T00:00:03Z three",
                "b:2026-01-01 00:00:04.5 UTC four",
            ]
        );
    }

    #[test]
    fn following_shows_each_line_once_over_rotation_and_new_children() {
        let folder = tempfile::tempdir().unwrap();
        append(folder.path(), "a.log", "1\n2\nhalf");
        let mut tail = Tail::new(folder.path().to_owned(), Wanted::default());
        assert_eq!(texts(tail.last(1).unwrap()), ["a:2"]);
        append(folder.path(), "a.log", " done\n");
        append(folder.path(), "b.log", "new\n");
        assert_eq!(texts(tail.new_lines().unwrap()), ["a:half done", "b:new"]);
        fs::write(folder.path().join("a.log"), "3\n").unwrap();
        assert_eq!(texts(tail.new_lines().unwrap()), ["a:3"]);
        assert_eq!(texts(tail.new_lines().unwrap()), Vec::<String>::new());
    }
}
