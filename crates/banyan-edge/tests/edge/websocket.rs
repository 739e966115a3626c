//! WebSockets: over HTTP/2 as well, closed with a word when they are silent or the edge ends, counted while they last.

use std::time::Duration;

use bytes::Bytes;
use h2::ext::Protocol;
use http::{Method, Request};

use banyan_testkit::upstream::{Upstream, Wire};

use crate::h2_peer::{Client, read, soon};
use crate::world::{World, get};

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
const AGREE: &str = "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
/// Close, 1001.
const GOODBYE: &[u8] = &[0x88, 2, 0x03, 0xe9];
/// As a client says it.
const GOODBYE_MASKED: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];

/// Agrees, sends half a frame, and the rest when it gets the first half of one; tells what else it got.
async fn halves(mut wire: Wire, told: tokio::sync::mpsc::UnboundedSender<Vec<u8>>) {
    if wire.message().await.is_none() {
        return;
    }
    wire.send(AGREE).await;
    wire.send([0x82, 4, b'a', b'b']).await;
    if wire.bytes(3).await.is_none() {
        return;
    }
    // The edge has had time to want to say something meanwhile; it must not do so here.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    wire.send([b'c', b'd']).await;
    let _nobody = told.send(wire.rest().await);
}

#[tokio::test]
async fn a_silent_websocket_is_closed_between_two_frames_on_both_sides() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::start(move |wire| halves(wire, told.clone())).await;
    let mut world = World::with(&[upstream.address], |s| {
        s.settings.timeouts.websocket = Duration::from_secs(1);
    })
    .await;
    let mut client = world.client().await;
    client.send(ASK).await;
    assert_eq!(client.head().await.unwrap().status(), 101);
    assert_eq!(client.bytes(4).await.unwrap(), [0x82, 4, b'a', b'b']);
    // A whole frame of one byte, but for that byte; it comes when the time is over.
    client.send([0x82, 0x81, 0]).await;
    assert_eq!(client.bytes(2).await.unwrap(), b"cd");
    assert_eq!(client.bytes(4).await.unwrap(), GOODBYE);
    client.send([0, 0, 0, b'x']).await;
    assert!(client.rest().await.is_empty());
    let rest = soon(heard.recv()).await.unwrap();
    assert_eq!(rest, [&[0, 0, 0, b'x'], GOODBYE_MASKED].concat());
    world.soon(|r| r.endpoints[0].in_flight == 0).await;
    assert_eq!(world.logged(1).await[0]["outcome"], "answered");
}

#[tokio::test]
async fn extended_connect_reaches_an_instance_as_an_upgrade() {
    let upstream = Upstream::start(|mut wire: Wire| async move {
        let Some(request) = wire.message().await else {
            return;
        };
        if request.target() == "/no" {
            return wire.answer(403, "no").await;
        }
        assert_eq!(request.start, "GET /ws?x=1 HTTP/1.1");
        assert_eq!(request.header("upgrade"), "websocket");
        assert_eq!(request.header("connection"), "upgrade");
        assert_eq!(request.header("sec-websocket-version"), "13");
        assert_eq!(request.header("sec-websocket-key").len(), 24);
        wire.send(AGREE).await;
        while let Some(line) = wire.line().await {
            wire.send(format!("echo {line}\n")).await;
        }
        wire.send("bye\n").await;
    })
    .await;
    let mut world = World::start(&[upstream.address]).await;
    let client = Client::connect(&world).await;
    let connect = |path: &str| {
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(format!("http://a{path}"))
            .header("sec-websocket-version", "13")
            .body(())
            .unwrap();
        request
            .extensions_mut()
            .insert(Protocol::from_static("websocket"));
        request
    };
    // The client may only ask so once it knows that it is understood.
    soon(async {
        while !client.sender.is_extended_connect_protocol_enabled() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let (answer, mut to) = client.send(connect("/ws?x=1"), false).await;
    let (head, mut body) = soon(answer).await.unwrap().into_parts();
    assert_eq!(head.status, 200);
    assert_eq!(head.headers["sec-websocket-protocol"], "chat");
    assert!(!head.headers.contains_key("sec-websocket-accept") && !head.headers.contains_key("upgrade"));
    to.send_data(Bytes::from_static(b"one\n"), false).unwrap();
    let heard = soon(body.data()).await.unwrap().unwrap();
    assert_eq!(heard, "echo one\n");
    body.flow_control().release_capacity(heard.len()).unwrap();
    world.until(|r| r.endpoints[0].in_flight == 1).await;
    to.send_data(Bytes::from_static(b"two\n"), true).unwrap();
    let (rest, _) = soon(read(&mut body)).await.unwrap();
    assert_eq!(rest, "echo two\nbye\n");
    world.until(|r| r.endpoints[0].in_flight == 0).await;
    let (answer, _to) = client.send(connect("/no"), false).await;
    assert_eq!(
        soon(answer).await.unwrap().status(),
        403,
        "an instance may refuse"
    );
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri("a:443")
        .body(())
        .unwrap();
    let (answer, _to) = client.send(request, false).await;
    assert_eq!(
        soon(answer).await.unwrap().status(),
        405,
        "a plain CONNECT is not served"
    );
}

#[tokio::test]
async fn a_websocket_counts_as_a_request_until_its_end() {
    let upstream = Upstream::start(|mut wire: Wire| async move {
        while let Some(request) = wire.message().await {
            if request.target() == "/ws" {
                wire.send(AGREE).await;
                wire.rest().await;
                return;
            }
            wire.answer(200, "free").await;
        }
    })
    .await;
    let world = World::with(&[upstream.address], |s| {
        s.settings.queue.max_connections = Some(1);
        s.settings.queue.wait = Duration::from_millis(100);
    })
    .await;
    let mut client = world.client().await;
    client.send(ASK).await;
    assert_eq!(client.head().await.unwrap().status(), 101);
    assert_eq!(world.get("/").await.status(), 503);
    drop(client);
    soon(async { while world.get("/").await.status() != 200 {} }).await;
    assert!(get("/").starts_with("GET"));
}
