//! What this process uses of the machine, from `/proc/self` (proc(5)).

use std::fs;
use std::io;

use banyan_telemetry::Families;
use banyan_telemetry::families::Kind::{Counter, Gauge};

/// What proc(5) counts processor time in; always 100 for programs, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// User and system together.
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub open_files: u64,
}

/// Blocking, for microseconds.
pub fn read() -> io::Result<Usage> {
    let missing = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    let stat = fs::read_to_string("/proc/self/stat")?;
    let status = fs::read_to_string("/proc/self/status")?;
    Ok(Usage {
        cpu_seconds: cpu_seconds(&stat).ok_or_else(|| missing("/proc/self/stat has no times"))?,
        resident_bytes: resident(&status).ok_or_else(|| missing("/proc/self/status has no VmRSS"))?,
        open_files: fs::read_dir("/proc/self/fd")?.count() as u64,
    })
}

/// What the client libraries of Prometheus tell of every process, by role and pid: there are several on a machine.
pub fn families(all: &mut Families, role: &str, version: &str, started_unix_ms: u64) {
    let pid = std::process::id().to_string();
    let labels = [("role", role), ("pid", pid.as_str())];
    all.family(Gauge, "banyan_build_info", "1, and the version that runs.")
        .count(&[labels[0], labels[1], ("version", version)], 1);
    // Without /proc there are no figures, and nothing else is lost.
    let Ok(usage) = read() else { return };
    let cpu = "Processor time used, user and system.";
    all.family(Counter, "process_cpu_seconds_total", cpu)
        .number(&labels, usage.cpu_seconds);
    all.family(Gauge, "process_resident_memory_bytes", "Memory in use.")
        .count(&labels, usage.resident_bytes);
    all.family(Gauge, "process_open_fds", "Files and sockets open.")
        .count(&labels, usage.open_files);
    let start = "When the process started, in Unix time.";
    all.family(Gauge, "process_start_time_seconds", start)
        .count(&labels, started_unix_ms / 1000);
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the program's name in brackets, and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 90 0 0 0 250 50 0 0 20 0 1 0 999";
        assert_eq!(cpu_seconds(stat), Some(3.0));
    }

    #[test]
    fn this_process_uses_memory_and_files() {
        let usage = read().unwrap();
        assert!(
            usage.resident_bytes > 100_000 && usage.open_files >= 3,
            "{usage:?}"
        );
    }
}
