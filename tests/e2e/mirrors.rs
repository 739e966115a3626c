//! A route's copies, by apply on a running system: the other process comes, gets what the first one gets, and goes.

use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::wait;

const LIMIT: Duration = Duration::from_secs(90);

fn mirrored(manifest: &mut Manifest) {
    let lines = [
        "[process.next]",
        // Answers 500 to everything: nobody may notice.
        "command = \"./misfit --status 500\"",
        "[[route]]",
        "name = \"all\"",
        "prefix = \"/\"",
        "mirror = \"next\"",
    ];
    manifest.more = lines.map(str::to_owned).to_vec();
}

/// Requests that the mirror's instance has had.
async fn copies(installation: &Installation) -> u64 {
    let status = installation.status().await;
    let endpoints = status["edge_report"]["endpoints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let next = endpoints
        .iter()
        .find(|row| row["id"].as_str().is_some_and(|id| id.starts_with("next.")));
    next.and_then(|row| row["requests"].as_u64()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_go_to_a_process_that_fails_and_nobody_notices() {
    let mut installation = Installation::new(Manifest::misfit(""));
    installation.up().await;
    let applied = installation.apply(mirrored).await;
    assert!(applied.output().contains("add route all"), "{}", applied.output());
    let client = installation.client();
    for _ in 0..40 {
        assert_eq!(client.get("/x").await.unwrap().status(), 200);
    }
    wait::until("the copies", LIMIT, async || match copies(&installation).await {
        40.. => Ok(()),
        fewer => Err(fewer),
    })
    .await
    .unwrap();
    let explained = installation
        .verb(&["route", "explain", "GET", "http://a/x"])
        .await;
    assert!(
        explained.stdout.contains("100 % of it copied to next"),
        "{}",
        explained.stdout
    );
    installation.apply(|manifest| manifest.more.clear()).await;
    assert_eq!(client.get("/x").await.unwrap().status(), 200);
    installation.down().await;
}
