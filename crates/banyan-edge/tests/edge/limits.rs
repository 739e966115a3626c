//! What is too much or too slow, and that the answer arrives.

use std::time::Duration;

use banyan_testkit::upstream::Upstream;

use crate::world::{World, get};

async fn world(upstream: &Upstream) -> World {
    World::with(&[upstream.address], |s| {
        s.settings.limits.body = 1000;
        s.settings.timeouts.header = Duration::from_millis(300);
    })
    .await
}

#[tokio::test]
async fn too_large_heads_are_refused_before_anyone_sees_them() {
    let upstream = Upstream::answering(|r| panic!("got {r:?}")).await;
    let world = world(&upstream).await;
    let many = "a: b\r\n".repeat(101);
    for (request, status) in [
        (
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000)),
            414,
        ),
        (format!("GET /{}", "x".repeat(40_000)), 414),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nBig: {}\r\n\r\n", "x".repeat(33_000)),
            431,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nBig: {}", "x".repeat(33_000)),
            431,
        ),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
    ] {
        let answer = world.ask(&request).await;
        assert_eq!(
            (answer.status(), answer.header("connection").as_str()),
            (status, "close")
        );
    }
}

#[tokio::test]
async fn heads_within_the_limits_pass() {
    let upstream = Upstream::answering(|r| r.header("big").len().to_string()).await;
    let world = world(&upstream).await;
    let request = format!(
        "GET /{} HTTP/1.1\r\nHost: a\r\nBig: {}\r\n\r\n",
        "x".repeat(8000),
        "x".repeat(24_000)
    );
    assert_eq!(world.ask(&request).await.text(), "24000");
    let many: String = (0..99).map(|i| format!("h{i}: v\r\n")).collect();
    assert_eq!(
        world
            .ask(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"))
            .await
            .status(),
        200
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_however_it_is_framed() {
    let upstream = Upstream::answering(|r| r.text()).await;
    let world = world(&upstream).await;
    let chunk = format!("200\r\n{}\r\n", "x".repeat(512));
    for request in [
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n{}",
            "x".repeat(1001)
        ),
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
            chunk.repeat(4)
        ),
    ] {
        assert_eq!(world.ask(&request).await.status(), 413);
    }
    let fits = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{}",
        "x".repeat(1000)
    );
    assert_eq!(world.ask(&fits).await.status(), 200);
}

#[tokio::test]
async fn a_huge_refused_upload_still_hears_why() {
    let upstream = Upstream::answering(|r| r.text()).await;
    let world = world(&upstream).await;
    let mut client = world.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n")
        .await;
    client.send("x".repeat(1_000_000)).await;
    assert_eq!(client.message().await.unwrap().status(), 413);
}

#[tokio::test]
async fn a_head_that_drips_is_408() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let world = world(&upstream).await;
    let mut client = world.client().await;
    client.send(get("/")).await;
    assert_eq!(client.message().await.unwrap().status(), 200);
    client.send("GET / HT").await;
    let drip = async {
        loop {
            client.send("T").await;
            if let Ok(answer) = tokio::time::timeout(Duration::from_millis(20), client.message()).await {
                return answer;
            }
        }
    };
    assert_eq!(drip.await.unwrap().status(), 408);
}

#[tokio::test]
async fn a_connection_that_never_asks_is_closed() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let world = world(&upstream).await;
    assert!(world.client().await.rest().await.is_empty());
}

#[tokio::test]
async fn a_body_that_crawls_is_408() {
    let upstream = Upstream::answering(|r| r.text()).await;
    let world = World::with(&[upstream.address], |s| s.settings.limits.body_rate = 500).await;
    let mut client = world.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx")
        .await;
    assert_eq!(client.message().await.unwrap().status(), 408);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_request_upstream() {
    let upstream = Upstream::start(|mut wire| async move {
        wire.message().await;
        wire.rest().await;
    })
    .await;
    let mut world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    client.send(get("/")).await;
    world.until(|r| r.endpoints[0].in_flight == 1).await;
    drop(client);
    world.until(|r| r.endpoints[0].in_flight == 0).await;
    assert_eq!(world.logged(1).await[0]["status"], 499);
}
