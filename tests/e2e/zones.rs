//! Zones of hosts: the edge prefers instances of its own, and uses others when these are gone.

use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::wait;
use rustix::process::{Pid, Signal, kill_process};

const LIMIT: Duration = Duration::from_secs(90);

/// Requests that each instance has had from the edge.
async fn had(installation: &Installation) -> Vec<(String, u64)> {
    let status = installation.status().await;
    let endpoints = status["edge_report"]["endpoints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let of = |row: &serde_json::Value| Some((row["id"].as_str()?.to_owned(), row["requests"].as_u64()?));
    endpoints.iter().filter_map(of).collect()
}

/// Asks until the edge has told of so many requests to the instance of this slot.
async fn until_had(installation: &Installation, slot: &str, least: u64) {
    let client = installation.client();
    wait::until("requests to the instance", LIMIT, async || {
        assert_eq!(client.get("/").await.unwrap().status(), 200);
        let had = had(installation).await;
        let enough = had
            .iter()
            .any(|(id, count)| id.starts_with(slot) && *count >= least);
        if enough { Ok(()) } else { Err(format!("{had:?}")) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_of_the_edges_own_zone_come_first_until_they_are_gone() {
    let mut manifest = Manifest::misfit("")
        .process("hosts = [\"a\", \"b\"]")
        .edge("hosts = [\"b\"]");
    manifest.count = 2;
    manifest.more = ["[host.a]", "zone = \"north\"", "[host.b]", "zone = \"south\""]
        .map(str::to_owned)
        .to_vec();
    let mut installation = Installation::new(manifest);
    installation.up().await;
    let client = installation.client();
    let before = had(&installation).await;
    for _ in 0..50 {
        assert_eq!(client.get("/").await.unwrap().status(), 200);
    }
    until_had(&installation, "web.2", 50).await;
    let of_first = |had: &[(String, u64)]| {
        had.iter()
            .find(|(id, _)| id.starts_with("web.1"))
            .map(|(_, count)| *count)
    };
    // While the second was not ready yet, at the start, the first one may have had some.
    assert_eq!(of_first(&before), of_first(&had(&installation).await));
    let explained = installation.verb(&["route", "explain", "GET", "http://a/"]).await;
    assert!(
        explained
            .stdout
            .contains("1 of 2 instances of web are in the edge's zone south"),
        "{}",
        explained.stdout
    );
    let status = installation.verb(&["status"]).await;
    assert!(status.stdout.contains("web, zone north"), "{}", status.stdout);
    // The edge moves; then the other instance is near. When that dies, nobody notices.
    installation
        .apply(|manifest| manifest.edge = vec!["hosts = [\"a\"]".to_owned()])
        .await;
    let had_before = of_first(&had(&installation).await).unwrap();
    until_had(&installation, "web.1", had_before + 5).await;
    let instances = installation.instances().await;
    let (_, pid) = instances
        .iter()
        .find(|(name, _)| name.starts_with("web.1"))
        .unwrap();
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
    for _ in 0..50 {
        assert_eq!(client.get("/").await.unwrap().status(), 200);
    }
    installation.down().await;
}
