//! Every kind of traffic through the edge while everything about it changes at random: nothing fails, nothing stays open,
//! memory is flat.
//!
//! `make test` runs a short soak, `make drill` one for `DURATION` seconds with a change every 12. `BANYAN_DRILL_SEED` repeats
//! one's changes; the seed is printed.

mod change;
mod measure;
mod site;

use std::sync::Arc;
use std::time::Duration;

use banyan_e2e::visitors::Visitors;
use banyan_runtime::Clock;
use banyan_testkit::load::{Load, Report};
use banyan_testkit::wait;

use change::Deck;
use measure::Measured;
use site::Site;

/// Visits per second.
const RATE: u32 = 150;
/// At once, on a machine that is too slow for them.
const MOST: usize = 60;
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) struct Soak {
    pub(crate) seed: u64,
    pub(crate) changes: u32,
    /// Changes are spread over it; they may take longer.
    pub(crate) duration: Duration,
}

/// A change, and when it was made.
struct Event {
    what: String,
    from: Duration,
    to: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_change_of_a_site_costs_no_visitor_of_any_protocol_anything_under_load() {
    let soak = Soak {
        seed: 287,
        changes: 8,
        duration: Duration::ZERO,
    };
    soak.run().await;
}

impl Soak {
    pub(crate) async fn run(self) {
        println!("seed {}", self.seed);
        let mut site = Site::up().await;
        let visitors = Arc::new(Visitors::new(site.doors(), site::NAME, site.trust()));
        let load = {
            let visitors = Arc::clone(&visitors);
            Load::bounded(RATE, MOST, move |number| {
                let visitors = Arc::clone(&visitors);
                async move { visitors.visit(number).await }
            })
        };
        carry_on(&load, Duration::from_secs(3)).await;
        let mut deck = Deck::new(self.seed, self.changes);
        let end = Clock.now() + self.duration;
        let mut events = Vec::new();
        let mut measured = Measured::default();
        measured.take(&site).await;
        for left in (1..=self.changes).rev() {
            let from = load.elapsed();
            let what = deck.next(&mut site, &load).await;
            let to = load.elapsed();
            let (began, took) = (from.as_secs_f64(), (to - from).as_secs_f64());
            println!("  at {began:5.1} s {what}: took {took:.1} s");
            events.push(Event { what, from, to });
            let pace = end.saturating_duration_since(Clock.now()) / left;
            carry_on(&load, pace.max(Duration::from_secs(1))).await;
            measured.take(&site).await;
        }
        let page = site.metrics().await;
        let report = load.stop().await;
        drop(visitors);
        println!("{report}");
        let failures = explain(&report, &events);
        println!("{measured}");
        assert!(
            failures.is_empty(),
            "seed {}\n{failures}\n{}",
            self.seed,
            site.logs()
        );
        assert!(every_kind_came(&report), "{report}");
        measure::is_sound(&page);
        measure::nothing_is_open(&site).await;
        // Without the load's own connections, of which a slow machine has many.
        measured.take(&site).await;
        measured.assert_flat();
        site.down().await;
    }
}

fn every_kind_came(report: &Report) -> bool {
    let kinds: std::collections::BTreeSet<_> = report.samples.iter().map(|s| s.answer.kind).collect();
    println!("{} kinds of visits: {kinds:?}", kinds.len());
    kinds.len() == 12
}

/// Load for this long.
async fn carry_on(load: &Load, how_long: Duration) {
    let wanted = load.answered() + u64::from(RATE) * u64::try_from(how_long.as_millis()).unwrap() / 1000;
    let limit = how_long * 3 + LIMIT;
    let on = async || {
        let answered = load.answered();
        if answered >= wanted { Ok(()) } else { Err(answered) }
    };
    wait::until("the load to go on", limit, on).await.unwrap();
}

/// Which visits failed, and what was being changed meanwhile.
fn explain(report: &Report, events: &[Event]) -> String {
    let failures = report.failures();
    let lines = failures.iter().take(30).map(|sample| {
        let (begun, ended) = (sample.at, sample.at + sample.latency);
        let meanwhile: Vec<&str> = events
            .iter()
            .filter(|event| event.from <= ended && begun <= event.to + Duration::from_secs(2))
            .map(|event| event.what.as_str())
            .collect();
        let (kind, detail) = (sample.answer.kind, &sample.answer.detail);
        let (begun, ended) = (begun.as_secs_f64(), ended.as_secs_f64());
        format!("  {begun:.2} to {ended:.2} s, {kind}, during {meanwhile:?}: {detail}\n")
    });
    let shown: String = lines.collect();
    match failures.len() {
        0 => String::new(),
        count => format!("{count} of {} visits failed:\n{shown}", report.samples.len()),
    }
}
