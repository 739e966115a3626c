//! WebSocket and its like: a tunnel after the 101, and never before.

use banyan_testkit::upstream::{Upstream, Wire};

use crate::world::{World, get};

const ASK: &str =
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

async fn echo(mut wire: Wire) {
    let Some(request) = wire.message().await else {
        return;
    };
    assert_eq!(
        (
            request.header("connection").as_str(),
            request.header("upgrade").as_str()
        ),
        ("upgrade", "websocket")
    );
    wire.send(AGREE).await;
    while let Some(line) = wire.line().await {
        wire.send(format!("echo {line}\n")).await;
    }
    wire.send("bye\n").await;
}

#[tokio::test]
async fn bytes_flow_both_ways_and_each_side_ends_by_itself() {
    let upstream = Upstream::start(echo).await;
    let mut world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    client.send(ASK).await;
    let answer = client.head().await.unwrap();
    assert_eq!(
        (answer.status(), answer.header("upgrade").as_str()),
        (101, "websocket")
    );
    client.send("one\n").await;
    assert_eq!(client.line().await.unwrap(), "echo one");
    world.until(|r| r.endpoints[0].in_flight == 1).await;
    client.send("two\n").await;
    client.finish().await;
    assert_eq!(client.rest().await, b"echo two\nbye\n");
    world.until(|r| r.endpoints[0].in_flight == 0).await;
}

#[tokio::test]
async fn bytes_sent_before_the_101_wait_for_it() {
    let upstream = Upstream::start(|mut wire| async move {
        if wire.message().await.is_none() {
            return;
        }
        // Whatever came with the request would be here by now if it had been passed on.
        let early = tokio::time::timeout(std::time::Duration::from_millis(200), wire.bytes(1)).await;
        assert!(early.is_err(), "a byte came before the 101");
        wire.send(AGREE).await;
        let line = wire.line().await.unwrap();
        wire.send(format!("got {line}\n")).await;
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    client.send(format!("{ASK}early\n")).await;
    assert_eq!(client.head().await.unwrap().status(), 101);
    assert_eq!(client.line().await.unwrap(), "got early");
}

#[tokio::test]
async fn a_refused_upgrade_stays_http() {
    let upstream = Upstream::answering(|r| format!("no {}", r.target())).await;
    let world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    client.send([ASK, &get("/next")].concat()).await;
    assert_eq!(client.message().await.unwrap().text(), "no /ws");
    assert_eq!(client.message().await.unwrap().text(), "no /next");
}

#[tokio::test]
async fn http2_in_clear_text_is_not_offered_to_the_upstream() {
    let upstream =
        Upstream::answering(|r| format!("[{}{}]", r.header("upgrade"), r.header("http2-settings"))).await;
    let world = World::start(&[upstream.address]).await;
    let answer = world
        .ask(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        )
        .await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "[]"));
}

#[tokio::test]
async fn an_upstream_that_switches_unasked_is_a_bad_gateway() {
    let upstream = Upstream::start(|mut wire| async move {
        if wire.message().await.is_some() {
            wire.send(AGREE).await;
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    assert_eq!(world.get("/").await.status(), 502);
}
