//! What was purged, for the processes that come after this one: they may use what it leaves on the disk without asking for it anew.
//!
//! Each process has a file of its own beside the objects, `purges-EPOCH`, locked as long as it lives. It says under which name
//! ("era") its objects were written, rows of the table of purges as they come, and how far the controller's log is in it; that
//! is on the disk before it is acknowledged. What unsafe requests made untrue is written without waiting: kill -9 loses none of
//! it, a host that goes down may, which is why the boot is named, too. Ticks begin with the epoch, so those of later processes are
//! later. A process takes over the rows of those that are dead and removes their files ([`Journal::others`], [`Journal::past`]).
//!
//! Lines with a checksum, in any order but for the first. When nothing can be written the files go, and with them the trust in
//! what lies there. Pure: [`Past::read`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use banyan_httpcache::Time;
use banyan_httpcache::purge::{Noted, Reach};
use banyan_topology::purge::{line, parse};

const NAME: &str = "purges-";
/// More lines than twice the rows and these are written anew.
const SPARE: usize = 4096;
/// Others may come at the same moment.
const ATTEMPTS: usize = 32;
/// Another one after each start of the host.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Serialize, Deserialize)]
enum Line {
    /// The first one. `probe`: of the hasher.
    #[serde(rename = "begin")]
    Begin { era: u64, boot: String, probe: u64 },
    /// Objects of this process before are judged by what is here. `sure`: nothing is missing.
    #[serde(rename = "era")]
    Era { era: u64, sure: bool },
    #[serde(rename = "row")]
    Row(Names, u64, i64, u64),
    /// The controller's log is in here up to this number.
    #[serde(rename = "to")]
    To(String, u64),
}

#[derive(Serialize, Deserialize)]
enum Names {
    #[serde(rename = "n")]
    Name(u64),
    #[serde(rename = "g")]
    Glob(String),
    #[serde(rename = "a")]
    All,
    #[serde(rename = "f")]
    Floor,
}

fn row(noted: &Noted) -> Line {
    let names = match &noted.reach {
        Reach::Name(hash) => Names::Name(*hash),
        Reach::Glob(pattern) => Names::Glob(pattern.clone()),
        Reach::All => Names::All,
        Reach::Floor => Names::Floor,
    };
    Line::Row(names, noted.soft, noted.soft_at.millis(), noted.hard)
}

fn noted(names: Names, soft: u64, soft_at: i64, hard: u64) -> Noted {
    let reach = match names {
        Names::Name(hash) => Reach::Name(hash),
        Names::Glob(pattern) => Reach::Glob(pattern),
        Names::All => Reach::All,
        Names::Floor => Reach::Floor,
    };
    Noted {
        reach,
        soft,
        soft_at: Time::from_millis(soft_at),
        hard,
    }
}

/// What a process before this one has left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Past {
    /// Its own, and those that it took over; with whether nothing can be missing.
    pub eras: Vec<(u64, bool)>,
    pub rows: Vec<Noted>,
    /// Of the controller's log.
    pub log: String,
    pub seq: u64,
}

impl Past {
    /// `dead`: nothing is added any more. `None`: it cannot be relied on. A last line that is not whole was acknowledged to nobody.
    fn read(bytes: &[u8], boot: &str, probe: u64, dead: bool) -> Option<Self> {
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let parsed = |line: &[u8]| line.strip_suffix(b"\n").and_then(parse::<Line>);
        let Line::Begin {
            era,
            boot: its_boot,
            probe: its_probe,
        } = parsed(lines.next()?)?
        else {
            return None;
        };
        if its_probe != probe {
            return None;
        }
        let sure = dead && !boot.is_empty() && boot == its_boot;
        let mut past = Self {
            eras: vec![(era, sure)],
            rows: Vec::new(),
            log: String::new(),
            seq: 0,
        };
        while let Some(line) = lines.next() {
            match parsed(line) {
                Some(Line::Era { era, sure: then }) => past.eras.push((era, sure && then)),
                Some(Line::Row(names, soft, soft_at, hard)) => {
                    past.rows.push(noted(names, soft, soft_at, hard))
                }
                Some(Line::To(log, seq)) => (past.log, past.seq) = (log, seq),
                Some(Line::Begin { .. }) => return None,
                // What a host that went down had not written yet; never in the middle.
                None if lines.all(|rest| parsed(rest).is_none()) => break,
                None => return None,
            }
        }
        Some(past)
    }
}

