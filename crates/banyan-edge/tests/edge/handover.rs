//! One edge takes over from another under load: no connection is refused, none that was accepted is lost.

use std::sync::Arc;
use std::time::Duration;

use banyan_runtime::handover::{Door, Passed};
use banyan_runtime::listener::bind_per_core;
use banyan_testkit::http::Client;
use banyan_testkit::ledger::Outcome;
use banyan_testkit::load::{Answer, Load};
use banyan_testkit::upstream::Upstream;
use banyan_testkit::wait;

use crate::world::{World, get, listener};

const PATIENCE: Duration = Duration::from_secs(120);

impl World {
    /// Another edge has taken over and serves; the old one was told to end.
    async fn replaced(&self) -> World {
        let mut new = self.successor();
        new.until(|r| !r.listening.is_empty()).await;
        self.drain();
        new
    }
}

/// Half on fresh connections, half on kept ones.
fn load(world: &World, per_second: u32) -> Load {
    let clients = Arc::new([
        Client::fresh_connections(world.address()),
        Client::keep_alive(world.address()),
    ]);
    Load::start(per_second, move |number| {
        let clients = Arc::clone(&clients);
        async move {
            let (kind, client) =
                [("fresh", &clients[0]), ("kept", &clients[1])][usize::from(number % 2 == 1)];
            let (outcome, detail) = match client.get("/").await {
                Ok(answer) if answer.status() == 200 => (Outcome::Acknowledged, String::new()),
                Ok(answer) => (Outcome::Unknown, answer.status().to_string()),
                Err(failure) => (Outcome::Unknown, failure.to_string()),
            };
            Answer {
                kind,
                outcome,
                detail,
            }
        }
    })
}

async fn more(load: &Load, count: u64) {
    let goal = load.answered() + count;
    let reached = async || {
        if load.answered() >= goal {
            Ok(())
        } else {
            Err(load.answered())
        }
    };
    wait::until("the load to go on", PATIENCE, reached).await.unwrap();
}

async fn failures(load: Load) -> Vec<String> {
    let report = load.stop().await;
    let failures = report.failures();
    failures
        .iter()
        .map(|sample| format!("{:?} {}", sample.at, sample.answer.detail))
        .collect()
}

