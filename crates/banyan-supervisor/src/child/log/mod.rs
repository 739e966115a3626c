//! Log files of children: written by the children themselves, rotated, kept ([`LogFile`]) and read here.
//!
//! stdout and stderr are the file itself (O_APPEND), not a pipe, so a child outlives its controller and loses nothing
//! when that is killed. So the file cannot be renamed under it: rotation copies the beginning into the older file and has
//! the file system take it out (`FALLOC_FL_COLLAPSE_RANGE`: ext4 and xfs), which touches nothing that is written meanwhile.
//! Whole blocks go, so a line may begin in one file and end in the other. Elsewhere the file is copied and truncated, and
//! lines written in the moment between (microseconds) are lost. Nothing rotates while no controller runs.
//! A program that opens /dev/stdout anew with truncation (`> /dev/stdout` in a shell script) empties its log, as with
//! any file.

mod kept;

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_config::LogSettings;

pub use kept::{LogFile, Part, files, open as open_lines};

/// How much of the end a message to a person shows.
const TAIL_LINES: usize = 20;
const TAIL_BYTES: u64 = 16 * 1024;
/// How often a follower looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The most one read of a follower returns.
const CHUNK: u64 = 256 * 1024;

/// Opens the log for a child. `owner`: the user that the child runs as, so that it can open /dev/stdout again.
pub(crate) fn open(path: &Path, owner: Option<(u32, u32)>) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(NO_FOLLOW)
        .open(path)?;
    if let Some((uid, gid)) = owner {
        std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
    }
    Ok(file)
}

/// O_NOFOLLOW: a link planted under the log's name must not make root write elsewhere.
const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// What was rotated last; what it was before is packed.
pub fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// The largest block of the file systems that can take blocks out; a smaller one divides it.
const BLOCK: u64 = 64 * 1024;

/// Moves the content into the older file when it exceeds `limit` bytes: all of it but the last part of a block. True: it did.
pub(crate) fn rotate(path: &Path, limit: u64) -> io::Result<bool> {
    let mut from = match OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(NO_FOLLOW)
        .open(path)
    {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other?,
    };
    let length = from.metadata()?.len();
    if length <= limit {
        return Ok(false);
    }
    let older = older(path);
    let temporary = older.with_extension("new");
    finish_interrupted(&mut from, &temporary, &older)?;
    if let Err(error) = kept::pack(&older) {
        // A full disk, most likely: it gets room by that.
        tracing::warn!(log = %older.display(), %error, "old lines are lost: they could not be packed");
    }
    let mut to = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(&temporary)?;
    // The end of the file cannot be taken out: one byte stays at least.
    let whole = length.saturating_sub(1) / BLOCK * BLOCK;
    from.rewind()?;
    io::copy(&mut Read::by_ref(&mut from).take(whole), &mut to)?;
    if !take_out(&from, whole) {
        // Until nothing was written meanwhile: what remains of the gap is one system call.
        while io::copy(&mut from, &mut to)? > 0 {}
        from.set_len(0)?;
    }
    fs::rename(&temporary, &older)?;
    Ok(true)
}

/// Rotates those files that are too large and lets go of what is too old or too much. `written`: the files of what runs.
pub(crate) fn tend(folder: &Path, written: &[PathBuf], settings: &LogSettings, now_ms: u64) {
    for log in written {
        if let Err(error) = rotate(log, settings.file_bytes) {
            tracing::warn!(log = %log.display(), %error, "failed to rotate a log");
        }
    }
    let names = written.iter().filter_map(|log| log.file_stem()?.to_str());
    let writers: BTreeSet<String> = names.chain([CONTROLLER]).map(str::to_owned).collect();
    let cleared = kept::files(folder).and_then(|files| {
        let gone = kept::what_goes(files, &writers, settings, now_ms);
        kept::clear(&gone, settings.archive.as_deref())
    });
    if let Err(error) = cleared {
        tracing::warn!(folder = %folder.display(), %error, "failed to let old logs go");
    }
}

/// Whose log it writes itself.
const CONTROLLER: &str = "controller";

/// Takes the first bytes out of a file; false: the file system cannot.
fn take_out(file: &File, bytes: u64) -> bool {
    bytes > 0 && rustix::fs::fallocate(file, rustix::fs::FallocateFlags::COLLAPSE_RANGE, 0, bytes).is_ok()
}

/// A controller that was killed while it rotated has left a copy: it is the older file if what it holds was taken out of
/// the log already, and else of no use.
fn finish_interrupted(log: &mut File, temporary: &Path, older: &Path) -> io::Result<()> {
    let mut copy = match File::open(temporary) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let (mut copied, mut held) = (Vec::new(), Vec::new());
    Read::by_ref(&mut copy).take(BLOCK).read_to_end(&mut copied)?;
    log.rewind()?;
    Read::by_ref(log)
        .take(copied.len() as u64)
        .read_to_end(&mut held)?;
    if held == copied {
        fs::remove_file(temporary)
    } else {
        fs::rename(temporary, older)
    }
}

/// Length now: where what a child is about to write begins.
pub(crate) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// The last lines written since `from`; empty when there are none.
pub(crate) fn tail_since(path: &Path, from: u64) -> String {
    last_lines(path, from, TAIL_LINES, TAIL_BYTES).unwrap_or_default()
}

/// The last `lines` lines of a log.
pub fn tail(path: &Path, lines: usize) -> io::Result<String> {
    last_lines(path, 0, lines, 1 << 20)
}

fn last_lines(path: &Path, from: u64, lines: usize, bytes: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // Truncated by a rotation since: all of it is new.
    let from = if from > length { 0 } else { from };
    let start = from.max(length.saturating_sub(bytes));
    file.seek(SeekFrom::Start(start))?;
    let mut content = Vec::new();
    file.take(length - start).read_to_end(&mut content)?;
    let text = String::from_utf8_lossy(&content);
    let all: Vec<&str> = text.lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].join("\n"))
}

