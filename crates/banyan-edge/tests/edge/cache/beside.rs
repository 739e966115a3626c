//! Edges that share what they keep: each key is one edge's, the others ask it, and the next one when it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use banyan_config::{Cache, EdgePlace, Metrics};
use banyan_testkit::http::Client;
use banyan_testkit::upstream::{Message, Upstream};
use banyan_testkit::{Port, wait};
use banyan_topology::snapshot::EdgeSnapshot;
use tokio::task::JoinSet;

use super::collapse::{Held, many};
use super::shield::proof;
use super::{Asked, ok, origin, safe};
use crate::world::{World, post};

const KEPT: &str = "Cache-Control: max-age=600\r\n";
const PATIENCE: Duration = Duration::from_secs(90);
/// So that each of three edges has some.
const KEYS: usize = 24;

/// All beside `edge`; the shield, if any, is none of them.
struct Edges {
    all: Vec<World>,
    shield: Option<World>,
}

fn place(port: &Port) -> EdgePlace {
    EdgePlace {
        listen: port.address(),
        https: None,
    }
}

fn share(snapshot: &mut EdgeSnapshot, ports: &[Port; 4], cache: Cache) {
    snapshot.listeners[0].address = ports[0].address();
    let names = ["south", "west"];
    let places = names.iter().zip(&ports[1..3]);
    snapshot.places = places
        .map(|(name, port)| (name.parse().unwrap(), place(port)))
        .collect();
    let mut cache = cache;
    cache.beside = names
        .map(|name| (name.parse().unwrap(), "edge".parse().unwrap()))
        .into();
    if cache.shield.is_some() {
        snapshot
            .places
            .insert("shield".parse().unwrap(), place(&ports[3]));
    }
    snapshot.settings.cache = Some(Box::new(cache));
    snapshot.settings.metrics = Some(Metrics {
        listen: "127.0.0.1:0".parse().unwrap(),
    });
}

async fn edges(upstream: &Upstream, cache: Cache) -> Edges {
    let ports: [Port; 4] = std::array::from_fn(|_| Port::free());
    let shields = cache.shield.is_some();
    let first = World::launch(&[upstream.address], |snapshot| share(snapshot, &ports, cache)).await;
    drop(ports);
    let shield = shields.then(|| first.successor_at("shield"));
    let others = ["south", "west"].map(|name| first.successor_at(name));
    let mut edges = Edges {
        all: std::iter::once(first).chain(others).collect(),
        shield,
    };
    edges.settle().await;
    edges
}

impl Edges {
    /// Every core of each knows who is there.
    async fn settle(&mut self) {
        for edge in self.all.iter_mut().chain(&mut self.shield) {
            edge.until(|r| !r.listening.is_empty() && r.endpoints.iter().all(|e| e.healthy))
                .await;
        }
        self.all[0].settled().await;
        let epoch = self.all[0].snapshot.epoch;
        for edge in self.all.iter_mut().skip(1).chain(&mut self.shield) {
            edge.until(|r| r.epoch == epoch).await;
        }
    }

    /// Of the edge at this number, for a key that another one has.
    async fn anothers(&self, edge: usize) -> (String, Message) {
        for n in 0..KEYS {
            let path = format!("/of-another/{n}");
            let answer = self.all[edge].get(&path).await;
            if members(&answer).len() > 1 {
                return (path, answer);
            }
        }
        panic!("the edge has all keys");
    }
}

/// The caches on the way, the nearest to the app first.
fn members(answer: &Message) -> Vec<String> {
    let said = answer.header("cache-status");
    let lines = said.split("\"banyan-").skip(1);
    lines
        .map(|line| line.split('"').next().unwrap_or_default().to_owned())
        .collect()
}

async fn served() -> (Upstream, Asked) {
    origin(|n, _| ok(KEPT, &format!("v{n}"))).await
}

#[tokio::test]
async fn a_key_costs_the_app_one_request_however_many_edges_are_asked() {
    let (upstream, asked) = served().await;
    let mut edges = edges(&upstream, safe()).await;
    let mut owners = BTreeSet::new();
    for n in 0..KEYS {
        let path = format!("/{n}");
        let mut of_key = BTreeSet::new();
        for edge in &edges.all {
            let answer = edge.get(&path).await;
            assert_eq!((answer.status(), answer.text().as_str()), (200, "v1"), "{path}");
            let members = members(&answer);
            assert!(members.len() <= 2, "{members:?}");
            of_key.insert(members[0].clone());
        }
        assert_eq!(of_key.len(), 1, "all go by the same ring");
        owners.extend(of_key);
    }
    assert_eq!(asked.count(), KEYS);
    assert_eq!(owners.len(), 3, "{owners:?}");
    // The app sees the client's request, and nothing of what edges tell each other.
    for sent in asked.all() {
        assert_eq!(sent.header("x-forwarded-for"), "127.0.0.1");
        assert!(
            !sent
                .headers
                .iter()
                .any(|(name, _)| name.starts_with("banyan-edge"))
        );
    }
    // What edges ask each other counts apart from what clients ask.
    let metrics = edges.all[0].until(|r| r.metrics.is_some()).await.metrics.unwrap();
    let client = Client::fresh_connections(metrics.address);
    let page = client.get("/metrics").await.unwrap().into_body();
    let page = String::from_utf8(page.to_vec()).unwrap();
    let count = |tier: &str| -> f64 {
        let lines = page.lines().filter(|line| {
            line.starts_with("banyan_cache_requests_total") && line.contains(&format!("tier=\"{tier}\""))
        });
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum()
    };
    let all = 3 * KEYS;
    assert_eq!(
        (count("edge"), count("beside")),
        (all as f64, (all - KEYS) as f64)
    );
}

