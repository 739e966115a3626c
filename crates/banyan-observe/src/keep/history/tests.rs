//! History over real files: restarts, damage, a full disk, bounds.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

const START: u64 = 1_800_000_000_000;

fn settings(disk_bytes: u64) -> ObserveSettings {
    ObserveSettings {
        disk_bytes,
        keep: Duration::from_secs(60 * 86_400),
        otlp: banyan_config::Otlp::default(),
    }
}

fn samples(moment: u64, count: usize) -> Vec<Sample> {
    let one = |number: usize| Sample {
        series: Series::new("requests_total", &[("route", &number.to_string())]),
        counts: true,
        value: (moment * 10 + number as u64) as f64,
    };
    let gauge = Sample {
        series: Series::new("open", &[]),
        counts: false,
        value: moment as f64,
    };
    (0..count).map(one).chain([gauge]).collect()
}

/// Moments `from..to`, ten seconds apart.
fn write(history: &mut History, from: u64, to: u64, count: usize) {
    for moment in from..to {
        history.write(START + moment * 10_000, samples(moment, count));
    }
}

fn points(history: &History, name: &str, from: u64, step_seconds: u64) -> Vec<(u64, f64)> {
    let query = Query {
        step: Duration::from_secs(step_seconds),
        ..Query::of(name, START + from * 10_000, u64::MAX)
    };
    let found = history.query(&query);
    found
        .into_iter()
        .next()
        .map(|found| found.points)
        .unwrap_or_default()
}

fn files(folder: &Path, tier: &str) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder.join(tier)).unwrap();
    let mut all: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

#[test]
fn a_restart_finds_what_was_written_and_goes_on() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut history = History::open(folder.path(), settings(64 << 20));
    write(&mut history, 0, 600, 3);
    history.flush();
    drop(history);
    let mut history = History::open(folder.path(), settings(64 << 20));
    assert_eq!(history.series(), 4);
    assert_eq!(history.last_counts().len(), 3);
    write(&mut history, 600, 620, 3);
    let all = points(&history, "open", 0, 0);
    assert_eq!(all.len(), 620);
    assert!(
        all.windows(2)
            .all(|pair| pair[1].0 - pair[0].0 == 10_000 && pair[1].1 - pair[0].1 == 1.0)
    );
}

#[test]
fn after_a_kill_coarser_history_has_no_hole_but_the_last_minute() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut history = History::open(folder.path(), settings(64 << 20));
    write(&mut history, 0, 1000, 1);
    // Killed: what waited for its block is gone.
    drop(history);
    let mut history = History::open(folder.path(), settings(64 << 20));
    write(&mut history, 1000, 3000, 1);
    for (step, most) in [(60, 60_000), (600, 600_000)] {
        let all = points(&history, "open", 0, step);
        let widest = all.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap();
        assert!(widest <= most + 120_000, "{step}: {widest}");
    }
}

#[test]
fn old_history_is_coarser_and_reaches_farther_back() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut history = History::open(folder.path(), settings(64 << 20));
    // Nine hours.
    write(&mut history, 0, 9 * 360, 1);
    let all = points(&history, "open", 0, 0);
    let apart = |pair: &[(u64, f64)]| pair[1].0 - pair[0].0;
    assert!(all.first().unwrap().0 <= START + 60_000, "{:?}", all.first());
    let (first, last) = (apart(&all[..2]), apart(&all[all.len() - 2..]));
    assert!(first > last && last == 10_000, "{first} {last}");
    let coarse = points(&history, "open", 0, 600);
    assert!(coarse.len() < 60, "{}", coarse.len());
}

#[test]
fn a_damaged_segment_costs_its_history_and_nothing_else() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut history = History::open(folder.path(), settings(64 << 20));
    write(&mut history, 0, 1200, 1);
    drop(history);
    let segments = files(folder.path(), "10s");
    fs::write(&segments[1], b"this is no segment").unwrap();
    fs::set_permissions(&segments[0], fs::Permissions::from_mode(0o000)).unwrap();
    let mut history = History::open(folder.path(), settings(64 << 20));
    assert_eq!(history.problem, None);
    write(&mut history, 1200, 1300, 1);
    let all = points(&history, "open", 0, 0);
    assert_eq!(all.last(), Some(&(START + 12_990_000, 1299.0)));
    assert!(all.len() > 500, "{}", all.len());
}

#[test]
fn a_disk_that_takes_nothing_is_said_and_history_goes_on_when_it_does_again() {
    let folder = tempfile::TempDir::new().unwrap();
    let mut history = History::open(folder.path(), settings(64 << 20));
    write(&mut history, 0, 12, 1);
    // As root a folder without rights would still take files; one that is gone takes none.
    let (tier, away) = (folder.path().join("10s"), folder.path().join("away"));
    history.disk.as_mut().unwrap().fine.close();
    fs::rename(&tier, &away).unwrap();
    write(&mut history, 12, 24, 1);
    assert!(
        history
            .problem
            .as_ref()
            .is_some_and(|why| why.starts_with("history is not written"))
    );
    assert_eq!(points(&history, "open", 0, 0).len(), 24, "memory has it");
    fs::rename(&away, &tier).unwrap();
    write(&mut history, 24, 36, 1);
    assert_eq!(history.problem, None);
}

#[test]
fn the_disk_stays_within_its_bounds_and_the_oldest_goes_first() {
    let folder = tempfile::TempDir::new().unwrap();
    let cap = 300 << 10;
    let mut history = History::open(folder.path(), settings(cap));
    write(&mut history, 0, 6 * 360, 40);
    assert!(history.disk_bytes() <= cap + cap / 4, "{}", history.disk_bytes());
    let on_disk: u64 = ["10s", "1m", "10m"]
        .into_iter()
        .flat_map(|tier| files(folder.path(), tier))
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert_eq!(on_disk, history.disk_bytes());
    assert_eq!(
        points(&history, "open", 0, 0).last().unwrap().1,
        (6 * 360 - 1) as f64
    );
}

/// A day of 100,000 points per minute, as fast as it goes: `make drill`.
#[test]
#[ignore = "drill: minutes in a debug build"]
fn drill_a_day_of_100_000_points_a_minute_stays_within_disk_and_memory() {
    let folder = tempfile::TempDir::new().unwrap();
    let cap = 256 << 20;
    let mut history = History::open(folder.path(), settings(cap));
    let before = banyan_runtime::own::read().unwrap().resident_bytes;
    let mut most = 0;
    for moment in 0..8640 {
        // 16,667 series six times a minute; one of ten counts fast, the others now and then.
        let one = |number: u64| Sample {
            series: Series::new("requests_total", &[("route", &number.to_string())]),
            counts: true,
            value: (if number.is_multiple_of(10) {
                moment * 137 + number
            } else {
                moment / 30 + number
            }) as f64,
        };
        history.write(START + moment * 10_000, (0..16_667).map(one).collect());
        if moment % 360 == 0 {
            most = most.max(banyan_runtime::own::read().unwrap().resident_bytes);
        }
        assert!(history.disk_bytes() <= cap, "{}", history.disk_bytes());
    }
    let taken = (most - before) >> 20;
    eprintln!("disk {} MiB, memory {taken} MiB", history.disk_bytes() >> 20);
    assert!(taken < 256, "{taken} MiB");
    let query = Query::of("requests_total", START, u64::MAX).with("route", "7");
    let found = history.query(&query);
    assert!(found[0].points.len() > 2000, "{}", found[0].points.len());
}