/// Reads a log as it grows, over rotations.
pub struct Follower {
    path: PathBuf,
    position: u64,
    /// Inode of the older file: a new one means that a rotation has happened.
    older: Option<u64>,
    /// It was shorter than what was read of it, and no rotation had happened yet.
    shrunk: bool,
}

impl Follower {
    /// From the end, after the last `lines` lines, which are returned too.
    pub fn from_tail(path: &Path, lines: usize) -> io::Result<(Self, String)> {
        let follower = Self {
            path: path.to_owned(),
            position: length(path),
            older: inode(&older(path)),
            shrunk: false,
        };
        let text = match tail(path, lines) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other?,
        };
        Ok((follower, text))
    }

    /// What was written since the last call; empty when nothing was.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let older = older(&self.path);
        let rotated = inode(&older);
        if rotated != self.older {
            self.older = rotated;
            // The older file is a copy from the first byte on, so the position holds in it.
            let moved = length(&older);
            read_from(&older, self.position, u64::MAX, &mut content)?;
            self.position = self.position.saturating_sub(moved);
        } else if length(&self.path) < self.position {
            // In the middle of a rotation; or, if none is seen by the next look, its program has emptied it.
            if !std::mem::replace(&mut self.shrunk, true) {
                return Ok(content);
            }
            self.position = 0;
        }
        self.shrunk = false;
        self.position += read_from(&self.path, self.position, CHUNK, &mut content)?;
        Ok(content)
    }

    /// Waits until something was written. Never returns an empty text.
    pub async fn next(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let content = self.read()?;
            if !content.is_empty() {
                return Ok(content);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.ino())
}

fn read_from(path: &Path, position: u64, limit: u64, into: &mut Vec<u8>) -> io::Result<u64> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    file.seek(SeekFrom::Start(position))?;
    Ok(file.take(limit).read_to_end(into)? as u64)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn rotation_keeps_one_older_file_and_the_writer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.1.log");
        let mut writer = open(&path, None).unwrap();
        writer.write_all(b"first\n").unwrap();
        assert!(!rotate(&path, 6).unwrap());
        assert!(rotate(&path, 5).unwrap());
        writer.write_all(b"second\n").unwrap();
        assert_eq!(fs::read_to_string(older(&path)).unwrap(), "first\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
    }

    #[test]
    fn a_follower_misses_nothing_over_a_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut writer = open(&path, None).unwrap();
        writer.write_all(b"a\nb\nc\n").unwrap();
        let (mut follower, tail) = Follower::from_tail(&path, 2).unwrap();
        assert_eq!(tail, "b\nc");
        writer.write_all(b"d\n").unwrap();
        assert!(rotate(&path, 0).unwrap());
        // Longer than what the follower has seen: length alone would not show the rotation.
        writer.write_all(b"eeeeeeeeeeeeeeeee\n").unwrap();
        assert_eq!(follower.read().unwrap(), b"d\neeeeeeeeeeeeeeeee\n");
        assert_eq!(follower.read().unwrap(), b"");
    }

    #[test]
    fn no_line_is_lost_while_a_program_writes_through_rotations() {
        const LINES: usize = 60_000;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut writer = open(&path, None).unwrap();
        if !can_take_out(folder.path()) {
            return;
        }
        let (mut follower, _) = Follower::from_tail(&path, 0).unwrap();
        let program = std::thread::scope(|scope| {
            let program = scope.spawn(move || {
                for number in 0..LINES {
                    writer.write_all(format!("line {number}\n").as_bytes()).unwrap();
                }
            });
            let (mut seen, mut rotations) = (Vec::new(), 0);
            loop {
                let ended = program.is_finished();
                rotations += u32::from(rotate(&path, 100_000).unwrap());
                loop {
                    let content = follower.read().unwrap();
                    if content.is_empty() {
                        break;
                    }
                    seen.extend(content);
                }
                if ended {
                    return (seen, rotations);
                }
            }
        });
        let (seen, rotations) = program;
        assert!(rotations > 0);
        let expected: String = (0..LINES).map(|number| format!("line {number}\n")).collect();
        assert!(seen == expected.as_bytes(), "{rotations} rotations");
    }

    fn can_take_out(folder: &Path) -> bool {
        let path = folder.join("try");
        fs::write(&path, vec![b'x'; 3 * BLOCK as usize]).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        take_out(&file, BLOCK)
    }

    #[test]
    fn a_rotation_that_was_killed_is_ended_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let temporary = older(&path).with_extension("new");
        fs::write(&path, "what stayed\n").unwrap();
        fs::write(&temporary, "what was taken out\n").unwrap();
        let mut log = File::open(&path).unwrap();
        finish_interrupted(&mut log, &temporary, &older(&path)).unwrap();
        assert_eq!(fs::read_to_string(older(&path)).unwrap(), "what was taken out\n");
        // The copy of what is still in the log is none.
        fs::write(&temporary, "what").unwrap();
        finish_interrupted(&mut log, &temporary, &older(&path)).unwrap();
        assert!(!temporary.exists());
        assert_eq!(fs::read_to_string(older(&path)).unwrap(), "what was taken out\n");
    }

    #[test]
    fn the_tail_shows_only_what_was_written_since() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut writer = open(&path, None).unwrap();
        writer.write_all(b"earlier run\n").unwrap();
        let from = length(&path);
        assert_eq!(tail_since(&path, from), "");
        writer.write_all(b"this run\n").unwrap();
        assert_eq!(tail_since(&path, from), "this run");
    }
}
