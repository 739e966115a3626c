//! Edges at several places: they come, change and go by apply on the running system while all of them serve.

use std::cell::Cell;
use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::Port;
use banyan_testkit::http::Client;
use banyan_testkit::wait;
use bytes::Bytes;
use http::Request;
use http::header::HOST;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::edge_restarts::{assert_nothing_failed, carry_on, load};
use crate::servers::row;

const LIMIT: Duration = Duration::from_secs(120);

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
    kill(&killed);
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

fn kill(edge: &(String, u64)) {
    let pid = Pid::from_raw(i32::try_from(edge.1).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

/// What the caches on the way say of this path, of the same site at each edge.
async fn said(client: &Client, path: &str) -> String {
    let request = Request::get(path).header(HOST, "shop.example");
    let answer = client.send(request.body(Bytes::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let lines = answer.headers().get_all("cache-status").iter();
    let lines: Vec<_> = lines.filter_map(|line| line.to_str().ok()).collect();
    lines.join(", ")
}

/// From banyan.toml: a place asks the first edge, which has asked the app once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shield_answers_for_the_other_places_and_is_passed_over_when_it_is_gone() {
    let mut installation = Installation::new(Manifest::photos(1));
    installation.up().await;
    let south = Port::free();
    installation
        .apply(|manifest| {
            manifest.edge.push("cache = { shield = \"edge\" }".to_owned());
            places(manifest, &[("south", south.number())]);
        })
        .await;
    let ask = Client::fresh_connections(south.address());
    // The edges check each other like instances.
    let asked = Cell::new(0);
    let through = async || {
        asked.set(asked.get() + 1);
        let said = said(&ask, &format!("/media/demo/7.svg?{}", asked.get())).await;
        if said.contains("\"banyan-edge\"") {
            Ok(())
        } else {
            Err(said)
        }
    };
    wait::until("the shield to be asked", LIMIT, through)
        .await
        .unwrap();
    let own = installation.client();
    assert!(
        said(&own, "/media/demo/8.svg")
            .await
            .contains("\"banyan-edge\"; fwd=uri-miss")
    );
    let at_south = said(&ask, "/media/demo/8.svg").await;
    assert!(at_south.contains("\"banyan-edge\"; hit"), "{at_south}");
    assert!(
        at_south.contains("\"banyan-edge-south\"; fwd=uri-miss"),
        "{at_south}"
    );
    // Edges open their sockets for questions within a second.
    let tiers = async || {
        let stats = installation.try_verb(&["cdn", "stats"]).await;
        let has = |tier: &str| stats.stdout.lines().any(|line| line.starts_with(tier));
        if has("edge ") && has("shield ") {
            Ok(())
        } else {
            Err(stats.output())
        }
    };
    wait::until("both tiers to tell", LIMIT, tiers).await.unwrap();
    let shield = edges(&installation).await.swap_remove(0);
    assert_eq!(shield.0, "edge");
    kill(&shield);
    // Each of these is a miss, and answered while the shield is gone and when it is back.
    let back = async || {
        through().await?;
        match edges(&installation).await.first() {
            Some(edge) if edge.0 == "edge" && *edge != shield => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    wait::until("another shield to be asked", LIMIT, back)
        .await
        .unwrap();
    installation.down().await;
}

/// Asks each edge for it in turn; of the answers those that an instance gave.
async fn by_the_app<'a>(edges: impl IntoIterator<Item = &'a Client>, path: &str) -> usize {
    let mut asked = 0;
    for edge in edges {
        let said = said(edge, path).await;
        // The nearest to the app comes first.
        let nearest = said.split(", \"").next().unwrap_or_default();
        asked += usize::from(nearest.contains("; fwd="));
    }
    asked
}

/// From banyan.toml: three edges share what they keep; one that is killed fails nothing and comes back to its share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_beside_each_other_ask_the_app_once_for_all_and_one_that_dies_fails_no_request() {
    let mut installation = Installation::new(Manifest::photos(1));
    installation.up().await;
    let (south, west) = (Port::free(), Port::free());
    let at = [("south", south.number()), ("west", west.number())];
    installation
        .apply(|manifest| {
            manifest.edge.push("cache = {}".to_owned());
            places(manifest, &at);
        })
        .await;
    let before = edges(&installation).await;
    let beside = |(name, port): &(&str, u16)| {
        let table = format!("[edge.place.{name}]");
        [table, format!("port = {port}"), "beside = \"edge\"".to_owned()]
    };
    installation
        .apply(|manifest| manifest.more = at.iter().flat_map(beside).collect())
        .await;
    assert_eq!(edges(&installation).await, before, "nobody is replaced for it");
    let addresses = [installation.edge_address(), south.address(), west.address()];
    let asks = addresses.map(Client::fresh_connections);
    let round = Cell::new(0);
    // The edges check each other like instances; then every key is one edge's.
    let together = async || {
        round.set(round.get() + 1);
        let mut counts = Vec::new();
        for n in 0..8 {
            counts.push(by_the_app(&asks, &format!("/media/demo/7.svg?{}-{n}", round.get())).await);
        }
        if counts == [1; 8] {
            Ok(())
        } else {
            Err(format!("{counts:?}"))
        }
    };
    wait::until("one request for all edges", LIMIT, together)
        .await
        .unwrap();
    let killed = before.iter().find(|(name, _)| name == "edge-south").unwrap();
    kill(killed);
    // Each of these is answered (see `said`), while it is gone and when it is back.
    let back = async || {
        round.set(round.get() + 1);
        for n in 0..8 {
            let path = format!("/media/demo/7.svg?{}-{n}", round.get());
            by_the_app([&asks[0], &asks[2]], &path).await;
        }
        match edges(&installation)
            .await
            .iter()
            .find(|(name, _)| name == "edge-south")
        {
            Some(edge) if edge != killed => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    wait::until("the killed edge to be back", LIMIT, back)
        .await
        .unwrap();
    wait::until("one request for all edges again", LIMIT, together)
        .await
        .unwrap();
    let tiers = async || {
        let stats = installation.try_verb(&["cdn", "stats"]).await;
        if stats.stdout.lines().any(|line| line.starts_with("beside ")) {
            Ok(())
        } else {
            Err(stats.output())
        }
    };
    wait::until("what they ask each other to be told", LIMIT, tiers)
        .await
        .unwrap();
    installation.down().await;
}

/// Statuses of so many requests of a tenant.
async fn statuses(client: &Client, tenant: &str, requests: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..requests {
        let request = Request::get("/")
            .header(HOST, "shop.example")
            .header("x-tenant", tenant);
        let answer = client.send(request.body(Bytes::new()).unwrap()).await.unwrap();
        statuses.push(answer.status().as_u16());
    }
    statuses
}

/// The first edge lets a new tenant's whole burst pass, and the other one then nothing of it. A machine that is busy for 50 ms
/// has an edge count alone for a second; so it is tried again.
async fn count_together(edges: &[Client; 2], burst: usize, round: &Cell<u32>) {
    let together = async || {
        round.set(round.get() + 1);
        let tenant = format!("tenant {}", round.get());
        let first = statuses(&edges[0], &tenant, burst + 1).await;
        let south = statuses(&edges[1], &tenant, 2).await;
        let all = (first.iter().filter(|status| **status == 200).count(), south);
        if all == (burst, vec![429, 429]) {
            Ok(())
        } else {
            Err(format!("{all:?}"))
        }
    };
    wait::until("limits to be counted together", LIMIT, together)
        .await
        .unwrap();
}

/// From banyan.toml: [sessions] and two edges are all it takes; a Redis that dies costs no request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_limits_are_counted_over_all_edges_and_outlive_the_redis_that_counts() {
    let mut installation = Installation::new(Manifest::misfit(""));
    installation.up().await;
    let south = Port::free();
    let limit = "rate_limit = { rate = \"4/1h\", by = \"header\", header = \"x-tenant\" }";
    installation.manifest.edge = vec![limit.to_owned(), "count_limits = \"redis\"".to_owned()];
    installation.write_manifest();
    let refused = installation.try_verb(&["plan"]).await;
    assert!(
        refused.output().contains("there is no [sessions]"),
        "{}",
        refused.output()
    );
    installation
        .apply(|manifest| {
            manifest.edge.pop();
            places(manifest, &[("south", south.number())]);
            manifest.more.push("[sessions]".to_owned());
        })
        .await;
    let explained = installation
        .verb(&["route", "explain", "GET", "http://shop.example/"])
        .await;
    assert!(
        explained.output().contains("counted by all edges together"),
        "{}",
        explained.output()
    );
    let edges = [installation.edge_address(), south.address()].map(Client::fresh_connections);
    let round = Cell::new(0);
    count_together(&edges, 4, &round).await;
    let url = std::fs::read_to_string(installation.state().join("secrets/edge-limits-url")).unwrap();
    let password = url.split([':', '@']).nth(2).unwrap();
    for file in ["topology.json", "intent.json", "snapshots/edge.json"] {
        let text = std::fs::read_to_string(installation.state().join(file)).unwrap();
        assert!(!text.contains(password), "{file} holds a password");
    }
    let redis = row(&installation, "redis sessions").await.unwrap();
    let pid = i32::try_from(redis["pid"].as_u64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    for edge in &edges {
        let all = statuses(edge, "while it is away", 6).await;
        assert!(all.iter().all(|status| [200, 429].contains(status)), "{all:?}");
        assert!(all.contains(&200) && all.contains(&429), "{all:?}");
    }
    count_together(&edges, 4, &round).await;
    installation.down().await;
}
