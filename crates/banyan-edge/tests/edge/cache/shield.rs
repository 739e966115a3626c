//! Edges that ask a shield: through it, past it when it is down, and never in a circle.

use std::collections::BTreeMap;

use banyan_config::EdgePlace;
use banyan_testkit::Port;
use banyan_testkit::upstream::{Message, Upstream};
use banyan_topology::snapshot::EdgeSnapshot;

use tokio::task::JoinSet;

use banyan_topology::purge::{Actor, Mode, Scope};

use super::collapse::{Held, many};
use super::purge::Log;
use super::{Asked, ok, origin, safe, said};
use crate::world::{World, post};

const KEPT: &str = "Cache-Control: max-age=60\r\n";

/// The first edge and `south` ask `shield`.
struct Edges {
    first: World,
    south: World,
    shield: World,
}

fn places(snapshot: &mut EdgeSnapshot, shield: &Port) {
    let place = |listen| EdgePlace { listen, https: None };
    snapshot.places = BTreeMap::from([
        ("south".parse().unwrap(), place("127.0.0.1:0".parse().unwrap())),
        ("shield".parse().unwrap(), place(shield.address())),
    ]);
    let mut cache = safe();
    cache.shield = Some("shield".parse().unwrap());
    snapshot.settings.cache = Some(Box::new(cache));
}

async fn edges(
    script: impl Fn(usize, &Message) -> String + Clone + Send + Sync + 'static,
) -> (Edges, Asked, Upstream) {
    let (upstream, asked) = origin(script).await;
    (before(&upstream).await, asked, upstream)
}

async fn before(upstream: &Upstream) -> Edges {
    let port = Port::free();
    let mut first = World::launch(&[upstream.address], |snapshot| places(snapshot, &port)).await;
    drop(port);
    let shield = first.at("shield").await;
    let south = first.at("south").await;
    first.until(|r| r.endpoints.iter().all(|e| e.healthy)).await;
    first.settled().await;
    Edges { first, south, shield }
}