/// One that was there before.
pub(crate) struct Other {
    path: PathBuf,
    /// Held: its process is dead, and nobody else takes it over.
    lock: Option<File>,
}

impl Other {
    pub(crate) fn is_dead(&self) -> bool {
        self.lock.is_some()
    }

    /// All of it is elsewhere.
    pub(crate) fn remove(self) -> io::Result<()> {
        match self.lock {
            Some(_held) => {
                drop(fs::remove_file(self.path.with_extension("new")));
                fs::remove_file(&self.path)
            }
            None => Ok(()),
        }
    }
}

pub(crate) struct Journal {
    folder: PathBuf,
    /// Ticks begin with it; 0: nothing can be kept here.
    pub epoch: u32,
    era: u64,
    probe: u64,
    boot: String,
    /// `None`: nothing could be written.
    file: Option<File>,
    /// While it is written anew: that one, too.
    next: Option<File>,
    lines: usize,
    /// Taken over.
    eras: Vec<(u64, bool)>,
    /// How far the controller's log is in it.
    log: (String, u64),
    /// Files that nobody may rely on are still there.
    left: bool,
}

impl Journal {
    /// `era`: no other process has the same.
    pub(super) fn begin(folder: &Path, era: u64, probe: u64) -> Self {
        let boot = fs::read_to_string(BOOT).unwrap_or_default();
        let mut journal = Self {
            folder: folder.to_owned(),
            epoch: 0,
            era,
            probe,
            boot: boot.trim().to_owned(),
            file: None,
            next: None,
            lines: 0,
            eras: Vec::new(),
            log: (String::new(), 0),
            left: false,
        };
        let begun = fs::create_dir_all(folder).and_then(|()| journal.own_file());
        match begun.and_then(|file| journal.head(&file).map(|()| file)) {
            Ok(file) => journal.file = Some(file),
            Err(error) => journal.fails(&error),
        }
        journal
    }

    fn path(&self) -> PathBuf {
        self.folder.join(format!("{NAME}{:08x}", self.epoch))
    }

