//! What was decided, for people who ask later: `.banyan/autoscale.jsonl`, a line whenever a decision is another one than
//! the one before. Bounded: at [`FULL`] the file becomes `autoscale.jsonl.1`, in place of the one before. A line that is
//! lost costs history, nothing else.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use banyan_topology::ProcessName;

use crate::proto::Decided;

/// Bytes.
const FULL: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Diary {
    file: PathBuf,
    /// What was noted last.
    last: BTreeMap<ProcessName, (u32, Vec<String>)>,
    failed: bool,
}

impl Diary {
    pub(super) fn new(file: PathBuf) -> Self {
        Self {
            file,
            last: BTreeMap::new(),
            failed: false,
        }
    }

    pub(super) fn note(&mut self, decided: &Decided) {
        let now = (decided.want, decided.bounds.clone());
        if self.last.get(&decided.process) == Some(&now) {
            return;
        }
        self.last.insert(decided.process.clone(), now);
        let written = append(&self.file, decided);
        if let (Err(error), false) = (&written, self.failed) {
            tracing::warn!(%error, file = %self.file.display(), "decisions are not noted");
        }
        self.failed = written.is_err();
    }
}

fn append(file: &Path, decided: &Decided) -> io::Result<()> {
    let mut line = serde_json::to_vec(decided)?;
    line.push(b'\n');
    let full = fs::metadata(file).is_ok_and(|known| known.len() >= FULL);
    if full {
        fs::rename(file, before(file))?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    file.write_all(&line)
}

fn before(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// What was decided, oldest first. Lines that are torn or of another version are left out.
pub fn read(file: &Path) -> Vec<Decided> {
    let texts = [before(file), file.to_owned()].map(|file| fs::read_to_string(file).unwrap_or_default());
    let lines = texts.iter().flat_map(|text| text.lines());
    lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(want: u32) -> Decided {
        serde_json::from_value(serde_json::json!({
            "unix_ms": 7, "process": "web", "policy": "headroom", "shadow": true, "min": 1, "max": 9,
            "measured": {
                "age_ms": 100, "rate_5s": 1.0, "rate_15s": 1.0, "waiting": 0.0, "in_flight": 0.0, "ready": 1,
                "starting": 0, "slots": 8, "service_ms": 40.0, "capacity": 200.0, "start_ms": 900, "cpu": null,
                "refused": null, "pool_wait": null, "connected": null, "host_is_full": false,
            },
            "need": want, "want": want, "why": "1 requests/s", "bounds": [],
        }))
        .unwrap()
    }

    #[test]
    fn decisions_are_noted_when_they_change_and_the_oldest_go_when_the_file_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("autoscale.jsonl");
        let mut diary = Diary::new(file.clone());
        for want in [1, 1, 2, 2, 1] {
            diary.note(&decided(want));
        }
        let wants = |decisions: Vec<Decided>| decisions.iter().map(|one| one.want).collect::<Vec<_>>();
        assert_eq!(wants(read(&file)), [1, 2, 1]);

        // As if it were full, twice: the first lines are gone.
        for want in [5, 6] {
            OpenOptions::new()
                .append(true)
                .open(&file)
                .unwrap()
                .set_len(FULL)
                .unwrap();
            diary.note(&decided(want));
        }
        assert_eq!(wants(read(&file)), [5, 6]);
        assert!(before(&file).exists());
    }
}
