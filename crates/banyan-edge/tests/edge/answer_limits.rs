//! How long and how large an instance's answer may be, for the edge and for a route.

use std::time::Duration;

use banyan_config::{
    Forward, HeaderEdit, PathMatch, Route, RouteAction, RouteBounds, RouteMatch, Share, SplitBy,
};
use banyan_testkit::upstream::Upstream;

use crate::world::{World, get};

fn route(name: &str, bounds: RouteBounds) -> Route {
    Route {
        name: name.to_owned(),
        when: RouteMatch {
            path: PathMatch::Prefix(format!("/{name}")),
            ..RouteMatch::default()
        },
        bounds,
        action: RouteAction::Process(Forward {
            shares: vec![Share {
                process: "web".parse().unwrap(),
                weight: 1,
            }],
            sticky: SplitBy::None,
            rewrite: None,
            mirror: None,
            backup: None,
        }),
        request_headers: HeaderEdit::default(),
        response_headers: HeaderEdit::default(),
    }
}

/// Answers `/…/length/N` with so many bytes, `/…/chunks/N` with so many in chunks, `/…/header/N` with such a header, and
/// `/…/never` not at all.
async fn upstream() -> Upstream {
    Upstream::start(|mut wire| async move {
        while let Some(request) = wire.message().await {
            let target = request.target().to_owned();
            let mut parts = target.rsplit('/');
            let count: usize = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
            let text = "x".repeat(count);
            match parts.next() {
                Some("length") => wire.answer(200, &text).await,
                Some("chunks") => {
                    let half = format!("{:x}\r\n{}\r\n", count / 2, "x".repeat(count / 2));
                    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                    wire.send(format!("{head}{half}{half}0\r\n\r\n")).await;
                }
                Some("header") => {
                    wire.send(format!(
                        "HTTP/1.1 200 OK\r\nbig: {text}\r\nContent-Length: 0\r\n\r\n"
                    ))
                    .await;
                }
                _ => {
                    wire.rest().await;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn an_answer_over_the_limit_is_502_or_broken_off_and_routes_have_their_own() {
    let upstream = upstream().await;
    let world = World::with(&[upstream.address], |s| {
        s.settings.limits.response_body = Some(1000);
        s.settings.limits.response_header = Some(2000);
        s.routes = vec![
            route(
                "small",
                RouteBounds {
                    response_body: Some(100),
                    response_header: Some(1024),
                    ..RouteBounds::default()
                },
            ),
            route("same", RouteBounds::default()),
        ];
    })
    .await;
    for (path, status) in [
        ("/length/1000", 200),
        ("/length/1001", 502),
        ("/same/length/1001", 502),
        ("/small/length/100", 200),
        ("/small/length/101", 502),
        ("/chunks/1000", 200),
        ("/header/1900", 200),
        ("/header/2000", 502),
        ("/small/header/900", 200),
        ("/small/header/1500", 502),
    ] {
        assert_eq!(world.get(path).await.status(), status, "{path}");
    }
    let mut client = world.client().await;
    client.send(get("/chunks/1002")).await;
    let text = String::from_utf8_lossy(&client.rest().await).into_owned();
    assert!(
        text.starts_with("HTTP/1.1 200") && !text.contains("\r\n0\r\n"),
        "{text}"
    );
    let lines = world.logged(11).await;
    let of = |path: &str| lines.iter().find(|line| line["path"] == path).unwrap()["outcome"].clone();
    assert_eq!(
        (of("/length/1001"), of("/chunks/1002")),
        ("unknown".into(), "unknown".into())
    );
    assert_eq!(of("/chunks/1000"), "answered");
}

#[tokio::test]
async fn a_route_may_give_less_time_or_more_than_the_edge() {
    let upstream = upstream().await;
    let bounds = |ms| RouteBounds {
        timeout: Some(Duration::from_millis(ms)),
        ..RouteBounds::default()
    };
    let mut world = World::with(&[upstream.address], |s| {
        s.settings.timeouts.response = Duration::from_secs(600);
        s.routes = vec![route("quick", bounds(200))];
    })
    .await;
    assert_eq!(world.get("/quick/never").await.status(), 504);
    world
        .publish(|s| {
            s.settings.timeouts.response = Duration::from_millis(200);
            s.routes = vec![route("patient", bounds(600_000))];
        })
        .await;
    let mut patient = world.client().await;
    patient.send(get("/patient/never")).await;
    // Begun later and over: the other still waits.
    assert_eq!(world.get("/never").await.status(), 504);
    let waits = tokio::time::timeout(Duration::from_millis(20), patient.message()).await;
    assert!(waits.is_err(), "{waits:?}");
}