#[tokio::test]
async fn one_that_is_gone_fails_no_request_and_the_others_share_its_keys() {
    let (upstream, asked) = served().await;
    let mut edges = edges(&upstream, safe()).await;
    let mut gone = edges.all.remove(1);
    gone.end_now();
    gone.ended().await;
    for n in 0..KEYS {
        for edge in &edges.all {
            let answer = edge.get(&format!("/at-once/{n}")).await;
            assert_eq!(answer.status(), 200, "{}", answer.header("cache-status"));
        }
    }
    // Once it is known to be gone, each key is one edge's again.
    for edge in &mut edges.all {
        edge.until(|r| r.endpoints.iter().any(|e| !e.healthy)).await;
    }
    edges.all[0].settled().await;
    let epoch = edges.all[0].snapshot.epoch;
    edges.all[1].until(|r| r.epoch == epoch).await;
    let before = asked.count();
    for n in 0..KEYS {
        for edge in &edges.all {
            assert_eq!(edge.get(&format!("/later/{n}")).await.text(), "v1");
        }
    }
    assert_eq!(asked.count() - before, KEYS);
}

#[tokio::test]
async fn who_has_the_key_asks_the_shield() {
    let (upstream, asked) = served().await;
    let mut cache = safe();
    cache.shield = Some("shield".parse().unwrap());
    let edges = edges(&upstream, cache).await;
    let (path, answer) = edges.anothers(0).await;
    let way = members(&answer);
    assert_eq!((way.len(), way[0].as_str()), (3, "edge-shield"), "{way:?}");
    for edge in edges.all.iter().chain(&edges.shield) {
        assert_eq!(edge.get(&path).await.text(), "v1");
    }
    assert_eq!(asked.all().iter().filter(|sent| sent.target() == path).count(), 1);
}

/// So many of each of these edges' clients ask for it at once; tells how many of them have got it.
async fn crowd(edges: &[World], each: usize, path: &str) -> JoinSet<usize> {
    let mut crowds = JoinSet::new();
    for edge in edges {
        let clients = many(edge, each, path).await;
        crowds.spawn(async move {
            let answers = clients.join_all().await;
            answers.iter().filter(|answer| answer.body == b"for all").count()
        });
    }
    crowds
}

#[tokio::test]
async fn a_thousand_misses_over_edges_that_share_cost_one_request() {
    for shield in [None, Some("shield".parse().unwrap())] {
        let mut held = Held::with(|_| ok(KEPT, "for all")).await;
        let mut cache = safe();
        cache.shield = shield;
        let edges = edges(&held.upstream, cache).await;
        let crowds = crowd(&edges.all, 334, "/many").await;
        held.asked(1).await;
        held.let_go(10);
        let got: usize = crowds.join_all().await.into_iter().sum();
        assert_eq!((got, held.count()), (1002, 1));
    }
}

/// Those who wait at the others for the one that has the key ask again without it, for all of their clients once.
#[tokio::test]
async fn the_end_of_who_has_the_key_costs_a_thousand_misses_one_request_for_each_other_edge_or_for_the_shield()
 {
    let (upstream, _asked) = served().await;
    let path = {
        let edges = edges(&upstream, safe()).await;
        let of_south = async |path: &str| members(&edges.all[0].get(path).await)[0] == "edge-south";
        let mut n = 0;
        while !of_south(&format!("/of-south/{n}")).await {
            n += 1;
        }
        format!("/of-south/{n}")
    };
    // A shield has it in hand already, or asks for both of them once more.
    for (shield, requests) in [(None, 2..=3), (Some("shield".parse().unwrap()), 1..=2)] {
        let mut held = Held::with(|_| ok(KEPT, "for all")).await;
        let mut cache = safe();
        cache.shield = shield;
        let mut edges = edges(&held.upstream, cache).await;
        let mut south = edges.all.remove(1);
        let crowds = crowd(&edges.all, 500, &path).await;
        held.asked(1).await;
        south.end_now();
        south.ended().await;
        held.let_go(10);
        let got: usize = crowds.join_all().await.into_iter().sum();
        assert_eq!(got, 1000);
        assert!(requests.contains(&held.count()), "{}", held.count());
    }
}