/// The sockets are passed on so many times in a row, each time between edges with these numbers of threads.
async fn over_and_over(times: usize, per_second: u32, workers: &[u16]) {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let mut world = World::start(&[upstream.address]).await;
    let address = world.address();
    let load = load(&world, per_second);
    more(&load, 50).await;
    let mut old = Vec::new();
    for round in 0..times {
        // What the next one starts with, and what the running one takes without a restart.
        let threads = workers[round % workers.len()];
        world.publish(|s| s.settings.workers = Some(threads)).await;
        let new = world.replaced().await;
        assert_eq!(new.address(), address);
        old.push(std::mem::replace(&mut world, new));
        more(&load, u64::from(per_second / 20)).await;
    }
    for mut old in old {
        old.ended().await;
    }
    assert_eq!(failures(load).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_hand_overs_under_load_fail_nothing() {
    over_and_over(20, 1000, &[2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_number_of_threads_loses_no_queue() {
    over_and_over(8, 500, &[4, 1, 3]).await;
}

#[tokio::test]
async fn what_is_in_flight_ends_in_the_old_edge_and_new_connections_go_to_the_new_one() {
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let gate = Arc::new(tokio::sync::Mutex::new(Some(gone)));
    let upstream = Upstream::start(move |mut wire| {
        let gate = Arc::clone(&gate);
        async move {
            while let Some(request) = wire.message().await {
                if request.target() == "/slow" {
                    gate.lock().await.take().unwrap().await.unwrap();
                }
                wire.answer(200, "ok").await;
            }
        }
    })
    .await;
    let mut old = World::start(&[upstream.address]).await;
    let mut slow = old.client().await;
    slow.send(get("/slow")).await;
    old.until(|r| r.totals.in_flight == 1).await;
    let mut new = old.replaced().await;
    old.until(|r| r.listening.is_empty()).await;
    assert_eq!(new.get("/").await.status(), 200);
    new.until(|r| r.totals.requests == 1).await;
    go.send(()).unwrap();
    let answer = slow.message().await.unwrap();
    assert_eq!(
        (answer.status(), answer.header("connection").as_str()),
        (200, "close")
    );
    drop(slow);
    old.ended().await;
}

#[tokio::test]
async fn a_tunnel_outlives_the_hand_over_until_the_drains_limit() {
    let upstream = Upstream::start(|mut wire| async move {
        wire.message().await;
        wire.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        wire.rest().await;
    })
    .await;
    let mut old = World::with(&[upstream.address], |s| {
        s.settings.timeouts.drain = Duration::from_secs(2)
    })
    .await;
    let mut tunnel = old.client().await;
    tunnel
        .send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(tunnel.head().await.unwrap().status(), 101);
    let _new = old.replaced().await;
    old.until(|r| r.listening.is_empty()).await;
    assert_eq!(old.handle.report().totals.in_flight, 1);
    old.ended().await;
    assert_eq!(tunnel.rest().await, [0x88, 2, 0x03, 0xe9], "a close frame: 1001");
}

/// It dies after it has the sockets: the old one serves as before, and can still be replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_edge_that_dies_costs_nothing() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let old = World::start(&[upstream.address]).await;
    let load = load(&old, 500);
    more(&load, 50).await;
    for _ in 0..3 {
        let mut failing = old.successor();
        failing.until(|r| !r.listening.is_empty()).await;
        failing.drain();
        failing.ended().await;
        more(&load, 50).await;
    }
    let mut old = old;
    // Its door was taken over; it opens another within a second.
    let path = old.dir.path().join("handover.sock");
    let found = async || std::os::unix::net::UnixStream::connect(&path).map_err(|error| error.to_string());
    wait::until("the old edge to be found again", PATIENCE, found)
        .await
        .unwrap();
    let _new = old.replaced().await;
    old.ended().await;
    assert_eq!(failures(load).await, Vec::<String>::new());
}

/// A killed edge leaves the file of its socket behind; the next one binds.
#[tokio::test]
async fn after_a_death_the_next_edge_binds() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let mut old = World::start(&[upstream.address]).await;
    let address = old.address();
    old.publish(|s| s.listeners = vec![listener(address)]).await;
    old.drain();
    old.ended().await;
    assert!(old.dir.path().join("handover.sock").exists());
    let mut new = old.successor();
    new.until(|r| r.listening == [address]).await;
    assert_eq!(new.get("/").await.status(), 200);
}

/// One that is too busy hangs up; binding anew instead would lose what waits in its queues.
#[tokio::test]
async fn a_running_edge_that_hangs_up_is_asked_again() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let mut old = World::start(&[upstream.address]).await;
    old.drain();
    old.ended().await;
    // Plays the running edge.
    let door = Door::open(&old.dir.path().join("handover.sock")).unwrap();
    let asked = old.snapshot.listeners[0].address;
    let sockets = bind_per_core(asked, 2).unwrap();
    let address = sockets[0].local_addr().unwrap();
    let sockets: Vec<Passed> = sockets
        .into_iter()
        .map(|socket| Passed {
            asked,
            socket: socket.into(),
        })
        .collect();
    let mut new = old.successor();
    for _ in 0..2 {
        drop(door.asked().await.unwrap());
    }
    door.asked().await.unwrap().give(&sockets).unwrap();
    new.until(|r| r.listening == [address]).await;
    assert_eq!(new.get("/").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "a minute long: 100 hand-overs, some 100,000 requests"]
async fn a_hundred_hand_overs_under_load_fail_nothing() {
    over_and_over(100, 1500, &[2]).await;
}
