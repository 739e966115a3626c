//! Cross-origin requests: pre-flights, whose pages may read an answer, and that caches keep them apart.

use std::time::Duration;

use banyan_config::{Cors, Filters};
use banyan_testkit::upstream::{Message, Upstream};

use super::auth::only;
use super::{asking, route};
use crate::world::World;

fn cors(origins: &[&str], credentials: bool) -> Filters {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    Filters {
        cors: Some(Cors {
            origins: names(origins),
            methods: names(&["GET", "PUT"]),
            headers: names(if credentials { &["*"] } else { &["x-one", "x-two"] }),
            expose: names(&["x-total"]),
            credentials,
            max_age: Duration::from_secs(600),
        }),
        ..Filters::default()
    }
}

/// `/any` for everybody, `/shop` for pages of the shop with credentials, `/closed` behind a log-in.
async fn world() -> (World, Upstream) {
    let upstream = Upstream::start(|mut wire| async move {
        while wire.message().await.is_some() {
            wire.send(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nVary: Accept\r\nAccess-Control-Allow-Origin: *\r\n\
                 Access-Control-Allow-Credentials: true\r\n\r\nok",
            )
            .await;
        }
    })
    .await;
    let world = World::with(&[upstream.address], |s| {
        let mut closed = only(&["nobody"]);
        closed.cors = cors(&["https://shop.example"], true).cors;
        let users = banyan_config::AuthBy::Users {
            file: "/dev/null".into(),
        };
        s.settings.auth = [("nobody".to_owned(), super::auth::auth(users))].into();
        s.routes = vec![
            route("any", cors(&["*"], false)),
            route(
                "shop",
                cors(&["https://shop.example", "https://*.shop.example"], true),
            ),
            route("closed", closed),
        ];
    })
    .await;
    (world, upstream)
}

fn from(origin: &str) -> String {
    format!("Origin: {origin}\r\n")
}

fn preflight(path: &str, origin: &str) -> String {
    asking(
        path,
        &format!(
            "Origin: {origin}\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-three\r\n"
        ),
    )
    .replacen("GET", "OPTIONS", 1)
}

fn said(answer: &Message) -> [String; 3] {
    [
        answer.header("access-control-allow-origin"),
        answer.header("access-control-allow-credentials"),
        answer.header("vary"),
    ]
}

#[tokio::test]
async fn what_the_app_says_is_replaced_and_a_named_origin_is_kept_apart_by_caches() {
    let (world, _upstream) = world().await;
    for (path, more, origin, credentials, vary) in [
        ("/any", from("https://x.example"), "*", "", "Accept"),
        ("/any", String::new(), "", "", "Accept"),
        (
            "/shop",
            from("https://shop.example"),
            "https://shop.example",
            "true",
            "Accept|Origin",
        ),
        (
            "/shop",
            from("https://a.shop.example"),
            "https://a.shop.example",
            "true",
            "Accept|Origin",
        ),
        ("/shop", from("https://evil.example"), "", "", "Accept|Origin"),
        ("/shop", from("null"), "", "", "Accept|Origin"),
        ("/shop", String::new(), "", "", "Accept|Origin"),
        ("/other", from("https://x.example"), "*", "true", "Accept"),
    ] {
        let answer = world.ask(&asking(path, &more)).await;
        assert_eq!(answer.text(), "ok");
        let [found, with, vary_all] = said(&answer);
        assert_eq!(
            (found.as_str(), with.as_str()),
            (origin, credentials),
            "{path} {more}"
        );
        assert_eq!(vary_all, vary, "{path} {more}");
    }
}

#[tokio::test]
async fn preflights_are_answered_by_the_edge_without_a_login() {
    let (world, upstream) = world().await;
    let before = upstream.connections();
    let answer = world.ask(&preflight("/closed", "https://shop.example")).await;
    assert_eq!(answer.status(), 204);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://shop.example"
    );
    assert_eq!(answer.header("access-control-allow-methods"), "GET, PUT");
    assert_eq!(
        answer.header("access-control-allow-headers"),
        "x-three",
        "any: what was asked for"
    );
    assert_eq!(answer.header("access-control-max-age"), "600");
    let any = world.ask(&preflight("/any", "https://x.example")).await;
    assert_eq!(any.header("access-control-allow-headers"), "x-one, x-two");
    assert_eq!(any.header("access-control-allow-origin"), "*");
    let foreign = world.ask(&preflight("/shop", "https://evil.example")).await;
    assert_eq!((foreign.status(), said(&foreign)[0].as_str()), (403, ""));
    assert_eq!(upstream.connections(), before);
    // Without the question it is a request like any other.
    let options = asking("/any", &from("https://x.example")).replacen("GET", "OPTIONS", 1);
    assert_eq!(world.ask(&options).await.text(), "ok");
}

#[tokio::test]
async fn a_page_may_read_why_it_was_refused() {
    let (world, _upstream) = world().await;
    let answer = world.ask(&asking("/closed", &from("https://shop.example"))).await;
    assert_eq!(
        (answer.status(), said(&answer)[0].as_str()),
        (401, "https://shop.example")
    );
    assert_eq!(answer.header("access-control-expose-headers"), "x-total");
}
