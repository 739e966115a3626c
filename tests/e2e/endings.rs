//! How it ends: nothing is left running, and no data goes unasked.

use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_interrupt_of_up_stops_everything_in_order() {
    let mut installation = Installation::new(Manifest::photos(2));
    installation.up().await;
    installation.controller_mut().signal(Signal::INT);
    let status = installation.controller_mut().ended(LIMIT).await.unwrap();
    assert!(status.success(), "{status}: {}", installation.controller_output());
    installation.assert_nothing_runs();
    assert!(
        installation.state().join("data/postgres/PG_VERSION").exists(),
        "the data stays"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_interrupt_ends_everything_at_once() {
    // It ignores SIGTERM for longer than this test may last.
    let manifest = Manifest::misfit("--ignore-term").process("stop_grace = \"10m\"");
    let mut installation = Installation::new(manifest);
    installation.up().await;
    installation.controller_mut().signal(Signal::INT);
    banyan_testkit::wait::until("the first interrupt to be announced", LIMIT, async || {
        let output = installation.controller_output();
        // Not merely "stop", which the summary of `up` says too: two interrupts in one moment are one.
        if output.contains("again to stop at once") {
            Ok(())
        } else {
            Err(output)
        }
    })
    .await
    .unwrap();
    installation.controller_mut().signal(Signal::INT);
    installation.controller_mut().ended(LIMIT).await.unwrap();
    installation.assert_nothing_runs();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_ignores_sigterm_is_killed_after_its_grace() {
    let mut installation =
        Installation::new(Manifest::misfit("--ignore-term").process("stop_grace = \"1s\""));
    installation.up().await;
    installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn down_works_without_a_controller() {
    let mut installation = Installation::new(Manifest::photos(1));
    installation.up().await;
    installation.kill_controller();
    assert!(
        !installation.running().is_empty(),
        "children outlive their controller"
    );
    assert_eq!(
        installation.client().get("/").await.unwrap().status(),
        200,
        "and go on serving"
    );
    installation.verb(&["down"]).await;
    installation.assert_nothing_runs();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn destroy_asks_first_and_deletes_only_then() {
    let mut installation = Installation::new(Manifest::photos(1));
    installation.up().await;
    let refused = installation
        .try_verb(&["destroy", "--yes-delete-data", "photos"])
        .await;
    assert_ne!(refused.code(), 0, "refused while it runs: {}", refused.output());
    assert_eq!(installation.client().get("/").await.unwrap().status(), 200);
    installation.down().await;

    for answer in ["", "\n", "no\n", "y\n"] {
        let asked = installation
            .command(&["destroy"])
            .input(answer)
            .finish(LIMIT)
            .await
            .unwrap();
        assert_ne!(asked.code(), 0, "{answer:?} is no consent: {}", asked.output());
        assert!(installation.state().join("data/postgres").exists());
    }
    let wrong = installation
        .try_verb(&["destroy", "--yes-delete-data", "other"])
        .await;
    assert_ne!(
        wrong.code(),
        0,
        "the wrong name is no consent: {}",
        wrong.output()
    );
    assert!(installation.state().join("data/postgres").exists());

    installation
        .verb(&["destroy", "--yes-delete-data", "photos"])
        .await;
    assert!(!installation.state().exists(), "state and data are gone");
    assert!(installation.app().join("photos").exists(), "the app itself stays");
}
