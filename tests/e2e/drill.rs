//! The scenarios for longer: `make drill`, or `make drill DURATION=3600`.

mod autoscale;

use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_runtime::Clock;

use crate::caching::Troubled;
use crate::kills::assert_only_received_requests_failed;
use crate::resume::{At, replaced};
use crate::scenario::{Loaded, changes, kills};
use crate::soak::Soak;
use crate::{alerts, backups, cache_disk, edge_restarts, failover, killed_moves};

pub(crate) fn duration() -> Duration {
    Duration::from_secs(number("BANYAN_DRILL_SECONDS").unwrap_or(600))
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a drill lasts is said on the command line"
)]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// A change every 12 seconds; another seed each time, or `BANYAN_DRILL_SEED`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: make drill"]
async fn visitors_of_every_protocol_notice_no_change() {
    let duration = duration();
    let soak = Soak {
        seed: number("BANYAN_DRILL_SEED").unwrap_or_else(|| Clock.unix_ms()),
        changes: u32::try_from(duration.as_secs() / 12).unwrap().max(6),
        duration,
    };
    soak.run().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: make drill"]
async fn changes_over_and_over_fail_nothing() {
    let end = Clock.now() + duration();
    let mut loaded = Loaded::start(1).await;
    for round in 0.. {
        println!("round {round}");
        changes(&mut loaded, round).await;
        if Clock.now() >= end {
            break;
        }
    }
    let (mut installation, report) = loaded.judged().await;
    assert!(
        report.failures().is_empty(),
        "{report}\n{}\n{}",
        report.explain(20),
        installation.logs()
    );
    installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: make drill"]
async fn kills_over_and_over_cost_at_most_what_was_received() {
    let seconds = u32::try_from(duration().as_secs()).unwrap();
    let mut loaded = Loaded::start(3).await;
    kills(&mut loaded, seconds).await;
    let (mut installation, report) = loaded.judged().await;
    assert_only_received_requests_failed(&report);
    installation.down().await;
}

/// 100 hand-overs, or as many as fit into the duration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: make drill"]
async fn an_edge_replaced_over_and_over_fails_nothing() {
    const RATE: u32 = 1000;
    let mut installation = Installation::new(Manifest::misfit("").edge("access_log = false"));
    installation.rebuild_banyan("first");
    installation.up().await;
    let load = edge_restarts::load(&installation, RATE);
    let end = Clock.now() + duration();
    let mut rounds = 0;
    while rounds < 100 && Clock.now() < end {
        let before = edge_restarts::edge_pid(&installation).await;
        installation.rebuild_banyan(&format!("round {rounds}"));
        installation.verb(&["apply"]).await;
        assert_ne!(edge_restarts::edge_pid(&installation).await, before);
        edge_restarts::carry_on(&load, u64::from(RATE) / 5).await;
        rounds += 1;
    }
    println!("{rounds} hand-overs");
    edge_restarts::assert_nothing_failed(&load.stop().await, &installation);
    installation.down().await;
}

/// 50 of them, or as many as fit into the duration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: make drill"]
async fn fifty_kills_of_a_primary_with_a_synchronous_replica_lose_and_double_nothing() {
    failover::kills(50, duration()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: make drill"]
async fn a_move_of_the_database_killed_at_each_step_ends_in_the_same_place() {
    let steps = killed_moves::there(None).await;
    for step in 0..steps {
        killed_moves::there(Some(At::Step(step))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: make drill"]
async fn a_move_of_the_database_that_was_killed_goes_back_by_revert() {
    for step in killed_moves::back(None).await {
        killed_moves::back(Some(At::Undone(step))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: make drill"]
async fn a_proxy_whose_replacement_is_killed_is_one_in_the_end() {
    replaced().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: make drill"]
async fn a_long_history_is_restored_to_before_the_mistake() {
    backups::restored_after(duration()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: make drill"]
async fn an_edge_killed_a_hundred_times_gives_no_torn_and_no_wrong_body() {
    cache_disk::killed_over_and_over(100).await;
}

/// Silences from 1 to 20 s: from ten on the supervisor takes it for hung and starts it anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: make drill"]
async fn a_redis_in_trouble_over_and_over_fails_no_request() {
    let end = Clock.now() + duration();
    let mut troubled = Troubled::start(80).await;
    for round in 0.. {
        println!("round {round}");
        troubled
            .round(round, Duration::from_secs(u64::from(1 + round * 6 % 20)))
            .await;
        if Clock.now() >= end {
            break;
        }
    }
    troubled.end().await;
}

/// False alarms: none may be. `DURATION=3600` for an hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: make drill"]
async fn a_steady_load_raises_no_alarm() {
    alerts::steady(duration()).await;
}
