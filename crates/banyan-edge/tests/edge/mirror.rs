//! Copies of requests: what they are, what they leave out, and that nobody notices them.

use std::time::Duration;

use banyan_config::{Metrics, Mirror, Protocol, Route, RouteAction};
use banyan_testkit::upstream::{Message, Upstream, Wire};
use http::{Method, Request};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::h2_peer::{self, Instance, read, say, soon};
use crate::metrics::page;
use crate::routes::{group, prefix, route, to};
use crate::world::{World, get, post};

fn mirrored(change: impl FnOnce(&mut Mirror)) -> Route {
    let mut route = route("shop", prefix("/shop"), to("web", None));
    let mut mirror = Mirror {
        process: "next".parse().unwrap(),
        percent: 100,
        unsafe_methods: true,
        body: 64 * 1024,
        at_once: 100,
    };
    change(&mut mirror);
    if let RouteAction::Process(forward) = &mut route.action {
        forward.mirror = Some(mirror);
    }
    route
}

/// An edge before `web`, which answers, with copies for `next`.
async fn world(web: &Upstream, next: &Upstream, change: impl FnOnce(&mut Mirror)) -> World {
    let mut world = World::with(&[web.address], |s| {
        s.others = vec![group("next", &[next])];
        s.routes = vec![mirrored(change)];
        let listen = "127.0.0.1:0".parse().unwrap();
        s.settings.metrics = Some(Metrics { listen });
    })
    .await;
    // A copy waits for no instance.
    world.settled().await;
    world
}

async fn web() -> Upstream {
    Upstream::answering(|request| format!("web {}", request.text())).await
}

/// Tells what it is asked, and answers like that.
async fn telling(answer: &'static str) -> (Upstream, UnboundedReceiver<Message>) {
    let (told, heard) = unbounded_channel();
    let upstream = Upstream::start(move |mut wire: Wire| {
        let told = told.clone();
        async move {
            while let Some(request) = wire.message().await {
                let _gone = told.send(request);
                wire.send(answer).await;
            }
        }
    })
    .await;
    (upstream, heard)
}

const FINE: &str = "HTTP/1.1 200 X\r\nContent-Length: 4\r\n\r\nnext";
const BAD: &str = "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n";

