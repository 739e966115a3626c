//! What is kept of logs: which files there are, which become smaller, which go.
//!
//! `web.1@r3.log` is being written, `web.1@r3.log.1` was rotated out of it last, `web.1@r3.log.1760000000123.zst` earlier:
//! compressed, its name says when its last line was written (Unix ms), and values of secret keys are gone from it.
//! Blocking: for threads that may wait.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use banyan_config::LogSettings;
use banyan_telemetry::redact;

const PACKED: &str = "zst";
/// Of zstd: half a minute of an old core per gigabyte.
const EFFORT: i32 = 3;
/// A longer line is cut into several.
const LONGEST: u64 = 1 << 20;

/// A file of somebody's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    pub path: PathBuf,
    pub child: String,
    pub part: Part,
    pub bytes: u64,
    /// When it was last written, Unix ms.
    pub until_ms: u64,
}

/// In the order in which they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Packed,
    Older,
    Current,
}

/// All of a folder, each child's oldest first. A folder that is not there has none.
pub fn files(folder: &Path) -> io::Result<Vec<LogFile>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut all: Vec<LogFile> = entries
        .flatten()
        .filter_map(|entry| file(&entry.path()))
        .collect();
    all.sort_by(|a, b| (&a.child, a.part, a.until_ms).cmp(&(&b.child, b.part, b.until_ms)));
    // Packed by a controller that was killed before it took the place: the same lines.
    let twins: BTreeSet<(String, u64)> = all
        .iter()
        .filter(|file| file.part == Part::Older)
        .map(|file| (file.child.clone(), file.until_ms))
        .collect();
    all.retain(|file| file.part != Part::Packed || !twins.contains(&(file.child.clone(), file.until_ms)));
    Ok(all)
}

fn file(path: &Path) -> Option<LogFile> {
    let name = path.file_name()?.to_str()?;
    let (child, rest) = name.rsplit_once(".log")?;
    let meta = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    let (part, until_ms) = match rest {
        "" => (Part::Current, modified_ms(&meta)),
        ".1" => (Part::Older, modified_ms(&meta)),
        packed => {
            let (until, PACKED) = packed.strip_prefix('.')?.split_once('.')? else {
                return None;
            };
            (Part::Packed, until.parse().ok()?)
        }
    };
    Some(LogFile {
        path: path.to_owned(),
        child: child.to_owned(),
        part,
        bytes: meta.len(),
        until_ms,
    })
}

