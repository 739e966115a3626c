//! Kept spans on the disk: a line of JSON each, in files of a few MiB, the oldest of which goes when there is too much. Blocking.
//!
//! Whoever reads needs no role for it: `banyan trace` opens the files itself. A line that was half written is left out.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use banyan_telemetry::span::{Span, TraceId};

/// A file that has more is followed by another.
const FILE: u64 = 4 << 20;
/// All files together.
const TOTAL: u64 = 64 << 20;

/// Where they are, below an installation's state folder.
pub fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("observe").join("traces")
}

/// Writes; one per folder.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    open: Option<(File, u64)>,
}

impl Store {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, open: None }
    }

    /// Appends. After an error the next call begins a new file.
    pub fn write(&mut self, spans: &[Span], now_ms: u64) -> io::Result<()> {
        if spans.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for span in spans {
            serde_json::to_writer(&mut lines, span)?;
            lines.push(b'\n');
        }
        let (mut file, size) = match self.open.take().filter(|(_, size)| *size < FILE) {
            Some(open) => open,
            None => (self.next(now_ms)?, 0),
        };
        file.write_all(&lines)?;
        self.open = Some((file, size + lines.len() as u64));
        Ok(())
    }

    fn next(&self, now_ms: u64) -> io::Result<File> {
        fs::create_dir_all(&self.folder)?;
        let mut files = files(&self.folder)?;
        let mut total: u64 = files.iter().map(|(_, _, size)| size).sum();
        while total + FILE > TOTAL
            && let Some((_, path, size)) = files.first().cloned()
        {
            fs::remove_file(path)?;
            total -= size;
            files.remove(0);
        }
        let last = files.last().map_or(0, |(begun, ..)| *begun);
        let path = self.folder.join(format!("{}.jsonl", now_ms.max(last + 1)));
        File::options()
            .append(true)
            .create_new(true)
            .mode(0o640)
            .open(path)
    }
}

/// When each was begun (Unix ms), where it is, its size; the oldest first.
fn files(folder: &Path) -> io::Result<Vec<(u64, PathBuf, u64)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut all: Vec<(u64, PathBuf, u64)> = entries
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            let begun = path.file_name()?.to_str()?.strip_suffix(".jsonl")?.parse().ok()?;
            Some((begun, path, entry.metadata().ok()?.len()))
        })
        .collect();
    all.sort();
    Ok(all)
}

/// Since when spans are in the newest files that together have at most so many bytes (the newest one at least), in Unix
/// microseconds; 0: these are all. For who asks often.
pub fn recent(folder: &Path, most_bytes: u64) -> io::Result<u64> {
    let files = files(folder)?;
    let mut sum = 0;
    let fits = |(_, _, size): &&(u64, PathBuf, u64)| {
        sum += size;
        sum <= most_bytes
    };
    let count = files.iter().rev().take_while(fits).count().max(1);
    let first = files.len().checked_sub(count).filter(|first| *first > 0);
    Ok(first.map_or(0, |first| files[first].0.saturating_mul(1000)))
}

/// All traces that have a span which is wanted; `since_us`: files that ended before are not opened.
pub fn read(
    folder: &Path,
    since_us: u64,
    mut wanted: impl FnMut(&Span) -> bool,
) -> io::Result<BTreeMap<TraceId, Vec<Span>>> {
    let mut found: BTreeMap<TraceId, Vec<Span>> = BTreeMap::new();
    let files = files(folder)?;
    for (index, (_, path, _)) in files.iter().enumerate() {
        let ended_ms = files.get(index + 1).map_or(u64::MAX, |(begun, ..)| *begun);
        if ended_ms.saturating_mul(1000) < since_us {
            continue;
        }
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for line in BufReader::new(file).split(b'\n') {
            let Ok(span) = serde_json::from_slice::<Span>(&line?) else {
                continue;
            };
            if wanted(&span) {
                found.entry(span.trace).or_default().push(span);
            }
        }
    }
    Ok(found)
}

/// Those whose id begins with `prefix` (hexadecimal, lower case).
pub fn find(folder: &Path, prefix: &str) -> io::Result<BTreeMap<TraceId, Vec<Span>>> {
    read(folder, 0, |span| span.trace.to_string().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::example;
    use super::*;

    #[test]
    fn what_was_written_is_found_by_the_beginning_of_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::new(folder.path().join("traces"));
        let spans = example();
        store.write(&spans[..4], 5).unwrap();
        store.write(&spans[4..], 6).unwrap();
        // Another process goes on in a file of its own; the last one was cut.
        let mut other = Store::new(folder.path().join("traces"));
        let more = Span {
            trace: TraceId(0xdef),
            ..spans[0].clone()
        };
        other.write(std::slice::from_ref(&more), 5).unwrap();
        let path = folder.path().join("traces");
        let newest = files(&path).unwrap().pop().unwrap().1;
        let mut file = File::options().append(true).open(newest).unwrap();
        file.write_all(b"{\"trace\":\"0").unwrap();

        let found = find(&path, "00000000000000000000000000abc").unwrap();
        assert_eq!(found.into_values().collect::<Vec<_>>(), [spans]);
        assert_eq!(find(&path, "00").unwrap().len(), 2);
        assert_eq!(find(&path, "ff").unwrap().len(), 0);
        assert_eq!(read(&path, 6_001, |_| true).unwrap().len(), 1);
        assert_eq!(find(&path.join("none"), "").unwrap().len(), 0);
    }

    #[test]
    fn the_oldest_file_goes_when_there_is_too_much() {
        let folder = tempfile::tempdir().unwrap();
        for begun in 1..=20 {
            let file = File::create(folder.path().join(format!("{begun}.jsonl"))).unwrap();
            file.set_len(FILE).unwrap();
        }
        let mut store = Store::new(folder.path().to_owned());
        store.write(&example(), 7).unwrap();
        let left: Vec<u64> = files(folder.path())
            .unwrap()
            .iter()
            .map(|(begun, ..)| *begun)
            .collect();
        assert_eq!((left.first(), left.last()), (Some(&6), Some(&21)));
        let since = |bytes| recent(folder.path(), bytes).unwrap();
        assert_eq!((since(0), since(2 * FILE), since(TOTAL)), (21_000, 20_000, 0));
        assert_eq!(recent(&folder.path().join("none"), 0).unwrap(), 0);
    }
}
