//! What /proc says about processes: the only eyes we have on children of an earlier controller and on grandchildren.
//!
//! Blocking, some milliseconds: call it off the async threads where it walks the whole table.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

/// The marker in a child's environment: `INSTALLATION:CHILD`.
pub(crate) const MARKER: &str = "BANYAN_SUPERVISED";

/// Clock ticks per second in /proc: 100 on every Linux that Debian ships.
pub(crate) const TICK_MS: u64 = 10;

/// One line of the process table. With its start time a pid names one process for the machine's uptime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) state: char,
    pub(crate) cpu_ticks: u64,
    pub(crate) start_ticks: u64,
}

impl Entry {
    /// Zombies hold nothing but their number.
    pub(crate) fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// /proc/PID/stat. The name in parentheses may hold anything, so fields are counted from the last `)`.
pub(crate) fn parse_stat(text: &str) -> Option<Entry> {
    let (head, tail) = text.rsplit_once(')')?;
    let pid = head.split_once(' ')?.0.parse().ok()?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Entry {
        pid,
        state: fields.first()?.chars().next()?,
        parent: u32::try_from(number(4)?).ok()?,
        group: u32::try_from(number(5)?).ok()?,
        cpu_ticks: number(14)? + number(15)?,
        start_ticks: number(22)?,
    })
}

pub(crate) fn entry(pid: u32) -> Option<Entry> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

pub(crate) fn start_ticks(pid: u32) -> Option<u64> {
    entry(pid).map(|entry| entry.start_ticks)
}

/// Every process that is not a zombie, except this one.
pub(crate) fn table() -> Vec<Entry> {
    let own = std::process::id();
    let Ok(directory) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    directory
        .flatten()
        .filter_map(|item| item.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(entry)
        .filter(Entry::lives)
        .collect()
}

pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Unix time in ms of a process's start.
pub(crate) fn started_at_ms(start_ticks: u64) -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let boot: u64 = stat
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    Some(boot * 1000 + start_ticks * TICK_MS)
}

/// The marker of a process; `None` when it has none or we may not look.
pub(crate) fn marker(pid: u32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|variable| {
        let value = variable.strip_prefix(MARKER.as_bytes())?.strip_prefix(b"=")?;
        String::from_utf8(value.to_vec()).ok()
    })
}

/// By what the processes of one child are recognised; each way finds what another misses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Footprint {
    /// Main process and its start: finds its group and its descendants.
    pub(crate) main: Option<(u32, u64)>,
    /// Finds what left the group, as long as it kept its environment.
    pub(crate) marker: String,
    /// Finds everything, where cgroups are permitted.
    pub(crate) cgroup: Option<PathBuf>,
    /// PostgreSQL: program folder and data directory. Backends have groups of their own and overwrite their environment.
    pub(crate) engine: Option<(PathBuf, PathBuf)>,
}

impl Footprint {
    /// All its living processes.
    pub(crate) fn members(&self) -> Vec<Entry> {
        let table = table();
        let in_cgroup = self.cgroup.as_deref().map(cgroup_pids).unwrap_or_default();
        let mut found: BTreeSet<u32> = table
            .iter()
            .filter(|entry| self.owns(entry, &in_cgroup))
            .map(|entry| entry.pid)
            .collect();
        if let Some((pid, ticks)) = self.main
            && start_ticks(pid) == Some(ticks)
        {
            found.insert(pid);
        }
        add_descendants(&table, &mut found);
        table
            .into_iter()
            .filter(|entry| found.contains(&entry.pid))
            .collect()
    }

    fn owns(&self, entry: &Entry, in_cgroup: &BTreeSet<u32>) -> bool {
        if in_cgroup.contains(&entry.pid) {
            return true;
        }
        // Kernel threads, and whatever is older than the child, cannot be its.
        if entry.parent == 2 || self.main.is_some_and(|(_, ticks)| entry.start_ticks < ticks) {
            return false;
        }
        self.main.is_some_and(|(pid, _)| entry.group == pid)
            || self
                .engine
                .as_ref()
                .is_some_and(|engine| is_backend(entry.pid, engine))
            || marker(entry.pid).is_some_and(|marker| marker == self.marker)
    }