/// Waits until a count of the page holds.
async fn counted(world: &World, name: &str, label: &str, holds: impl Fn(f64) -> bool) {
    soon(async {
        while !holds(page(world).await.sum(name, &[label, "http_route=\"shop\""])) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_copy_is_the_request_with_a_mark_and_its_answer_is_nobodys() {
    let (web, (next, mut copies)) = (web().await, telling(FINE).await);
    let world = world(&web, &next, |_| {}).await;
    let answer = world
        .ask("GET /shop/1?x=2 HTTP/1.1\r\nHost: app.example\r\nX-Own: 3\r\nX-Banyan-Mirror: me\r\n\r\n")
        .await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "web "));
    let copy = soon(copies.recv()).await.unwrap();
    assert_eq!(copy.start, "GET /shop/1?x=2 HTTP/1.1");
    assert_eq!(copy.header("host"), "app.example");
    assert_eq!(
        (copy.header("x-own"), copy.header("x-banyan-mirror")),
        ("3".into(), "shop".into())
    );
    assert_eq!(copy.header("x-forwarded-for"), "127.0.0.1");
    // One id for both.
    assert_eq!(copy.header("x-request-id"), answer.header("x-request-id"));
    let answer = world.ask(&post("/shop/2", "a body")).await;
    assert_eq!(answer.text(), "web a body");
    let copy = soon(copies.recv()).await.unwrap();
    assert_eq!(
        (copy.start.as_str(), copy.text().as_str()),
        ("POST /shop/2 HTTP/1.1", "a body")
    );
    let chunked = "POST /shop/3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    assert_eq!(world.ask(chunked).await.text(), "web abcde");
    let copy = soon(copies.recv()).await.unwrap();
    assert_eq!(
        (copy.text().as_str(), copy.header("content-length").as_str()),
        ("abcde", "5")
    );
    counted(
        &world,
        "banyan_edge_mirrored_requests_total",
        "outcome=\"answered\"",
        |count| count == 3.0,
    )
    .await;
    // Elsewhere nothing is copied.
    assert_eq!(world.get("/").await.status(), 200);
    assert_eq!(world.logged(4).await.len(), 4);
    assert!(copies.try_recv().is_err());
}

#[tokio::test]
async fn what_changes_something_is_not_copied_unasked_and_shares_are_kept() {
    let (web, (next, mut copies)) = (web().await, telling(FINE).await);
    let world = world(&web, &next, |mirror| {
        mirror.unsafe_methods = false;
        mirror.percent = 50;
    })
    .await;
    for _ in 0..5 {
        assert_eq!(world.ask(&post("/shop", "x")).await.text(), "web x");
    }
    for _ in 0..60 {
        assert_eq!(world.ask(&get("/shop")).await.status(), 200);
    }
    let first = soon(copies.recv()).await.unwrap();
    assert!(first.start.starts_with("GET "));
    world.logged(65).await;
    let mut more = 1;
    while let Ok(copy) = copies.try_recv() {
        assert!(copy.start.starts_with("GET "));
        more += 1;
    }
    assert!((10..=50).contains(&more), "{more} of 60");
}

#[tokio::test]
async fn a_silent_failing_or_absent_mirror_changes_nothing_for_the_request() {
    let web = web().await;
    let silent =
        Upstream::start(|mut wire: Wire| async move { while wire.message().await.is_some() {} }).await;
    let slow = world(&web, &silent, |mirror| {
        mirror.at_once = 2;
        mirror.body = 10;
    })
    .await;
    for _ in 0..40 {
        assert_eq!(slow.ask(&get("/shop")).await.status(), 200);
    }
    // Two at once per worker hang; all others are left out.
    counted(
        &slow,
        "banyan_edge_mirror_dropped_total",
        "reason=\"busy\"",
        |count| count > 0.0,
    )
    .await;
    let (failing, mut copies) = telling(BAD).await;
    let world = world(&web, &failing, |mirror| mirror.body = 10).await;
    for _ in 0..10 {
        assert_eq!(world.ask(&get("/shop")).await.status(), 200);
        soon(copies.recv()).await.unwrap();
    }
    counted(
        &world,
        "banyan_edge_mirrored_requests_total",
        "outcome=\"failed\"",
        |count| count == 10.0,
    )
    .await;
    let report = world.handle.report();
    assert!(
        report.endpoints.iter().all(|endpoint| endpoint.ejected.is_none()),
        "{report:?}"
    );
    assert_eq!(
        world.ask(&post("/shop", "more than ten bytes")).await.text(),
        "web more than ten bytes"
    );
    counted(
        &world,
        "banyan_edge_mirror_dropped_total",
        "reason=\"body\"",
        |count| count == 1.0,
    )
    .await;
    failing.kill().await;
    for _ in 0..10 {
        assert_eq!(world.ask(&get("/shop")).await.status(), 200);
    }
}

#[tokio::test]
async fn requests_over_http2_are_copied_to_instances_that_speak_it() {
    let web = web().await;
    let (told, mut heard) = unbounded_channel();
    let next = Instance::start(move |request: h2_peer::Asked, reply| {
        let told = told.clone();
        async move {
            let (head, mut body) = request.into_parts();
            let text = read(&mut body).await.map(|(text, _)| text).unwrap_or_default();
            let _gone = told.send((head.method, head.uri.path().to_owned(), head.headers, text));
            say(reply, "next");
        }
    })
    .await;
    let mut world = World::with(&[web.address], |s| {
        let mut group = group("next", &[&web]);
        group.endpoints[0].address = next.address;
        group.endpoints[0].protocol = Protocol::H2;
        s.others = vec![group];
        s.routes = vec![mirrored(|_| {})];
    })
    .await;
    world.settled().await;
    let client = h2_peer::Client::connect(&world).await;
    let ask = |method: Method| {
        Request::builder()
            .method(method)
            .uri("http://a/shop/x")
            .body(())
            .unwrap()
    };
    let (_, text, _) = client.ask(ask(Method::GET), None).await;
    assert_eq!(text, "web ");
    let (method, path, headers, _) = soon(heard.recv()).await.unwrap();
    assert_eq!((method, path.as_str()), (Method::GET, "/shop/x"));
    assert_eq!(headers["x-banyan-mirror"], "shop");
    let (_, text, _) = client.ask(ask(Method::POST), Some("some text")).await;
    assert_eq!(text, "web some text");
    let (method, _, _, text) = soon(heard.recv()).await.unwrap();
    assert_eq!((method, text.as_str()), (Method::POST, "some text"));
}
