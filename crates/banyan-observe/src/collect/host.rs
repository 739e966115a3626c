//! What the machine does, from `/proc` (proc(5)) and statvfs(3). Names follow OpenTelemetry's conventions for systems in
//! their Prometheus form. Blocking, for a millisecond.

use std::fs;
use std::path::Path;

use banyan_telemetry::Families;
use banyan_telemetry::families::Kind::{Counter, Gauge};

/// What proc(5) counts processor time in; always 100 for programs, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;
/// diskstats counts in these, whatever the device has.
const SECTOR_BYTES: u64 = 512;

/// `disk`: a folder on the disk whose space matters. What cannot be read is left out.
pub(super) fn families(all: &mut Families, disk: &Path) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    processors(all, &read("/proc/stat"));
    memory(all, &read("/proc/meminfo"));
    network(all, &read("/proc/net/dev"));
    disks(all, &read("/proc/diskstats"));
    let load = read("/proc/loadavg");
    if let Some(load) = load.split(' ').next().and_then(|load| load.parse().ok()) {
        let help = "Tasks that run or wait to, over the last minute.";
        all.family(Gauge, "system_load_average_1m", help)
            .number(&[], load);
    }
    if let Ok(space) = rustix::fs::statvfs(disk) {
        let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
        let used = space.f_blocks.saturating_sub(space.f_bfree);
        let state = "system_filesystem_state";
        let help = "Of the disk that holds the state.";
        all.family(Gauge, "system_filesystem_usage_bytes", help)
            .count(&[(state, "used")], bytes(used))
            .count(&[(state, "free")], bytes(space.f_bavail));
    }
}

fn processors(all: &mut Families, stat: &str) {
    let Some(line) = stat.lines().find(|line| line.starts_with("cpu ")) else {
        return;
    };
    let ticks = line.split_whitespace().skip(1);
    let ticks: Vec<f64> = ticks.filter_map(|n| n.parse().ok()).collect();
    let help = "Processor time of the whole machine, by what it was spent on.";
    let mut family = all.family(Counter, "system_cpu_time_seconds_total", help);
    // user and nice; guests are in them already.
    let modes: [(&str, &[usize]); 6] = [
        ("user", &[0, 1]),
        ("system", &[2]),
        ("idle", &[3]),
        ("iowait", &[4]),
        ("interrupt", &[5, 6]),
        ("steal", &[7]),
    ];
    for (mode, fields) in modes {
        let sum: f64 = fields.iter().filter_map(|place| ticks.get(*place)).sum();
        family.number(&[("cpu_mode", mode)], sum / TICKS_PER_SECOND);
    }
    let is_one = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
    let count = stat.lines().filter(is_one).count() as u64;
    all.family(Gauge, "system_cpu_logical_count", "Processors.")
        .count(&[], count);
}

fn memory(all: &mut Families, meminfo: &str) {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        let mut words = line.trim_start_matches(':').split_whitespace();
        Some(words.next()?.parse::<u64>().ok()? * 1024)
    };
    let (Some(total), Some(available)) = (bytes("MemTotal"), bytes("MemAvailable")) else {
        return;
    };
    let state = "system_memory_state";
    let help = "Memory of the machine; free: what programs could have.";
    all.family(Gauge, "system_memory_usage_bytes", help)
        .count(&[(state, "used")], total.saturating_sub(available))
        .count(&[(state, "free")], available);
}

fn network(all: &mut Families, dev: &str) {
    let help = "Bytes through network interfaces that were used.";
    let mut family = all.family(Counter, "system_network_io_bytes_total", help);
    for line in dev.lines() {
        let Some((name, rest)) = line.split_once(':') else {
            continue;
        };
        let fields: Vec<u64> = rest.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let (Some(received), Some(sent)) = (fields.first(), fields.get(8)) else {
            continue;
        };
        if received + sent > 0 {
            let interface = ("network_interface_name", name.trim());
            family
                .count(&[interface, ("network_io_direction", "receive")], *received)
                .count(&[interface, ("network_io_direction", "transmit")], *sent);
        }
    }
}

/// What a disk has done since the machine started.
struct Disk {
    name: String,
    read: u64,
    written: u64,
    busy_ms: u64,
}

