//! `aggregate`: one answer of several processes' answers, over real sockets.

use std::sync::Arc;
use std::time::Duration;

use banyan_config::{Aggregate, OnFailure, Part, PathMatch, Route, RouteAction, RouteMatch};
use banyan_testkit::upstream::{Message, Upstream};
use banyan_topology::snapshot;
use tokio::sync::Barrier;

use crate::routes::route;
use crate::world::{World, get, post};

fn part(name: &str, process: &str, path: &str, on_failure: OnFailure) -> Part {
    Part {
        name: name.to_owned(),
        process: process.parse().unwrap(),
        path: path.to_owned(),
        timeout: Duration::from_secs(10),
        on_failure,
        max: 1000,
    }
}

/// At `/dash/NUMBER`.
fn dashboard(parts: Vec<Part>) -> Route {
    let when = RouteMatch {
        path: PathMatch::Regex("^/dash/(?P<id>[^/]+)$".to_owned()),
        ..RouteMatch::default()
    };
    let aggregate = Aggregate {
        parts,
        timeout: Duration::from_secs(10),
        headers: vec!["authorization".to_owned(), "accept-language".to_owned()],
    };
    route("dash", when, RouteAction::Aggregate(aggregate))
}

/// A process of one instance besides `web`.
fn process(name: &str, upstream: &Upstream) -> snapshot::Upstream {
    let mut endpoint = crate::world::endpoint(1, upstream.address);
    endpoint.id = format!("{name}.1@r1").parse().unwrap();
    snapshot::Upstream {
        process: name.parse().unwrap(),
        ready: None,
        proxy_protocol: None,
        endpoints: vec![endpoint],
    }
}

async fn world(web: &Upstream, users: &Upstream, parts: Vec<Part>) -> World {
    World::with(&[web.address], |s| {
        s.others = vec![process("users", users)];
        s.routes = vec![dashboard(parts)];
    })
    .await
}

async fn ask(world: &World, path: &str, fields: &str) -> Message {
    world
        .ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: app.example\r\n{fields}\r\n"
        ))
        .await
}

