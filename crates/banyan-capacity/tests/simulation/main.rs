//! The autoscaler against other platforms' on days of made load, in simulation: `cargo nextest run -p banyan-capacity
//! --test simulation --no-capture` prints the table.
//!
//! A model ranks policies, it proves nothing about a real run: see docs/autoscaling.md.

mod controllers;
mod queue;
mod shapes;

use banyan_config::ScalePolicy;

use controllers::{Fixed, Ours, by_cpu, by_spec};
use queue::{Controller, ONE, Score, run};
use shapes::{DAY, Shape};

/// Instances at the busiest minute.
const PEAK: u32 = 40;
const HISTORY: usize = 7;
const SCORED: usize = 5;
/// Share of slow requests that counts as none.
const NONE: f64 = 0.1;

struct Row {
    shape: Shape,
    start: u64,
    scores: Vec<(&'static str, Score)>,
}

impl Row {
    fn score(&self, name: &str) -> Score {
        self.scores
            .iter()
            .find(|(known, _)| *known == name)
            .expect("a name")
            .1
    }
}

fn row(shape: Shape, start: u64) -> Row {
    let arrivals = shape.arrivals(HISTORY + SCORED, f64::from(PEAK) * ONE, 42);
    let most = 3 * PEAK;
    let ours = |policy| Box::new(Ours::new(policy, most)) as Box<dyn Controller>;
    let controllers: [(&'static str, Box<dyn Controller>); 5] = [
        ("HPA CPU", ours(by_cpu())),
        ("KPA", ours(ScalePolicy::Concurrency)),
        ("spec", ours(by_spec())),
        ("headroom", ours(ScalePolicy::Headroom)),
        ("fixed", Box::new(Fixed(PEAK * 5 / 4))),
    ];
    let scores = controllers
        .into_iter()
        .map(|(name, mut controller)| (name, run(&arrivals, start, HISTORY * DAY, &mut *controller)));
    Row {
        shape,
        start,
        scores: scores.collect(),
    }
}

/// Hours are compared where the other one serves its load: one that drops it needs few.
#[test]
fn headroom_has_fewer_slow_requests_than_hpa_by_cpu_and_fewer_hours_where_that_one_keeps_up() {
    let starts = [5, 60];
    let rows: Vec<Row> = starts
        .into_iter()
        .flat_map(|start| Shape::ALL.map(|shape| row(shape, start)))
        .collect();
    print(&rows);
    for row in &rows {
        let (ours, hpa, kpa) = (row.score("headroom"), row.score("HPA CPU"), row.score("KPA"));
        let cell = format!("{:?} {} s", row.shape, row.start);
        assert!(ours.slow_percent() <= hpa.slow_percent().max(NONE), "{cell}");
        // One that multiplies within seconds whenever it is surprised wins at bursts, and nowhere else.
        let limit = 2.2 * kpa.slow_percent().max(NONE);
        let wins = ours.slow_percent() <= limit;
        assert!(wins || row.shape == Shape::Bursts, "{cell}");
        let keeps_up = hpa.slow_percent() <= NONE;
        assert!(!keeps_up || ours.hours() <= hpa.hours(), "{cell}");
    }
}

#[expect(clippy::print_stdout, reason = "the table is what people run this for")]
fn print(rows: &[Row]) {
    println!("slow % / instance-hours / reversals a day; starts of 5 and 60 s, {PEAK} instances at the peak");
    for row in rows {
        let cells = row.scores.iter().map(|(name, score)| {
            let turns = f64::from(score.reversals) / SCORED as f64;
            format!(
                "{name} {:.3}/{:.0}/{turns:.0}",
                score.slow_percent(),
                score.hours()
            )
        });
        println!(
            "{:?} {} s: {}",
            row.shape,
            row.start,
            cells.collect::<Vec<_>>().join("  ")
        );
    }
}
