//! SIGTERM: not ready, still serving, `Connection: close`, exit 0, and nothing lost on the way.

use std::cell::Cell;
use std::time::Duration;

use banyan_testkit::http::Client;
use banyan_testkit::wait;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{LIMIT, World};

#[tokio::test]
async fn a_stopping_instance_serves_on_says_not_ready_and_exits_0() {
    let world = World::new().await;
    let mut app = world.ready("web.1").await;
    assert!(!app.get("/api/tags").await.headers().contains_key("connection"));
    app.process.signal(Signal::TERM);
    app.wait_for("/readyz", 503).await;
    let answer = app.get("/api/tags").await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["connection"]),
        (200, &"close".parse().unwrap())
    );
    let status = app.process.ended(LIMIT).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", app.process.stderr());
}

#[tokio::test]
async fn a_request_in_flight_is_finished() {
    let world = World::new().await;
    let mut app = world.ready("web.1").await;
    let mut slow = TcpStream::connect(app.address).await.unwrap();
    let body = br#"{"user":{"email":"a@b","password":"x"}}"#;
    let head = format!(
        "POST /api/users/login HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(&body[..5]).await.unwrap();
    // The server has taken this connection before the ones after it.
    app.get("/healthz").await;
    app.process.signal(Signal::TERM);
    wait::until("accepting to end", LIMIT, async || {
        match TcpStream::connect(app.address).await {
            Ok(_) => Err("it accepts"),
            Err(_) => Ok(()),
        }
    })
    .await
    .unwrap();
    assert!(app.process.has_ended().is_none(), "{}", app.process.stderr());
    slow.write_all(&body[5..]).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    let status = app.process.ended(LIMIT).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", app.process.stderr());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let world = World::new().await;
    let mut app = world.ready("web.1").await;
    let mut hanging = TcpStream::connect(app.address).await.unwrap();
    hanging
        .write_all(b"POST /api/users/login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        .await
        .unwrap();
    app.get("/healthz").await;
    app.process.signal(Signal::TERM);
    app.wait_for("/readyz", 503).await;
    app.process.signal(Signal::TERM);
    let status = app.process.ended(LIMIT).await.unwrap();
    assert_eq!(status.code(), Some(1), "{}", app.process.stderr());
    assert!(
        app.process.stderr().contains("second signal"),
        "{}",
        app.process.stderr()
    );
}

/// A load balancer in small: sends to the ready instances, leaves out whichever says 503.
#[tokio::test]
async fn stops_in_turn_under_load_fail_no_request() {
    const ROUNDS: usize = 6;
    let world = World::new().await;
    let mut apps = vec![world.ready("web.1").await, world.ready("web.2").await];
    let mut served = 0;
    for round in 0..ROUNDS {
        let mut next = world.ready(&format!("web.{}", round + 3)).await;
        let leaving = apps.remove(0);
        let in_rotation = apps[0].address;
        let clients = [
            Client::keep_alive(leaving.address),
            Client::keep_alive(leaving.address),
            Client::keep_alive(in_rotation),
        ];
        leaving.process.signal(Signal::TERM);
        // The balancer still sends to it until it has seen 503 from /readyz.
        let probe = Client::fresh_connections(leaving.address);
        let out = Cell::new(false);
        let seen = async {
            while probe
                .get("/readyz")
                .await
                .is_ok_and(|answer| answer.status() == 200)
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            out.set(true);
        };
        let requests = async {
            while !out.get() {
                let (a, b, c) = tokio::join!(
                    clients[0].get("/api/articles"),
                    clients[1].get("/api/tags"),
                    clients[2].get("/api/articles")
                );
                for answer in [a, b, c] {
                    assert_eq!(answer.unwrap().status(), 200, "round {round}");
                    served += 1;
                }
            }
        };
        tokio::join!(seen, requests);
        std::mem::swap(&mut apps[0], &mut next);
        apps.push(next);
        let mut leaving = leaving;
        let status = leaving.process.ended(LIMIT).await.unwrap();
        assert_eq!(status.code(), Some(0), "{}", leaving.process.stderr());
    }
    assert!(served >= ROUNDS * 3);
}