fn modified_ms(meta: &fs::Metadata) -> u64 {
    let since = meta
        .modified()
        .ok()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Its lines as they were written; packed ones unpacked.
pub fn open(file: &LogFile) -> io::Result<Box<dyn BufRead>> {
    let raw = File::open(&file.path)?;
    Ok(match file.part {
        Part::Packed => Box::new(BufReader::new(zstd::Decoder::new(raw)?)),
        Part::Older | Part::Current => Box::new(BufReader::with_capacity(1 << 18, raw)),
    })
}

/// Packs what was rotated before, so that its place is free; nothing if there is none. Done twice, it gives the same file.
pub(super) fn pack(older: &Path) -> io::Result<()> {
    let Some(file) = file(older) else { return Ok(()) };
    let to = packed(&file, older.parent().unwrap_or(Path::new(".")));
    pack_into(&file, &to)
}

fn packed(file: &LogFile, folder: &Path) -> PathBuf {
    folder.join(format!("{}.log.{}.{PACKED}", file.child, file.until_ms))
}

/// A name that nothing has yet: two files may have ended in the same millisecond.
fn free(file: &LogFile, folder: &Path) -> PathBuf {
    let names = (file.until_ms..).map(|until_ms| {
        let file = LogFile {
            until_ms,
            ..file.clone()
        };
        packed(&file, folder)
    });
    let mut names = names.skip_while(|name| name.exists());
    names.next().unwrap_or_else(|| packed(file, folder))
}

fn pack_into(file: &LogFile, to: &Path) -> io::Result<()> {
    let temporary = to.with_extension("new");
    let out = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(&temporary)?;
    let mut out = zstd::Encoder::new(out, EFFORT)?;
    let mut lines = open(file)?;
    let mut line = Vec::new();
    while lines.by_ref().take(LONGEST).read_until(b'\n', &mut line)? > 0 {
        match std::str::from_utf8(&line) {
            Ok(text) => {
                let (text, end) = text.strip_suffix('\n').map_or((text, ""), |text| (text, "\n"));
                out.write_all(redact::line(text).as_bytes())?;
                out.write_all(end.as_bytes())?;
            }
            Err(_) => out.write_all(redact::line(&String::from_utf8_lossy(&line)).as_bytes())?,
        }
        line.clear();
    }
    out.finish()?;
    fs::rename(temporary, to)
}

/// Which files go: those whose last line is older than `keep`, then the oldest while all together have more than
/// `total` bytes. What somebody writes stays.
pub(crate) fn what_goes(
    mut files: Vec<LogFile>,
    writers: &BTreeSet<String>,
    settings: &LogSettings,
    now_ms: u64,
) -> Vec<LogFile> {
    let mut total: u64 = files.iter().map(|file| file.bytes).sum();
    let keep_ms = u64::try_from(settings.keep.as_millis()).unwrap_or(u64::MAX);
    let oldest_ms = now_ms.saturating_sub(keep_ms);
    files.retain(|file| file.part != Part::Current || !writers.contains(&file.child));
    files.sort_by_key(|file| file.until_ms);
    files
        .into_iter()
        .take_while(|file| {
            let goes = file.until_ms < oldest_ms || total > settings.total_bytes;
            total -= if goes { file.bytes } else { 0 };
            goes
        })
        .collect()
}

/// Removes them, or moves them packed into `archive`.
pub(crate) fn clear(files: &[LogFile], archive: Option<&Path>) -> io::Result<()> {
    if let Some(archive) = archive {
        fs::create_dir_all(archive)?;
    }
    for file in files {
        match archive {
            Some(archive) if file.part == Part::Packed => {
                let to = free(file, archive);
                // It may be another file system, which a rename does not reach.
                let temporary = to.with_extension("new");
                fs::copy(&file.path, &temporary)?;
                fs::rename(&temporary, &to)?;
            }
            Some(archive) => pack_into(file, &free(file, archive))?,
            None => {}
        }
        fs::remove_file(&file.path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn read(file: &LogFile) -> String {
        let mut text = String::new();
        open(file).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn what_was_rotated_is_packed_without_secrets_and_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let older = written(
            folder.path(),
            "web.1@r3.log.1",
            "one password=hunter2\n{\"token\":\"t\",\"n\":1}\nhalf",
        );
        pack(&older).unwrap();
        written(folder.path(), "web.1@r3.log", "three\n");
        // As long as it stands in its place, it is not there twice.
        let parts = |files: &[LogFile]| files.iter().map(|file| file.part).collect::<Vec<_>>();
        assert_eq!(
            parts(&files(folder.path()).unwrap()),
            [Part::Older, Part::Current]
        );
        fs::remove_file(&older).unwrap();
        let all = files(folder.path()).unwrap();
        assert_eq!(parts(&all), [Part::Packed, Part::Current]);
        assert!(all.iter().all(|file| file.child == "web.1@r3"), "{all:?}");
        assert_eq!(
            read(&all[0]),
            "one password=***\n{\"n\":1,\"token\":\"***\"}\nhalf"
        );
        assert_eq!(read(&all[1]), "three\n");
    }

    fn known(child: &str, part: Part, until_ms: u64, bytes: u64) -> LogFile {
        LogFile {
            path: PathBuf::from(format!("{child}-{part:?}-{until_ms}")),
            child: child.to_owned(),
            part,
            bytes,
            until_ms,
        }
    }

    fn goes(files: &[LogFile], keep_ms: u64, total_bytes: u64) -> Vec<String> {
        let settings = LogSettings {
            keep: Duration::from_millis(keep_ms),
            total_bytes,
            ..LogSettings::default()
        };
        let writers = BTreeSet::from(["edge".to_owned()]);
        let gone = what_goes(files.to_vec(), &writers, &settings, 1_000);
        gone.into_iter()
            .map(|file| file.path.display().to_string())
            .collect()
    }

    #[test]
    fn age_and_size_take_the_oldest_and_never_what_is_written() {
        let files = [
            known("edge", Part::Current, 10, 50),
            known("web.1@r1", Part::Current, 100, 10),
            known("edge", Part::Packed, 200, 10),
            known("edge", Part::Older, 900, 10),
        ];
        assert_eq!(goes(&files, 1_000, 100), Vec::<String>::new());
        assert_eq!(goes(&files, 850, 100), ["web.1@r1-Current-100"]);
        assert_eq!(goes(&files, 1_000, 79), ["web.1@r1-Current-100"]);
        assert_eq!(goes(&files, 1_000, 69).len(), 2);
        assert_eq!(goes(&files, 1_000, 1).len(), 3);
    }

    #[test]
    fn what_goes_is_found_in_the_archive() {
        let (folder, archive) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cold = archive.path().join("cold");
        written(folder.path(), "edge.log", "plain\n");
        let older = written(folder.path(), "edge.log.1", "packed\n");
        pack(&older).unwrap();
        fs::remove_file(older).unwrap();
        clear(&files(folder.path()).unwrap(), Some(&cold)).unwrap();
        assert_eq!(files(folder.path()).unwrap(), []);
        let mut all: Vec<String> = files(&cold).unwrap().iter().map(read).collect();
        all.sort();
        assert_eq!(all, ["packed\n", "plain\n"]);
    }
}