    /// SIGKILL to all of it. One round: a fork may escape it, so the caller counts and comes again.
    pub(crate) fn kill(&self) {
        if let Some(cgroup) = &self.cgroup {
            // Not there before Linux 5.14: the rounds below do it.
            fs::write(cgroup.join("cgroup.kill"), "1").ok();
        }
        let members = self.members();
        if let Some((pid, _)) = self.main
            && members.iter().any(|entry| entry.group == pid)
            && let Some(group) = to_pid(pid)
        {
            kill_process_group(group, Signal::KILL).ok();
        }
        for entry in &members {
            send(entry.pid, entry.start_ticks, Signal::KILL);
        }
    }
}

/// Its group and its descendants: enough for figures, cheap (no file per process is read).
pub(crate) fn family(table: &[Entry], pid: u32) -> Vec<Entry> {
    let of_group = table
        .iter()
        .filter(|entry| entry.group == pid || entry.pid == pid);
    let mut found = of_group.map(|entry| entry.pid).collect();
    add_descendants(table, &mut found);
    table
        .iter()
        .filter(|entry| found.contains(&entry.pid))
        .cloned()
        .collect()
}

fn add_descendants(table: &[Entry], found: &mut BTreeSet<u32>) {
    loop {
        let before = found.len();
        for entry in table {
            if found.contains(&entry.parent) {
                found.insert(entry.pid);
            }
        }
        if found.len() == before {
            return;
        }
    }
}

fn is_backend(pid: u32, (programs, data): &(PathBuf, PathBuf)) -> bool {
    let link = |name| fs::read_link(format!("/proc/{pid}/{name}")).ok();
    // Both: a person's shell may well stand in the data directory.
    link("exe").is_some_and(|exe| exe.parent() == Some(programs))
        && link("cwd").is_some_and(|cwd| cwd == *data)
}

pub(crate) fn cgroup_pids(cgroup: &Path) -> BTreeSet<u32> {
    fs::read_to_string(cgroup.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect()
}

/// A signal to exactly this process: never to one that got its number later.
pub(crate) fn send(pid: u32, ticks: u64, signal: Signal) {
    let Some(number) = to_pid(pid) else { return };
    if let Ok(fd) = pidfd_open(number, PidfdFlags::empty())
        && start_ticks(pid) == Some(ticks)
    {
        // Gone in between is what was wanted.
        pidfd_send_signal(&fd, signal).ok();
    }
}

pub(crate) fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Resident memory: private pages of all, shared ones of the largest only (PostgreSQL's backends share most).
pub(crate) fn memory_bytes(pids: impl Iterator<Item = u32>) -> Option<u64> {
    let mut private = 0;
    let mut shared = 0;
    let mut any = false;
    for pid in pids {
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else {
            continue;
        };
        any = true;
        private += status_kib(&status, "RssAnon:") * 1024;
        shared = shared.max((status_kib(&status, "RssFile:") + status_kib(&status, "RssShmem:")) * 1024);
    }
    any.then_some(private + shared)
}

fn status_kib(status: &str, key: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|value| value.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let text = "42 (a) (b c) S 7 42 1 0 -1 4194560 1 2 3 4 11 22 0 0 20 0 1 0 9876 1 2 3";
        let expected = Entry {
            pid: 42,
            parent: 7,
            group: 42,
            state: 'S',
            cpu_ticks: 33,
            start_ticks: 9876,
        };
        assert_eq!(parse_stat(text), Some(expected));
    }

    #[test]
    fn descendants_are_found_over_several_generations() {
        let entry = |pid, parent| Entry {
            pid,
            parent,
            group: pid,
            state: 'S',
            cpu_ticks: 0,
            start_ticks: 1,
        };
        let table = [entry(13, 12), entry(12, 11), entry(11, 10), entry(20, 1)];
        let mut found = BTreeSet::from([10]);
        add_descendants(&table, &mut found);
        assert_eq!(found, BTreeSet::from([10, 11, 12, 13]));
    }
}
