//! Another edge process takes over under load: of a new banyan, with other threads, by a new controller.

use std::sync::Arc;
use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::http::Client;
use banyan_testkit::ledger::Outcome;
use banyan_testkit::load::{Answer, Load, Report};
use banyan_testkit::wait;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);

/// Requests to the edge, every other on a fresh connection.
pub(crate) fn load(installation: &Installation, per_second: u32) -> Load {
    let address = installation.edge_address();
    let clients = Arc::new([Client::fresh_connections(address), Client::keep_alive(address)]);
    Load::start(per_second, move |number| {
        let clients = Arc::clone(&clients);
        async move {
            let fresh = number % 2 == 0;
            let answer = clients[usize::from(!fresh)].get("/").await;
            let (outcome, detail) = match answer {
                Ok(answer) if answer.status() == 200 => (Outcome::Acknowledged, String::new()),
                Ok(answer) => (Outcome::Unknown, answer.status().to_string()),
                Err(failure) => (Outcome::Unknown, failure.to_string()),
            };
            Answer {
                kind: if fresh {
                    "fresh connection"
                } else {
                    "kept connection"
                },
                outcome,
                detail,
            }
        }
    })
}

pub(crate) async fn carry_on(load: &Load, requests: u64) {
    let goal = load.answered() + requests;
    let reached = async || {
        let answered = load.answered();
        if answered >= goal { Ok(()) } else { Err(answered) }
    };
    wait::until("the load to go on", LIMIT, reached).await.unwrap();
}

pub(crate) fn assert_nothing_failed(report: &Report, installation: &Installation) {
    println!("{report}");
    assert!(
        report.failures().is_empty(),
        "{}\n{}",
        report.explain(20),
        installation.logs()
    );
}

/// The one edge that runs, and that it serves.
pub(crate) async fn edge_pid(installation: &Installation) -> u64 {
    let status = installation.status().await;
    let rows = status["children"].as_array().cloned().unwrap_or_default();
    let edges: Vec<&Value> = rows.iter().filter(|row| row["kind"] == "edge").collect();
    assert_eq!(edges.len(), 1, "{status}");
    assert_eq!(edges[0]["state"], "ready", "{status}");
    edges[0]["pid"].as_u64().unwrap()
}

async fn up(per_second: u32) -> (Installation, Load) {
    let mut installation = Installation::new(Manifest::misfit(""));
    installation.rebuild_banyan("first");
    installation.up().await;
    let load = load(&installation, per_second);
    carry_on(&load, 200).await;
    (installation, load)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuilt_banyan_and_other_threads_replace_the_edge_under_load() {
    let (mut installation, load) = up(400).await;
    let first = edge_pid(&installation).await;
    installation.rebuild_banyan("second");
    let plan = installation.try_verb(&["plan"]).await;
    assert_eq!(plan.code(), 2, "{}", plan.output());
    assert!(
        plan.stdout.contains("replace the edge process"),
        "{}",
        plan.stdout
    );
    installation.verb(&["apply"]).await;
    let second = edge_pid(&installation).await;
    assert_ne!(first, second);
    carry_on(&load, 200).await;
    installation
        .apply(|manifest| manifest.edge.push("workers = 3".to_owned()))
        .await;
    let third = edge_pid(&installation).await;
    assert_ne!(second, third);
    carry_on(&load, 200).await;
    // And back, to the process it was before.
    let undone = installation.try_verb(&["apply", "--revert"]).await;
    assert_eq!(undone.code(), 0, "{}", undone.output());
    assert!(
        undone.output().contains("workers 3 → unset"),
        "{}",
        undone.output()
    );
    assert_ne!(third, edge_pid(&installation).await);
    assert_eq!(
        installation.try_verb(&["plan"]).await.code(),
        2,
        "workers = 3 is still configured"
    );
    carry_on(&load, 200).await;
    assert_nothing_failed(&load.stop().await, &installation);
    installation.down().await;
}

/// The controller dies, a newer one adopts the older edge, and replaces it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_controller_knows_the_edge_it_finds_and_replaces_an_older_one_under_load() {
    let (mut installation, load) = up(400).await;
    installation.rebuild_banyan("second");
    installation.verb(&["apply"]).await;
    let edge = edge_pid(&installation).await;
    installation.kill_controller();
    installation.start_controller();
    installation.settled().await;
    assert_eq!(
        edge_pid(&installation).await,
        edge,
        "the same banyan: adopted as it is"
    );
    assert_eq!(installation.try_verb(&["plan"]).await.code(), 0);
    installation.kill_controller();
    installation.rebuild_banyan("third");
    installation.start_controller();
    installation.settled().await;
    assert_ne!(edge_pid(&installation).await, edge, "of a newer banyan");
    assert_eq!(installation.try_verb(&["plan"]).await.code(), 0);
    carry_on(&load, 200).await;
    assert_nothing_failed(&load.stop().await, &installation);
    installation.down().await;
}

/// Killed at some moment of a hand-over, the next controller ends where an undisturbed one would.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_killed_during_a_hand_over_costs_nothing_under_load() {
    let (mut installation, load) = up(400).await;
    for round in 0..6_u64 {
        let before = edge_pid(&installation).await;
        installation.rebuild_banyan(&format!("round {round}"));
        let apply = installation.command(&["apply"]).start().unwrap();
        // From before the new edge starts until the old one drains.
        carry_on(&load, 20 + round * 90).await;
        installation.kill_controller();
        drop(apply);
        installation.start_controller();
        installation.settled().await;
        assert_ne!(edge_pid(&installation).await, before);
        let plan = installation.try_verb(&["plan"]).await;
        assert_eq!(plan.code(), 0, "{}", plan.output());
    }
    carry_on(&load, 200).await;
    assert_nothing_failed(&load.stop().await, &installation);
    installation.down().await;
}

/// A new banyan whose edge does not come up: the old edge serves on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_does_not_become_ready_leaves_the_old_one_serving_under_load() {
    let (installation, load) = up(400).await;
    let before = edge_pid(&installation).await;
    let good = installation.replace_banyan_by("#!/bin/sh\nexit 1\n");
    let apply = installation
        .command_of(&good, &["apply"])
        .finish(LIMIT)
        .await
        .unwrap();
    assert_ne!(apply.code(), 0, "{}", apply.output());
    assert!(apply.output().contains("serves on"), "{}", apply.output());
    std::fs::rename(&good, installation.dir().join("banyan")).unwrap();
    assert_eq!(edge_pid(&installation).await, before);
    let plan = installation.try_verb(&["plan"]).await;
    assert!(!plan.stdout.contains("replace"), "{}", plan.output());
    carry_on(&load, 200).await;
    assert_nothing_failed(&load.stop().await, &installation);
}
