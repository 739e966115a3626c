//! The autoscaler against other platforms' on days of made load, in simulation: `cargo nextest run -p banyan-capacity
//! --test simulation --no-capture` prints the table.
//!
//! A model ranks policies, it proves nothing about a real run: see docs/autoscaling.md.

mod controllers;
mod queue;
mod shapes;

use banyan_config::ScalePolicy;

use controllers::{Oracle, Ours, Tracking, by_cpu, by_requests, by_spec};
use queue::{Controller, ONE, Score, run};
use shapes::{DAY, Shape};

/// Instances at the busiest minute: of a large group and of a small one.
const PEAK: u32 = 40;
const SMALL: u32 = 6;
const HISTORY: usize = 7;
const SCORED: usize = 5;
/// Share of slow requests that counts as none.
const NONE: f64 = 0.1;

/// One load on one group.
struct Cell {
    shape: Shape,
    /// Seconds.
    start: u64,
    peak: u32,
    scores: Vec<(&'static str, Score)>,
}

impl Cell {
    fn new(shape: Shape, arrivals: &[f64], start: u64, peak: u32, names: &[&'static str]) -> Self {
        let scored = HISTORY * DAY;
        let score = |name: &&'static str| {
            let mut controller = controller(name, peak, start, arrivals);
            // The others remember minutes.
            let from = if *name == "headroom" { 0 } else { scored - DAY / 4 };
            (*name, run(arrivals, start, from, scored, &mut *controller))
        };
        Self {
            shape,
            start,
            peak,
            scores: names.iter().map(score).collect(),
        }
    }

    fn score(&self, name: &str) -> Score {
        let mut scores = self.scores.iter();
        scores.find(|(known, _)| *known == name).expect("a name").1
    }

    #[expect(clippy::print_stdout, reason = "the table is what people run this for")]
    fn print(&self) {
        let cells = self.scores.iter().map(|(name, score)| {
            let turns = f64::from(score.reversals) / SCORED as f64;
            format!(
                "{name} {:.3}/{:.0}/{turns:.0}",
                score.slow_percent(),
                score.hours()
            )
        });
        let cells: Vec<String> = cells.collect();
        println!("{self}: {}", cells.join("  "));
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {} s of {}", self.shape, self.start, self.peak)
    }
}

fn controller(name: &str, peak: u32, start: u64, arrivals: &[f64]) -> Box<dyn Controller> {
    let ours = |policy| Box::new(Ours::new(policy, 3 * peak)) as Box<dyn Controller>;
    match name {
        "headroom" => ours(ScalePolicy::Headroom),
        "HPA CPU" => ours(by_cpu()),
        "HPA requests" => ours(by_requests()),
        "KPA" => ours(ScalePolicy::Concurrency),
        "spec" => ours(by_spec()),
        "AWS" => Box::new(Tracking::default()),
        "oracle" => Box::new(Oracle::new(arrivals, start)),
        other => panic!("{other}"),
    }
}

/// All loads, with each start (seconds).
fn cells(starts: &[u64], peak: u32, names: &[&'static str]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for shape in Shape::ALL {
        let arrivals = shape.arrivals(HISTORY + SCORED, f64::from(peak) * ONE, 42);
        cells.extend(
            starts
                .iter()
                .map(|start| Cell::new(shape, &arrivals, *start, peak, names)),
        );
    }
    cells.iter().for_each(Cell::print);
    cells
}

/// Slow requests and hours of no more than HPA by CPU, but for loads that nobody foresees: there hours are the price.
fn assert_wins(cells: &[Cell]) {
    let mut wins = 0;
    for cell in cells {
        let (ours, hpa, kpa) = (cell.score("headroom"), cell.score("HPA CPU"), cell.score("KPA"));
        assert!(ours.slow_percent() <= hpa.slow_percent().max(NONE), "{cell}");
        // One that multiplies within seconds whenever it is surprised wins at bursts, and nowhere else.
        let near = ours.slow_percent() <= 2.2 * kpa.slow_percent().max(NONE);
        assert!(near || cell.shape == Shape::Bursts, "{cell}");
        // One that drops its load needs few hours for it.
        let keeps_up = hpa.slow_percent() <= NONE;
        let most = match cell.shape {
            Shape::Bursts | Shape::Pink if keeps_up => 1.3,
            Shape::Bursts | Shape::Pink => f64::INFINITY,
            _ => 1.0,
        };
        assert!(ours.hours() <= most * hpa.hours(), "{cell}");
        wins += usize::from(ours.hours() <= hpa.hours());
    }
    say(&format!(
        "in {wins} of {} neither more slow requests nor more hours than HPA",
        cells.len()
    ));
}

#[expect(clippy::print_stdout, reason = "figures of the documentation")]
fn say(what: &str) {
    println!("{what}");
}

#[test]
fn a_large_group_has_fewer_slow_requests_than_hpa_and_hours_near_those_of_one_who_knows() {
    let cells = cells(&[5, 15, 60], PEAK, &["HPA CPU", "KPA", "headroom", "oracle"]);
    assert_wins(&cells);
    for cell in &cells {
        assert!(cell.score("oracle").slow_percent() <= NONE, "{cell}");
    }
    let mut ratios: Vec<f64> = cells
        .iter()
        .filter(|cell| !matches!(cell.shape, Shape::Bursts | Shape::Pink))
        .map(|cell| cell.score("headroom").hours() / cell.score("oracle").hours())
        .collect();
    ratios.sort_by(f64::total_cmp);
    let (median, worst) = (ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
    say(&format!(
        "hours against the oracle's: median {median:.2}, worst {worst:.2}"
    ));
    assert!(median <= 1.25 && worst <= 1.55, "{median} {worst}");
}

#[test]
fn a_small_group_has_fewer_slow_requests_than_hpa() {
    assert_wins(&cells(&[5, 15, 60], SMALL, &["HPA CPU", "KPA", "headroom"]));
}

/// Also with starts of three minutes, which nobody wins who only reacts.
#[test]
fn no_load_has_more_slow_requests_than_with_targets_of_minutes() {
    for cell in cells(&[60, 180], PEAK, &["HPA requests", "AWS", "spec", "headroom"]) {
        let (ours, aws) = (cell.score("headroom"), cell.score("AWS"));
        assert!(ours.slow_percent() <= aws.slow_percent().max(NONE), "{cell}");
    }
}
