//! Edges at several places: they come, change and go by apply on the running system while all of them serve.

use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::Port;
use banyan_testkit::http::Client;
use banyan_testkit::wait;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::edge_restarts::{assert_nothing_failed, carry_on, load};

const LIMIT: Duration = Duration::from_secs(60);

fn places(manifest: &mut Manifest, places: &[(&str, u16)]) {
    let table = |(name, port): &(&str, u16)| [format!("[edge.place.{name}]"), format!("port = {port}")];
    manifest.more = places.iter().flat_map(table).collect();
}

/// The edges that are ready, by name.
async fn edges(installation: &Installation) -> Vec<(String, u64)> {
    let status = installation.status().await;
    let rows = status["children"].as_array().cloned().unwrap_or_default();
    let ready = |row: &&Value| row["kind"] == "edge" && row["state"] == "ready";
    let edge = |row: &Value| Some((row["id"].as_str()?.to_owned(), row["pid"].as_u64()?));
    rows.iter().filter(ready).filter_map(edge).collect()
}

fn names(edges: &[(String, u64)]) -> Vec<&str> {
    edges.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_come_change_and_go_while_all_serve_and_each_is_started_again() {
    let mut installation = Installation::new(Manifest::misfit(""));
    installation.up().await;
    let load = load(&installation, 200);
    let (south, west) = (Port::free(), Port::free());
    let at = [("south", south.number()), ("west", west.number())];
    places(&mut installation.manifest, &at);
    installation.write_manifest();
    let plan = installation.try_verb(&["plan"]).await;
    assert!(
        plan.stdout.contains("start edge south on 127.0.0.1:"),
        "{}",
        plan.output()
    );
    installation.verb(&["apply"]).await;
    let before = edges(&installation).await;
    assert_eq!(names(&before), ["edge", "edge-south", "edge-west"]);
    let asks = [south.address(), west.address()].map(Client::fresh_connections);
    for ask in &asks {
        assert_eq!(ask.get("/").await.unwrap().status(), 200);
    }
    // A deploy is done when the old instances are drained at every place, and other threads replace all edges.
    installation.verb(&["deploy"]).await;
    installation
        .apply(|manifest| manifest.edge.push("workers = 3".to_owned()))
        .await;
    let after = edges(&installation).await;
    assert_eq!(names(&after), names(&before));
    assert!(
        before.iter().all(|edge| !after.contains(edge)),
        "{before:?} {after:?}"
    );
    for ask in &asks {
        assert_eq!(ask.get("/").await.unwrap().status(), 200);
    }
    // One that dies is started again; the others do not notice.
    let killed = after
        .iter()
        .find(|(name, _)| name == "edge-south")
        .unwrap()
        .clone();
    kill_process(
        Pid::from_raw(i32::try_from(killed.1).unwrap()).unwrap(),
        Signal::KILL,
    )
    .unwrap();
    let again = async || match asks[0].get("/").await {
        Ok(answer) if answer.status() == 200 && !edges(&installation).await.contains(&killed) => Ok(()),
        other => Err(format!("{other:?}")),
    };
    wait::until("the place to be started again", LIMIT, again)
        .await
        .unwrap();
    installation.apply(|manifest| places(manifest, &at[1..])).await;
    assert_eq!(names(&edges(&installation).await), ["edge", "edge-west"]);
    assert!(tokio::net::TcpStream::connect(south.address()).await.is_err());
    assert_eq!(asks[1].get("/").await.unwrap().status(), 200);
    carry_on(&load, 100).await;
    assert_nothing_failed(&load.stop().await, &installation);
    installation.down().await;
    assert!(tokio::net::TcpStream::connect(west.address()).await.is_err());
}