    /// With the epoch after all others.
    fn own_file(&mut self) -> io::Result<File> {
        for _ in 0..ATTEMPTS {
            let last = epochs(&self.folder)?.last().copied().unwrap_or(0);
            self.epoch = last
                .checked_add(1)
                .ok_or_else(|| io::Error::other("no number is left"))?;
            let path = self.path();
            match create(&path) {
                // Between the two somebody may have taken it for that of a dead process.
                Ok(file)
                    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && path.exists() =>
                {
                    return Ok(file);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("others take each number"))
    }

    fn head(&self, mut file: &File) -> io::Result<()> {
        let first = Line::Begin {
            era: self.era,
            boot: self.boot.clone(),
            probe: self.probe,
        };
        let eras = self.eras.iter().map(|(era, sure)| Line::Era {
            era: *era,
            sure: *sure,
        });
        let log = Line::To(self.log.0.clone(), self.log.1);
        let lines = std::iter::once(first).chain(eras).chain([log]);
        let text: String = lines.map(|one| line(&one)).collect();
        file.write_all(text.as_bytes())
    }

    fn fails(&mut self, error: &io::Error) {
        tracing::warn!(folder = %self.folder.display(), %error, "what is purged cannot be written beside the cache: its files are of no use after a restart");
        (self.file, self.next, self.left) = (None, None, true);
        drop(self.forget_all());
    }

    /// What is in no file must not be missed in one. An error: one is still there.
    fn forget_all(&mut self) -> io::Result<()> {
        for epoch in epochs(&self.folder)? {
            if epoch <= self.epoch || self.epoch == 0 {
                fs::remove_file(self.folder.join(format!("{NAME}{epoch:08x}")))?;
            }
        }
        File::open(&self.folder)?.sync_all()?;
        self.left = false;
        Ok(())
    }

    fn add(&mut self, lines: &[Line]) {
        let Some(mut file) = self.file.as_ref() else {
            return;
        };
        let text: String = lines.iter().map(line).collect();
        let mut written = file.write_all(text.as_bytes());
        if let Some(mut next) = self.next.as_ref() {
            written = written.and_then(|()| next.write_all(text.as_bytes()));
        }
        self.lines += lines.len();
        if let Err(error) = written {
            self.fails(&error);
        }
    }

    /// Outlives this process, but for the host's sudden end.
    pub(crate) fn note(&mut self, rows: &[Noted]) {
        let lines: Vec<Line> = rows.iter().map(row).collect();
        self.add(&lines);
    }

    /// The rows of these are all here.
    pub(crate) fn note_eras(&mut self, eras: &[(u64, bool)]) {
        self.eras.extend_from_slice(eras);
        let lines = eras.iter().map(|(era, sure)| Line::Era {
            era: *era,
            sure: *sure,
        });
        let lines: Vec<Line> = lines.collect();
        self.add(&lines);
    }

    /// So far is the controller's log in here.
    pub(crate) fn note_log(&mut self, log: &str, seq: u64) {
        self.log = (log.to_owned(), seq);
        self.add(&[Line::To(log.to_owned(), seq)]);
    }

    /// Files are still there that lack something.
    pub(crate) fn is_left(&self) -> bool {
        self.left
    }

    /// What has to reach the disk before what was noted counts; `None`: there is nothing that could be relied on later, which is
    /// as good. An error: something is still there that lacks what was noted.
    pub(crate) fn unsettled(&mut self) -> io::Result<Option<File>> {
        if self.left {
            self.forget_all()?;
        }
        self.file.as_ref().map(File::try_clone).transpose()
    }

    /// It did not reach the disk.
    pub(crate) fn lost(&mut self, error: &io::Error) {
        self.fails(error);
    }

    pub(crate) fn is_long(&self, rows: usize) -> bool {
        self.file.is_some() && self.lines > 2 * rows + SPARE
    }

    /// Begins to write it anew: what comes meanwhile goes into both.
    pub(crate) fn begin_anew(&mut self) {
        let path = self.path().with_extension("new");
        drop(fs::remove_file(&path));
        let begun = create(&path).and_then(|file| {
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            self.head(&file)?;
            Ok(file)
        });
        match begun {
            Ok(file) => (self.next, self.lines) = (Some(file), 0),
            Err(error) => self.fails(&error),
        }
    }

    /// What `begin_anew` began has all rows by now.
    pub(crate) fn end_anew(&mut self) {
        let Some(next) = self.next.take() else {
            return;
        };
        let path = self.path();
        let ended = next
            .sync_data()
            .and_then(|()| fs::rename(path.with_extension("new"), &path))
            .and_then(|()| File::open(&self.folder)?.sync_all());
        match ended {
            Ok(()) => self.file = Some(next),
            Err(error) => self.fails(&error),
        }
    }

    /// Of processes that began before this one, also of those that live still.
    pub(crate) fn others(&self) -> Vec<Other> {
        let epochs = epochs(&self.folder).unwrap_or_default();
        let before = epochs.into_iter().filter(|epoch| *epoch < self.epoch);
        let paths = before.map(|epoch| self.folder.join(format!("{NAME}{epoch:08x}")));
        paths.filter_map(|path| self.other(path)).collect()
    }

    fn other(&self, path: PathBuf) -> Option<Other> {
        let file = File::open(&path).ok()?;
        let dead = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        // Taken over, or written anew.
        if dead && !is_at(&file, &path) {
            return None;
        }
        let lock = dead.then_some(file);
        Some(Other { path, lock })
    }

    /// `None`: it cannot be relied on.
    pub(crate) fn past(&self, other: &Other) -> Option<Past> {
        let bytes = fs::read(&other.path).ok()?;
        Past::read(&bytes, &self.boot, self.probe, other.is_dead())
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => id(open) == id(there),
        _ => false,
    }
}

/// In their order.
fn epochs(folder: &Path) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(NAME));
        found.extend(number.and_then(|number| u32::from_str_radix(number, 16).ok()));
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests;
