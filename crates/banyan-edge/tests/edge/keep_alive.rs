//! Connections are used again on both sides, in order, and closed when asked.

use banyan_testkit::upstream::Upstream;

use crate::world::{World, get, post};

#[tokio::test]
async fn requests_share_a_connection_on_both_sides() {
    let upstream = Upstream::answering(|r| r.target().to_owned()).await;
    let world = World::with(&[upstream.address], |s| s.settings.workers = Some(1)).await;
    let checks = upstream.connections();
    let mut client = world.client().await;
    for number in 0..50 {
        client.send(get(&format!("/{number}"))).await;
        assert_eq!(client.message().await.unwrap().text(), format!("/{number}"));
    }
    let report = world.handle.report();
    assert!(
        upstream.connections() <= checks + 2,
        "{} connections; {report:?}",
        upstream.connections()
    );
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::answering(|r| format!("{}:{}", r.target(), r.text())).await;
    let world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    client
        .send([get("/1"), post("/2", "body"), get("/3"), get("/4")].concat())
        .await;
    for expected in ["/1:", "/2:body", "/3:", "/4:"] {
        assert_eq!(client.message().await.unwrap().text(), expected);
    }
}

#[tokio::test]
async fn close_is_honoured_and_not_passed_on() {
    let upstream = Upstream::answering(|r| r.header("connection")).await;
    let world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let answer = client.message().await.unwrap();
    assert_eq!(
        (answer.text().as_str(), answer.header("connection").as_str()),
        ("", "close")
    );
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn an_upstream_that_closes_after_each_answer_costs_no_request() {
    let upstream = Upstream::start(|mut wire| async move {
        if wire.message().await.is_some() {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                .await;
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    for _ in 0..20 {
        client.send(post("/", "x")).await;
        assert_eq!(client.message().await.unwrap().text(), "ok");
    }
}

#[tokio::test]
async fn http_1_0_is_served_and_closed() {
    let upstream = Upstream::start(|mut wire| async move {
        while let Some(request) = wire.message().await {
            assert!(request.start.ends_with("HTTP/1.1") && !request.header("host").is_empty());
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
                .await;
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    let answer = world.ask("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "abc"));
    assert_eq!(answer.header("transfer-encoding"), "");
}

#[tokio::test]
async fn an_idle_client_is_closed_in_silence() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let idle = std::time::Duration::from_millis(200);
    let world = World::with(&[upstream.address], |s| s.settings.timeouts.idle = idle).await;
    let mut client = world.client().await;
    client.send(get("/")).await;
    assert_eq!(client.message().await.unwrap().status(), 200);
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn a_client_that_keeps_asking_is_never_taken_for_idle() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let limit = std::time::Duration::from_millis(400);
    let world = World::with(&[upstream.address], |s| {
        (s.settings.timeouts.header, s.settings.timeouts.idle) = (limit, limit);
    })
    .await;
    let mut client = world.client().await;
    // Pauses far shorter than the limits, for longer than both.
    for number in 0..60 {
        client.send(get("/")).await;
        let answer = client.message().await;
        assert_eq!(
            answer.map(|a| a.status()),
            Some(200),
            "closed after {number} requests"
        );
        tokio::time::sleep(limit / 20).await;
    }
}