fn disks(all: &mut Families, stats: &str) {
    let disks = whole_disks(stats);
    let help = "Bytes read and written, by disk.";
    let mut family = all.family(Counter, "system_disk_io_bytes_total", help);
    for disk in &disks {
        let device = ("system_device", disk.name.as_str());
        family
            .count(&[device, ("disk_io_direction", "read")], disk.read * SECTOR_BYTES)
            .count(
                &[device, ("disk_io_direction", "write")],
                disk.written * SECTOR_BYTES,
            );
    }
    let help = "Time in which a disk had something to do.";
    let mut family = all.family(Counter, "system_disk_io_time_seconds_total", help);
    for disk in &disks {
        #[expect(clippy::cast_precision_loss, reason = "the text format's numbers are floats")]
        let seconds = disk.busy_ms as f64 / 1000.0;
        family.number(&[("system_device", &disk.name)], seconds);
    }
}

/// Those that were used. Memory and loop devices are none, and parts of one are named after it.
fn whole_disks(stats: &str) -> Vec<Disk> {
    let disk = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |place: usize| fields.get(place)?.parse::<u64>().ok();
        Some(Disk {
            name: (*fields.get(2)?).to_owned(),
            read: number(5)?,
            written: number(9)?,
            busy_ms: number(12)?,
        })
    };
    let is_one = |disk: &Disk| {
        let other = disk.name.starts_with("ram") || disk.name.starts_with("loop");
        !other && disk.read + disk.written > 0
    };
    let mut disks: Vec<Disk> = stats.lines().filter_map(disk).filter(is_one).collect();
    let names: Vec<String> = disks.iter().map(|disk| disk.name.clone()).collect();
    disks.retain(|disk| {
        let whole = |other: &String| *other != disk.name && disk.name.starts_with(other.as_str());
        !names.iter().any(whole)
    });
    disks
}

#[cfg(test)]
mod tests {
    use banyan_telemetry::families::Format;

    use super::*;

    fn page(fill: impl FnOnce(&mut Families)) -> String {
        let mut all = Families::default();
        fill(&mut all);
        all.render(Format::Prometheus)
    }

    #[test]
    fn processors_memory_network_and_disks_are_read_as_proc_writes_them() {
        let page = page(|all| {
            processors(
                all,
                "cpu  100 20 30 4000 50 6 7 8 99 0\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nintr 5\n",
            );
            memory(
                all,
                "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    400 kB\n",
            );
            network(
                all,
                "Inter-|\n face |bytes\n  eth0: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n   ifb0: 0 0 0 0 0 0 0 0 0 0\n",
            );
            disks(
                all,
                " 254 0 vda 5 0 2 1 5 0 4 1 0 1500 2 0\n 254 1 vda1 5 0 2 1 5 0 4 1 0 7 2 0\n 7 0 loop0 5 0 2 1 5 0 4 1 0 7 2 0\n",
            );
        });
        for line in [
            "system_cpu_time_seconds_total{cpu_mode=\"user\"} 1.2",
            "system_cpu_time_seconds_total{cpu_mode=\"interrupt\"} 0.13",
            "system_cpu_logical_count 2",
            "system_memory_usage_bytes{system_memory_state=\"used\"} 614400",
            "system_network_io_bytes_total{network_interface_name=\"eth0\",network_io_direction=\"transmit\"} 20",
            "system_disk_io_bytes_total{system_device=\"vda\",disk_io_direction=\"write\"} 2048",
            "system_disk_io_time_seconds_total{system_device=\"vda\"} 1.5",
        ] {
            assert!(page.lines().any(|own| own == line), "{line}\n{page}");
        }
        let others = ["ifb0", "vda1", "loop0"];
        assert!(!others.iter().any(|other| page.contains(other)), "{page}");
    }

    #[test]
    fn this_machine_has_figures() {
        let page = page(|all| families(all, Path::new("/")));
        for name in [
            "system_cpu_logical_count",
            "system_memory_usage_bytes",
            "system_filesystem_usage_bytes",
        ] {
            assert!(page.contains(name), "{name}\n{page}");
        }
    }
}
