//! Several edges of one snapshot: each serves it under addresses of its own.

use std::collections::BTreeMap;

use banyan_config::{EdgePlace, Metrics};
use banyan_testkit::http::Client;
use banyan_testkit::upstream::Upstream;
use banyan_topology::snapshot::EdgeSnapshot;

use crate::world::World;

fn two_places(snapshot: &mut EdgeSnapshot) {
    let place = EdgePlace {
        listen: "127.0.0.1:0".parse().unwrap(),
        https: None,
    };
    let names = ["south", "west"].map(|name| (name.parse().unwrap(), place.clone()));
    snapshot.places = BTreeMap::from(names);
    snapshot.settings.metrics = Some(Metrics {
        listen: "127.0.0.1:0".parse().unwrap(),
    });
}

#[tokio::test]
async fn each_serves_drains_and_takes_snapshots_by_itself() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let mut first = World::with(&[upstream.address], two_places).await;
    let mut south = first.at("south").await;
    let west = first.at("west").await;
    for edge in [&first, &south, &west] {
        assert_eq!(edge.get("/").await.text(), "ok");
    }
    let place = |world: &World| world.handle.report().place.map(|place| place.to_string());
    assert_eq!([place(&first), place(&south)], [None, Some("south".to_owned())]);
    // The first alone has the port of metrics, and says what all measure.
    let metrics = first.until(|r| r.metrics.is_some()).await.metrics.unwrap();
    assert_eq!(south.handle.report().metrics, None);
    let page = Client::fresh_connections(metrics.address)
        .get("/metrics")
        .await
        .unwrap();
    let page = String::from_utf8(page.into_body().to_vec()).unwrap();
    for mark in ["place=\"south\"", "place=\"west\""] {
        assert!(page.contains(mark), "{page}");
    }
    // A successor at one place takes over from the one there.
    let mut new = south.successor_at("south");
    new.until(|r| !r.listening.is_empty()).await;
    assert_eq!(new.address(), south.address());
    south.drain();
    south.ended().await;
    assert_eq!(new.get("/").await.text(), "ok");
    // Its place is gone: it serves on what it knows, until it is told to end.
    first
        .publish(|snapshot| {
            snapshot.places.remove(&"south".parse().unwrap());
        })
        .await;
    let report = new.until(|r| r.refused.is_some()).await;
    assert!(report.refused.unwrap().contains("no place south"));
    assert_eq!(new.get("/").await.text(), "ok");
    assert_eq!(west.get("/").await.text(), "ok");
}