/// Answers by path: JSON that says what arrived, or what goes wrong.
async fn service(name: &'static str) -> Upstream {
    Upstream::start(move |mut wire| async move {
        while let Some(request) = wire.message().await {
            let (status, body) = match request.target() {
                "/missing" => (404, "{}".to_owned()),
                "/broken" => (500, "{}".to_owned()),
                "/moved" => (302, "{}".to_owned()),
                "/html" => (200, "<html>".to_owned()),
                "/large" => (200, format!("\"{}\"", "a".repeat(2000))),
                "/nothing" => (204, String::new()),
                "/gone" => return,
                "/silent" => {
                    let _until_the_edge_leaves = wire.message().await;
                    return;
                }
                target => {
                    let names = [
                        "authorization",
                        "cookie",
                        "accept",
                        "accept-encoding",
                        "x-forwarded-for",
                        "if-none-match",
                    ];
                    let fields = names.map(|name| request.header(name)).join(",");
                    (
                        200,
                        format!("{{\"by\":\"{name}\",\"target\":\"{target}\",\"fields\":\"{fields}\"}}"),
                    )
                }
            };
            if status == 204 {
                wire.send("HTTP/1.1 204 X\r\n\r\n").await;
            } else {
                wire.answer(status, &body).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn parts_are_asked_at_the_same_time_and_answer_as_one() {
    // Nobody answers before both were asked.
    let both = Arc::new(Barrier::new(2));
    let waiting = || {
        let both = Arc::clone(&both);
        async move {
            Upstream::start(move |mut wire| {
                let both = Arc::clone(&both);
                async move {
                    while let Some(request) = wire.message().await {
                        both.wait().await;
                        wire.answer(200, &format!("[\"{}\"]", request.target())).await;
                    }
                }
            })
            .await
        }
    };
    let (web, users) = (waiting().await, waiting().await);
    let parts = vec![
        part("user", "users", "/users/{id}", OnFailure::Fail),
        part("cart", "web", "/cart{query}", OnFailure::Fail),
    ];
    let world = world(&web, &users, parts).await;
    let answer = ask(&world, "/dash/7%20b?x=1", "").await;
    assert_eq!(
        answer.text(),
        "{\"user\":[\"/users/7%20b\"],\"cart\":[\"/cart?x=1\"]}\n"
    );
    let said = ["content-type", "cache-control", "x-partial", "set-cookie"].map(|name| answer.header(name));
    assert_eq!(
        (answer.status(), said.each_ref().map(String::as_str)),
        (200, ["application/json", "no-cache", "", ""])
    );
    assert_ne!(answer.header("x-request-id"), "");
}

#[tokio::test]
async fn parts_get_the_listed_headers_and_what_the_edge_says() {
    let (web, users) = (service("web").await, service("users").await);
    let world = world(&web, &users, vec![part("one", "users", "/x", OnFailure::Fail)]).await;
    let fields = "Authorization: Bearer t\r\nCookie: a=1\r\nAccept: text/html\r\nAccept-Encoding: gzip\r\nIf-None-Match: *\r\nConnection: x-forwarded-for\r\nX-Forwarded-For: 6.6.6.6\r\n";
    let answer = ask(&world, "/dash/7", fields).await;
    assert_eq!(
        answer.text(),
        "{\"one\":{\"by\":\"users\",\"target\":\"/x\",\"fields\":\"Bearer t,,application/json,,127.0.0.1,\"}}\n"
    );
    assert_eq!(answer.header("cache-control"), "private, no-cache");
    let mut client = world.client().await;
    client.send(get("/dash/7").replacen("GET", "HEAD", 1)).await;
    let head = client.head().await.unwrap();
    assert_ne!(head.header("content-length"), "");
    client.send(get("/dash/7")).await;
    assert_eq!(
        client.message().await.unwrap().status(),
        200,
        "nothing follows a HEAD"
    );
    assert_eq!(world.ask(&post("/dash/7", "{}")).await.status(), 405);
    assert_eq!(ask(&world, "/dash/..", "").await.status(), 400);
}

#[tokio::test]
async fn what_fails_is_left_out_noted_or_fails_the_whole() {
    let (web, users) = (service("web").await, service("users").await);
    use OnFailure::{Fail, Note, Null, Omit};
    let ok = || part("ok", "users", "/nothing", Fail);
    let mut world = world(&web, &users, vec![ok()]).await;
    for (policy, path, status, text, partial) in [
        (Omit, "/missing", 200, "{\"ok\":null}\n", "bad"),
        (Null, "/broken", 200, "{\"ok\":null,\"bad\":null}\n", "bad"),
        (
            Note,
            "/html",
            200,
            "{\"ok\":null,\"bad\":{\"error\":\"its answer is no JSON\",\"status\":502}}\n",
            "bad",
        ),
        (
            Note,
            "/missing",
            200,
            "{\"ok\":null,\"bad\":{\"error\":\"it answered 404\",\"status\":404}}\n",
            "bad",
        ),
        (Null, "/large", 200, "{\"ok\":null,\"bad\":null}\n", "bad"),
        (Null, "/gone", 200, "{\"ok\":null,\"bad\":null}\n", "bad"),
        (Fail, "/missing", 404, "", ""),
        (Fail, "/broken", 502, "", ""),
        (Fail, "/moved", 502, "", ""),
        (Fail, "/gone", 502, "", ""),
    ] {
        world
            .publish(|s| s.routes = vec![dashboard(vec![ok(), part("bad", "web", path, policy)])])
            .await;
        let answer = ask(&world, "/dash/7", "").await;
        let told = (answer.status(), answer.header("x-partial"));
        assert_eq!(told, (status, partial.to_owned()), "{policy:?} {path}");
        if status == 200 {
            assert_eq!(answer.text(), text, "{policy:?} {path}");
        } else {
            assert!(answer.text().contains("`bad`"), "{}", answer.text());
        }
    }
    let all = vec![
        part("a", "web", "/missing", Omit),
        part("b", "web", "/broken", Null),
    ];
    world.publish(|s| s.routes = vec![dashboard(all)]).await;
    assert_eq!(
        ask(&world, "/dash/7", "").await.status(),
        404,
        "nothing at all is no answer"
    );
}

#[tokio::test]
async fn who_is_too_slow_is_not_waited_for_and_a_failed_whole_waits_for_nobody() {
    let (web, users) = (service("web").await, service("users").await);
    let mut slow = part("slow", "web", "/silent", OnFailure::Note);
    slow.timeout = Duration::from_millis(200);
    let ok = part("ok", "users", "/nothing", OnFailure::Fail);
    let mut world = world(&web, &users, vec![slow.clone(), ok]).await;
    let answer = ask(&world, "/dash/7", "").await;
    assert!(answer.text().contains("\"status\":504"), "{}", answer.text());
    // Its own ten minutes are not spent.
    slow.timeout = Duration::from_secs(600);
    let fails = part("bad", "users", "/missing", OnFailure::Fail);
    world
        .publish(|s| {
            s.routes = vec![dashboard(vec![slow, fails])];
            if let RouteAction::Aggregate(aggregate) = &mut s.routes[0].action {
                aggregate.timeout = Duration::from_secs(600);
            }
        })
        .await;
    assert_eq!(ask(&world, "/dash/7", "").await.status(), 404);
    // Each part counts with its process.
    let report = world
        .soon(|report| report.processes.iter().map(|p| p.requests).sum::<u64>() == 4)
        .await;
    assert_eq!(report.totals.requests, 2);
}