/// The edge that a change passed has no copy of its own, and the one that has the key has not heard of it yet.
#[tokio::test]
async fn who_changes_something_sees_the_change_whoever_has_the_key() {
    let (upstream, _asked) = served().await;
    let edges = edges(&upstream, safe()).await;
    for edge in 0..3 {
        for n in 0..KEYS {
            let path = format!("/{edge}/{n}");
            let others = &edges.all[(edge + 1) % 3];
            assert_eq!(others.get(&path).await.text(), "v1");
            assert_eq!(edges.all[edge].ask(&post(&path, "data")).await.text(), "v2");
            assert_eq!(edges.all[edge].get(&path).await.text(), "v3");
        }
    }
}

#[tokio::test]
async fn what_is_for_one_alone_goes_past_the_others() {
    let (upstream, _asked) = origin(|n, _| ok("Cache-Control: private\r\n", &format!("v{n}"))).await;
    let edges = edges(&upstream, safe()).await;
    let (path, _) = edges.anothers(0).await;
    let again = edges.all[0].get(&path).await;
    assert_eq!(
        (members(&again), again.text().as_str()),
        (vec!["edge".to_owned()], "v2")
    );
}

/// A purge reaches the edges one after the other: what one that is behind would give is old for whoever knows of it.
#[tokio::test]
async fn an_edge_that_is_behind_in_purges_gives_nothing_of_its_own() {
    let (upstream, _asked) = served().await;
    let edges = edges(&upstream, safe()).await;
    let edge = &edges.all[0];
    let proof = proof(edge);
    let relayed = |more: &str| {
        format!(
            "GET /a HTTP/1.1\r\nHost: app.example\r\nX-Forwarded-Proto: http\r\nBanyan-Edge: {proof}\r\n\
             Banyan-Edge-Process: web\r\nBanyan-Edge-Uri: /a\r\nBanyan-Edge-Client: 127.0.0.1\r\n\
             Banyan-Edge-Beside: 1\r\n{more}\r\n"
        )
    };
    let mut seen = Vec::new();
    for more in ["", "", "Banyan-Edge-Purges: log 7\r\n", ""] {
        let answer = edge.ask(&relayed(more)).await;
        assert_eq!(members(&answer), ["edge"], "it asks no other edge");
        seen.push(answer.text());
    }
    assert_eq!(seen, ["v1", "v1", "v2", "v2"]);
}

#[tokio::test]
async fn each_keeps_on_its_disk_what_is_its_own_and_long_bodies_lie_at_one_edge() {
    let long = "x".repeat(600_000);
    let (upstream, asked) = origin(move |_, request| match request.target().strip_prefix("/long/") {
        Some(_) => ok(KEPT, &long),
        None => ok(KEPT, "short"),
    })
    .await;
    let mut cache = safe();
    // Of memory no answer may take more than an eighth.
    (cache.memory, cache.disk) = (4 << 20, Some(64 << 20));
    let mut edges = edges(&upstream, cache).await;
    for n in 0..KEYS {
        for edge in &edges.all {
            assert_eq!(edge.get(&format!("/short/{n}")).await.text(), "short");
        }
    }
    for n in 0..3 {
        for edge in &edges.all {
            assert_eq!(edge.get(&format!("/long/{n}")).await.body.len(), 600_000);
        }
    }
    assert_eq!(asked.count(), KEYS + 3);
    let lie = async || {
        let reports = edges.all.iter().map(|edge| edge.handle.report().cache);
        let objects: Vec<_> = reports.flatten().map(|cache| cache.disk_objects).collect();
        if objects.iter().sum::<u64>() == KEYS as u64 + 3 {
            Ok(())
        } else {
            Err(format!("{objects:?}"))
        }
    };
    wait::until("each key to lie on one disk", PATIENCE, lie)
        .await
        .unwrap();
    edges.settle().await;
    let still: u64 = edges
        .all
        .iter()
        .map(|edge| edge.handle.report().cache.unwrap().disk_objects)
        .sum();
    assert_eq!(still, KEYS as u64 + 3);
}

/// The ring is over names: that an edge is added moves nothing but what becomes its own.
#[tokio::test]
async fn an_edge_that_comes_to_stand_beside_others_takes_only_its_share() {
    let (upstream, _asked) = served().await;
    let mut edges = edges(&upstream, safe()).await;
    let (_, alone) = edges.anothers(0).await;
    assert_eq!(members(&alone).len(), 2);
    // It leaves the others, without a restart of anybody.
    edges.all[0]
        .publish(|snapshot| {
            let cache = snapshot.settings.cache.as_mut().unwrap();
            cache.beside = BTreeMap::from([("west".parse().unwrap(), "south".parse().unwrap())]);
        })
        .await;
    let epoch = edges.all[0].snapshot.epoch;
    for edge in edges.all.iter_mut().skip(1) {
        edge.until(|r| r.epoch == epoch).await;
    }
    for n in 0..KEYS {
        let answer = edges.all[0].get(&format!("/alone/{n}")).await;
        assert_eq!(members(&answer), ["edge"]);
    }
}
