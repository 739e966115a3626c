//! Children that outlived their controller: `children.json`, and what it does not know.
//!
//! A controller may be killed between starting a child and recording it. So the record is only half of the truth:
//! the marker in each child's environment, and its cgroup, are looked at as well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use banyan_runtime::watched;
use sha2::{Digest, Sha256};

use super::process::Launcher;
use super::procfs::{self, Entry, Footprint};
use super::spec::ChildId;
use super::status::Adopted;

pub(super) fn record_path(state_dir: &Path) -> PathBuf {
    state_dir.join("children.json")
}

/// Names an installation in markers and cgroups: two of them on one machine must never touch each other's children.
pub(super) fn installation(state_dir: &Path) -> String {
    let digest = Sha256::digest(state_dir.as_os_str().as_encoded_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn recorded(state_dir: &Path) -> Vec<Adopted> {
    let path = record_path(state_dir);
    match watched::read(&path) {
        Ok(record) => record.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, "the record of children is unreadable; they are looked for by their markers");
            Vec::new()
        }
    }
}

pub(super) fn record(state_dir: &Path, children: &[Adopted]) {
    if let Err(error) = watched::publish(&record_path(state_dir), &children) {
        // Recovered by markers at the next start; a full disk must not stop a running system.
        tracing::warn!(%error, "failed to record the running children");
    }
}

/// What [`super::Handle::survivors`] tells, for a process that is no supervisor: writes nothing. Blocking.
///
/// Children that only their cgroup shows are left out: to look there is to have a cgroup of one's own.
pub fn survivors(state_dir: &Path) -> Vec<Adopted> {
    let Ok(state_dir) = std::fs::canonicalize(state_dir) else {
        return Vec::new();
    };
    let launcher = Launcher {
        installation: installation(&state_dir),
        program: PathBuf::new(),
        cgroups: None,
    };
    find(&launcher, &recorded(&state_dir), &BTreeSet::new())
}

pub(super) fn is_alive(child: &Adopted) -> bool {
    child.boot_id == procfs::boot_id()
        && procfs::entry(child.pid)
            .is_some_and(|entry| entry.lives() && entry.start_ticks == child.start_ticks)
}

/// Every living child of this installation that is not in `managed`: recorded ones, then unrecorded. Blocking.
pub(super) fn find(launcher: &Launcher, recorded: &[Adopted], managed: &BTreeSet<ChildId>) -> Vec<Adopted> {
    let mut found: BTreeMap<ChildId, Adopted> = BTreeMap::new();
    let known = recorded.iter().filter(|child| is_alive(child)).cloned();
    for child in known.chain(unrecorded(launcher)) {
        if !managed.contains(&child.id) {
            found.entry(child.id.clone()).or_insert(child);
        }
    }
    found.into_values().collect()
}

fn unrecorded(launcher: &Launcher) -> Vec<Adopted> {
    let prefix = format!("{}:", launcher.installation);
    let table = procfs::table();
    let mut by_child: BTreeMap<ChildId, Vec<Entry>> = BTreeMap::new();
    for entry in &table {
        let Some(marker) = procfs::marker(entry.pid) else {
            continue;
        };
        if let Some(id) = marker.strip_prefix(&prefix) {
            by_child
                .entry(ChildId(id.to_owned()))
                .or_default()
                .push(entry.clone());
        }
    }
    for (id, pids) in launcher.cgroups.iter().flat_map(|cgroups| cgroups.children()) {
        let entries = table.iter().filter(|entry| pids.contains(&entry.pid)).cloned();
        by_child.entry(id).or_default().extend(entries);
    }
    let boot_id = procfs::boot_id();
    by_child
        .into_iter()
        .filter_map(|(id, entries)| {
            let main = main_of(&entries)?;
            Some(Adopted {
                id,
                pid: main.pid,
                start_ticks: main.start_ticks,
                boot_id: boot_id.clone(),
            })
        })
        .collect()
}

/// The oldest that leads its own group: that is how children are started. Leftovers of a dead one have none.
fn main_of(entries: &[Entry]) -> Option<&Entry> {
    entries
        .iter()
        .filter(|entry| entry.group == entry.pid)
        .min_by_key(|entry| (entry.start_ticks, entry.pid))
}

/// Kills whatever of the installation still runs, known or not. True: nothing is left. Blocking, one round.
pub(super) fn kill_everything(launcher: &Launcher, recorded: &[Adopted]) -> bool {
    let survivors = find(launcher, recorded, &BTreeSet::new());
    for survivor in &survivors {
        footprint(launcher, survivor).kill();
    }
    let leftovers = marked(launcher);
    for entry in &leftovers {
        procfs::send(entry.pid, entry.start_ticks, rustix::process::Signal::KILL);
    }
    let nothing_left = survivors.is_empty() && leftovers.is_empty();
    if let (true, Some(cgroups)) = (nothing_left, &launcher.cgroups) {
        cgroups.remove_empty(|_id| false);
    }
    nothing_left
}

fn marked(launcher: &Launcher) -> Vec<Entry> {
    let prefix = format!("{}:", launcher.installation);
    let ours = |entry: &Entry| procfs::marker(entry.pid).is_some_and(|marker| marker.starts_with(&prefix));
    procfs::table().into_iter().filter(ours).collect()
}

pub(super) fn footprint(launcher: &Launcher, survivor: &Adopted) -> Footprint {
    Footprint {
        main: Some((survivor.pid, survivor.start_ticks)),
        marker: launcher.marker(&survivor.id),
        cgroup: super::cgroup::of_process(survivor.pid, &launcher.installation, &survivor.id),
        engine: None,
    }
}