/// By which edges know each other.
pub(super) fn proof(world: &World) -> String {
    let key = std::fs::read(world.dir.path().join("secrets/edge-places.key")).unwrap();
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What only edges tell each other.
fn secrets(request: &Message) -> Vec<&str> {
    let names = request.headers.iter().map(|(name, _)| name.as_str());
    names.filter(|name| name.starts_with("banyan-edge")).collect()
}

#[tokio::test]
async fn a_miss_asks_the_shield_which_asks_for_all_edges_once() {
    let (edges, asked, _origin) = edges(|_, _| ok(KEPT, "body")).await;
    let first = edges.first.get("/a").await;
    assert_eq!((first.status(), first.body.as_slice()), (200, b"body".as_slice()));
    let said = first.header("cache-status");
    let (shield, own) = said.split_once("\"banyan-edge\"").unwrap();
    assert!(
        shield.starts_with("\"banyan-edge-shield\"; fwd=uri-miss"),
        "{said}"
    );
    assert!(own.starts_with("; fwd=uri-miss"), "{said}");
    let second = edges.south.get("/a").await;
    let said = second.header("cache-status");
    assert!(said.contains("\"banyan-edge-shield\"; hit"), "{said}");
    assert_eq!(edges.first.get("/a").await.body, b"body");
    assert_eq!(asked.count(), 1);
    let sent = asked.last();
    // The origin sees the client's request, and nothing of what edges tell each other.
    assert_eq!(sent.header("x-forwarded-for"), "127.0.0.1");
    assert_eq!(secrets(&sent), [""; 0]);
}

/// RFC 9111 §4.2.3: age counts from the origin's answer, over every cache on the way.
#[tokio::test]
async fn age_is_counted_over_both() {
    let (edges, _asked, _origin) = edges(|_, _| ok("Cache-Control: max-age=60\r\nAge: 20\r\n", "x")).await;
    edges.first.get("/a").await;
    let answer = edges.south.get("/a").await;
    let age: u64 = answer.header("age").parse().unwrap();
    assert!((20..50).contains(&age), "{age}");
}

#[tokio::test]
async fn a_thousand_misses_over_three_edges_cost_one_request() {
    let mut held = Held::with(|_| ok(KEPT, "for all")).await;
    let edges = before(&held.upstream).await;
    let mut clients = JoinSet::new();
    for edge in [&edges.first, &edges.south, &edges.shield] {
        let mut some = many(edge, 334, "/many").await;
        clients.spawn(async move {
            let mut bodies = 0;
            while let Some(answer) = some.join_next().await {
                bodies += usize::from(answer.unwrap().body == b"for all");
            }
            bodies
        });
    }
    held.asked(1).await;
    held.let_go(10);
    let mut bodies = 0;
    while let Some(some) = clients.join_next().await {
        bodies += some.unwrap();
    }
    assert_eq!((bodies, held.count()), (1002, 1));
}

#[tokio::test]
async fn unsafe_requests_go_through_it_and_outdate_what_both_have() {
    let (edges, asked, _origin) = edges(|n, _| ok(KEPT, &format!("v{n}"))).await;
    assert_eq!(edges.first.get("/a").await.body, b"v1");
    let posted = edges.first.ask(&post("/a", "data")).await;
    assert_eq!((posted.status(), posted.body.as_slice()), (200, b"v2".as_slice()));
    assert_eq!(asked.last().body, b"data");
    let after = edges.first.get("/a").await;
    assert_eq!(
        after.text(),
        "v3",
        "{}; {}",
        posted.header("cache-status"),
        after.header("cache-status")
    );
}

#[tokio::test]
async fn a_shield_that_is_down_is_passed_over() {
    let (mut edges, _asked, _origin) = edges(|n, _| ok(KEPT, &format!("v{n}"))).await;
    edges.shield.end_now();
    edges.shield.ended().await;
    for n in 0..5 {
        let path = format!("/{n}");
        let answer = edges.south.get(&path).await;
        assert_eq!(
            (answer.status(), answer.body.as_slice()),
            (200, b"v1".as_slice()),
            "{path}"
        );
    }
    assert_eq!(edges.first.ask(&post("/0", "data")).await.status(), 200);
}

#[tokio::test]
async fn a_client_is_no_edge_and_a_circle_ends() {
    let (edges, asked, _origin) = edges(|_, _| ok(KEPT, "x")).await;
    let claim = "GET /a HTTP/1.1\r\nHost: a\r\nBanyan-Edge: guess\r\nBanyan-Edge-Process: web\r\nBanyan-Edge-Uri: /b\r\nBanyan-Edge-Client: 1.2.3.4\r\n\r\n";
    assert_eq!(edges.shield.ask(claim).await.status(), 200);
    let sent = asked.last();
    assert_eq!(
        (sent.target(), sent.header("x-forwarded-for").as_str()),
        ("/a", "127.0.0.1")
    );
    assert_eq!(secrets(&sent), [""; 0]);
    let circle = "GET /c HTTP/1.1\r\nHost: a\r\nCDN-Loop: other, photos-shield.banyan\r\n\r\n";
    assert_eq!(edges.shield.ask(circle).await.status(), 508);
    // Another edge's name in it is a way, not a circle.
    let way = "GET /d HTTP/1.1\r\nHost: a\r\nCDN-Loop: photos-elsewhere.banyan\r\n\r\n";
    assert_eq!(edges.shield.ask(way).await.status(), 200);
}

/// It was away when something changed, or a purge has not reached it yet: what it has is not for who knows better.
#[tokio::test]
async fn a_shield_that_did_not_hear_of_a_change_is_told_by_the_edge_that_did() {
    let (edges, _asked, _origin) = edges(|n, _| ok(KEPT, &format!("v{n}"))).await;
    assert_eq!(edges.first.get("/a").await.text(), "v1");
    let proof = proof(&edges.first);
    let relayed = |more: &str| {
        format!(
            "GET /a HTTP/1.1\r\nHost: app.example\r\nX-Forwarded-Proto: http\r\nBanyan-Edge: {proof}\r\n\
             Banyan-Edge-Process: web\r\nBanyan-Edge-Uri: /a\r\nBanyan-Edge-Client: 127.0.0.1\r\n{more}\r\n"
        )
    };
    assert_eq!(edges.shield.ask(&relayed("")).await.text(), "v1");
    let told = edges.shield.ask(&relayed("Banyan-Edge-Untrue: 1\r\n")).await;
    assert_eq!(told.text(), "v2");
    assert_eq!(edges.shield.ask(&relayed("")).await.text(), "v2");
}

/// What is meant for caches like these goes from edge to edge, and no further.
#[tokio::test]
async fn an_edge_behind_a_shield_keeps_by_the_apps_own_words_and_purges_by_tag_reach_it() {
    let (upstream, asked) = origin(|n, _| {
        let told = "Surrogate-Control: max-age=600\r\nSurrogate-Key: news\r\nCache-Control: max-age=0\r\n";
        ok(told, &format!("v{n}"))
    })
    .await;
    let mut edges = before(&upstream).await;
    for _ in 0..2 {
        let answer = edges.first.get("/a").await;
        assert_eq!(answer.text(), "v1");
        for field in ["surrogate-control", "surrogate-key"] {
            assert_eq!(answer.header(field), "", "{field} is not for clients");
        }
        assert_eq!(answer.header("cache-control"), "max-age=0");
    }
    let again = edges.first.get("/a").await;
    assert!(said(&again).contains("|hit; ttl="), "{}", said(&again));
    assert_eq!(asked.count(), 1);
    let mut log = Log::new(&edges.first);
    let seq = log.write(Scope::Tag("news".to_owned()), Mode::Hard, Actor::Command);
    for edge in [&mut edges.first, &mut edges.shield] {
        edge.until(|report| report.purge.applied == seq).await;
    }
    assert_eq!(edges.first.get("/a").await.text(), "v2");
}

/// RFC 9111 §4.3.4, RFC 9110 §15.4.5: a shield's 304 carries all that the app's changed, or the edge would go on with fields of before.
#[tokio::test]
async fn what_a_validation_changes_reaches_the_edge_behind_the_shield() {
    let (edges, asked, _origin) = edges(|n, _| match n {
        1 => ok(
            "ETag: \"a\"\r\nCache-Control: max-age=1\r\nAge: 5\r\nX: old\r\nContent-Type: text/plain\r\n",
            "body",
        ),
        _ => "HTTP/1.1 304 X\r\nETag: \"a\"\r\nCache-Control: max-age=60\r\nX: new\r\nContent-Type: text/css\r\n\r\n".to_owned(),
    })
    .await;
    assert_eq!(edges.first.get("/a").await.header("x"), "old");
    for how in ["fwd=stale; fwd-status=304", "hit"] {
        let got = edges.first.get("/a").await;
        let said = got.header("cache-status");
        assert!(said.contains(&format!("\"banyan-edge\"; {how}")), "{said}");
        assert_eq!(
            (got.header("x"), got.header("content-type")),
            ("new".to_owned(), "text/css".to_owned()),
            "{how}"
        );
        assert_eq!(
            (got.text().as_str(), got.header("content-length").as_str()),
            ("body", "4")
        );
    }
    assert_eq!(asked.count(), 2);
}
