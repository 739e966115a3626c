//! Answers to clients that speak HTTP/1: their framing, and what becomes of the connection.

use std::time::Duration;

use banyan_config::RouteAction;
use banyan_testkit::upstream::{Upstream, Wire};

use crate::routes::{prefix, route};
use crate::world::{World, get, post};

async fn chunked() -> Upstream {
    Upstream::start(|mut wire: Wire| async move {
        while wire.message().await.is_some() {
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
                .await;
        }
    })
    .await
}

#[tokio::test]
async fn an_old_client_may_keep_its_connection_where_the_length_is_known() {
    let upstream = Upstream::answering(|_| "known".to_owned()).await;
    let world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    for _ in 0..2 {
        client
            .send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            .await;
        let answer = client.message().await.unwrap();
        assert_eq!(answer.start, "HTTP/1.0 200 X");
        assert_eq!(
            (answer.header("connection").as_str(), answer.text().as_str()),
            ("keep-alive", "known")
        );
    }
}

#[tokio::test]
async fn an_old_client_hears_the_end_of_an_unknown_length_by_the_close() {
    let upstream = chunked().await;
    let world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    client
        .send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        .await;
    let answer = client.message().await.unwrap();
    assert_eq!(
        (answer.header("connection").as_str(), answer.text().as_str()),
        ("close", "abc")
    );
}

#[tokio::test]
async fn every_answer_has_one_date_and_the_instances_own_if_it_has_one() {
    let upstream = Upstream::start(|mut wire: Wire| async move {
        while let Some(request) = wire.message().await {
            let date = if request.target() == "/own" {
                "Date: then\r\n"
            } else {
                ""
            };
            wire.send(format!("HTTP/1.1 200 Fine\r\n{date}Content-Length: 0\r\n\r\n"))
                .await;
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    let own = world.get("/own").await;
    assert_eq!(
        (own.header("date").as_str(), own.start.as_str()),
        ("then", "HTTP/1.1 200 Fine")
    );
    let added = world.get("/").await.header("date");
    assert!(added.ends_with(" GMT") && added.len() == 29, "{added}");
}

#[tokio::test]
async fn trailers_reach_only_who_understands_them() {
    let upstream = Upstream::start(|mut wire: Wire| async move {
        while wire.message().await.is_some() {
            wire.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\nHost: evil\r\n\r\n",
            )
            .await;
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    assert_eq!(world.get("/").await.trailers, []);
    let asked = world
        .ask("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n")
        .await;
    assert_eq!(asked.trailers, [("x-sum".to_owned(), "1".to_owned())]);
}

async fn closed_to_all() -> World {
    let upstream = Upstream::answering(|r| r.text()).await;
    World::with(&[upstream.address], |snapshot| {
        snapshot.routes = vec![route(
            "closed",
            prefix("/closed"),
            RouteAction::Respond {
                status: 403,
                body: "no".to_owned(),
                content_type: "text/plain".to_owned(),
            },
        )];
    })
    .await
}

#[tokio::test]
async fn a_body_that_nobody_wants_costs_the_connection_only_where_it_is_not_here() {
    let world = closed_to_all().await;
    let mut client = world.client().await;
    client.send(post("/closed", &"x".repeat(2000))).await;
    let answer = client.message().await.unwrap();
    assert_eq!((answer.status(), answer.header("connection").as_str()), (403, ""));
    client
        .send("POST /closed HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\npart")
        .await;
    let answer = client.message().await.unwrap();
    assert_eq!(
        (answer.status(), answer.header("connection").as_str()),
        (403, "close")
    );
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn a_client_that_was_not_told_to_go_on_is_not_waited_for() {
    let world = closed_to_all().await;
    let mut client = world.client().await;
    client
        .send("POST /closed HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .await;
    let answer = client.head().await.unwrap();
    assert_eq!(
        (answer.status(), answer.header("connection").as_str()),
        (403, "close")
    );
}

#[tokio::test]
async fn the_answer_to_head_has_no_body_whoever_answers() {
    let world = closed_to_all().await;
    let mut client = world.client().await;
    client
        .send(format!(
            "HEAD /closed HTTP/1.1\r\nHost: a\r\n\r\n{}",
            get("/closed")
        ))
        .await;
    let head = client.head().await.unwrap();
    assert_eq!(
        (head.status(), head.header("content-length").as_str()),
        (403, "2")
    );
    assert_eq!(client.message().await.unwrap().text(), "no");
}

#[tokio::test]
async fn a_slow_reader_gets_all_of_it_and_holds_nobody_up() {
    let upstream = Upstream::answering(|r| match r.target() {
        "/large" => "0123456789abcdef".repeat(1 << 20),
        _ => "small".to_owned(),
    })
    .await;
    let world = World::with(&[upstream.address], |s| s.settings.workers = Some(1)).await;
    let mut slow: Vec<Wire> = Vec::new();
    for _ in 0..4 {
        let mut client = world.client().await;
        client.send(get("/large")).await;
        slow.push(client);
    }
    for _ in 0..50 {
        assert_eq!(world.get("/small").await.text(), "small");
    }
    for mut client in slow {
        let answer = client.message().await.unwrap();
        assert!(answer.text() == "0123456789abcdef".repeat(1 << 20), "not whole");
    }
}

#[tokio::test]
async fn an_upload_goes_on_while_the_client_does_not_read_the_answer() {
    const SIZE: usize = 16 << 20;
    // More than the way to the client holds, less than both ways do.
    const EARLY: usize = 3 << 20;
    let upstream = Upstream::start(|mut wire: Wire| async move {
        let Some(_head) = wire.head().await else { return };
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"))
            .await;
        // It fills the way to the client, then reads.
        wire.send(vec![b'y'; EARLY]).await;
        assert_eq!(wire.bytes(SIZE).await.map(|body| body.len()), Some(SIZE));
        wire.send(vec![b'y'; SIZE - EARLY]).await;
    })
    .await;
    let world = World::with(&[upstream.address], |s| s.settings.limits.body = 1 << 30).await;
    let mut client = world.client().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n"
        ))
        .await;
    let body = vec![b'x'; SIZE];
    tokio::time::timeout(Duration::from_secs(60), client.send(&body))
        .await
        .expect("the upload stands still");
    let answer = client.message().await.unwrap();
    assert_eq!(answer.body.len(), SIZE);
}

#[tokio::test]
async fn an_upload_that_an_early_answer_left_standing_ends() {
    let upstream = Upstream::start(|mut wire: Wire| async move {
        if wire.head().await.is_some() {
            wire.answer(202, "taken").await;
        }
        // It reads nothing more, and stays.
        std::future::pending::<()>().await;
    })
    .await;
    let world = World::with(&[upstream.address], |s| {
        s.settings.limits.body = 1 << 30;
        s.settings.timeouts.idle = Duration::from_millis(300);
    })
    .await;
    let mut client = world.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        .await;
    assert_eq!(client.message().await.unwrap().status(), 202);
    let body = vec![b'x'; 100_000_000];
    tokio::time::timeout(Duration::from_secs(60), client.send(&body))
        .await
        .expect("the connection is still there");
}
