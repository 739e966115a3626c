//! The end of the role: nothing that was accepted is lost, nothing waits for ever.

use std::time::Duration;

use banyan_testkit::upstream::Upstream;

use crate::snapshots::Load;
use crate::world::{World, get};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_loses_no_request() {
    let upstream = Upstream::answering(|r| r.text()).await;
    let mut world = World::start(&[upstream.address]).await;
    let load = Load::start(&world, 16);
    load.more(200).await;
    world.drain();
    world.ended().await;
    assert_eq!(load.stop().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_its_connection_closed() {
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let gate = std::sync::Arc::new(tokio::sync::Mutex::new(Some(gone)));
    let upstream = Upstream::start(move |mut wire| {
        let gate = gate.clone();
        async move {
            if wire.message().await.is_some() {
                let gate = gate.lock().await.take();
                gate.unwrap().await.unwrap();
                wire.answer(200, "late").await;
            }
        }
    })
    .await;
    let mut world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    client.send(get("/")).await;
    world.until(|r| r.totals.in_flight == 1).await;
    let address = world.address();
    world.drain();
    world.until(|r| r.listening.is_empty()).await;
    assert!(
        std::net::TcpStream::connect(address).is_err(),
        "new connections are not taken"
    );
    go.send(()).unwrap();
    let answer = client.message().await.unwrap();
    assert_eq!(
        (answer.text().as_str(), answer.header("connection").as_str()),
        ("late", "close")
    );
    drop(client);
    world.ended().await;
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let mut world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    client.send(get("/")).await;
    assert_eq!(client.message().await.unwrap().status(), 200);
    world.drain();
    assert!(client.rest().await.is_empty());
    drop(client);
    world.ended().await;
}

#[tokio::test]
async fn tunnels_and_hung_requests_end_with_the_limit() {
    let upstream = Upstream::start(|mut wire| async move {
        if let Some(request) = wire.message().await
            && request.target() == "/ws"
        {
            wire.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
                .await;
        }
        wire.rest().await;
    })
    .await;
    let mut world = World::with(&[upstream.address], |s| {
        s.settings.timeouts.drain = Duration::from_millis(1500);
    })
    .await;
    let (mut tunnel, mut hung) = (world.client().await, world.client().await);
    tunnel
        .send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(tunnel.head().await.unwrap().status(), 101);
    hung.send(get("/")).await;
    world.until(|r| r.totals.in_flight == 2).await;
    world.drain();
    world.ended().await;
    // A close frame: 1001.
    assert_eq!(tunnel.rest().await, [0x88, 2, 0x03, 0xe9]);
    assert!(hung.rest().await.is_empty());
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let upstream = Upstream::start(|mut wire| async move {
        wire.message().await;
        wire.rest().await;
    })
    .await;
    let mut world = World::with(&[upstream.address], |s| {
        s.settings.timeouts.drain = Duration::from_secs(3600);
        s.settings.timeouts.response = Duration::from_secs(3600);
    })
    .await;
    let mut client = world.client().await;
    client.send(get("/")).await;
    world.until(|r| r.totals.in_flight == 1).await;
    world.drain();
    world.until(|r| r.listening.is_empty()).await;
    world.end_now();
    world.ended().await;
    assert!(client.rest().await.is_empty());
}
