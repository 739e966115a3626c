//! Change without loss: snapshots under load, refused ones, another address; and what the controller is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use banyan_runtime::control::Listener;
use banyan_runtime::watched;
use banyan_testkit::upstream::{Upstream, Wire};
use banyan_topology::Epoch;
use banyan_topology::report::RoleReport;
use banyan_topology::snapshot::EndpointState;
use tokio::task::JoinSet;

use crate::world::{World, endpoint, listener, post};

/// Clients that post one after the other on kept connections until stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    pub answered: Arc<AtomicUsize>,
    clients: JoinSet<Vec<String>>,
}

impl Load {
    pub(crate) fn start(world: &World, clients: usize) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut set = JoinSet::new();
        for _ in 0..clients {
            let (address, stop, answered) = (world.address(), Arc::clone(&stop), Arc::clone(&answered));
            set.spawn(async move {
                let mut failures = Vec::new();
                let mut wire = Wire::connect(address).await;
                while !stop.load(Ordering::SeqCst) {
                    wire.send(post("/", "body")).await;
                    match wire.message().await {
                        Some(answer) if answer.status() == 200 => {
                            answered.fetch_add(1, Ordering::SeqCst);
                            if answer.header("connection") == "close" {
                                match tokio::net::TcpStream::connect(address).await {
                                    Ok(stream) => wire = Wire::new(stream),
                                    // A drained edge is gone: no request was lost.
                                    Err(_) => return failures,
                                }
                            }
                        }
                        other => {
                            failures.push(format!("{other:?}"));
                            return failures;
                        }
                    }
                }
                failures
            });
        }
        Self {
            stop,
            answered,
            clients: set,
        }
    }

    /// Waits until so many more were answered.
    pub(crate) async fn more(&self, count: usize) {
        let goal = self.answered.load(Ordering::SeqCst) + count;
        while self.answered.load(Ordering::SeqCst) < goal {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }

    pub(crate) async fn stop(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        let mut failures = Vec::new();
        while let Some(found) = self.clients.join_next().await {
            failures.extend(found.unwrap());
        }
        failures
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_come_drain_and_go_under_load_without_a_failure() {
    let mut upstreams = vec![Upstream::answering(|r| r.text()).await];
    let mut world = World::start(&[upstreams[0].address]).await;
    let load = Load::start(&world, 8);
    for round in 2..8 {
        load.more(50).await;
        upstreams.push(Upstream::answering(|r| r.text()).await);
        let new = endpoint(round, upstreams[1].address);
        world.publish(|s| s.upstream.endpoints.push(new)).await;
        world.until(|r| r.endpoints.iter().all(|e| e.healthy)).await;
        load.more(50).await;
        world
            .publish(|s| s.upstream.endpoints[0].state = EndpointState::Draining)
            .await;
        world.until(|r| r.endpoints[0].in_flight == 0).await;
        // Drained: it may be killed before the snapshot without it.
        upstreams.remove(0).kill().await;
        load.more(20).await;
        world.publish(|s| drop(s.upstream.endpoints.remove(0))).await;
    }
    assert_eq!(load.stop().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_drain_is_reported_empty_only_when_the_last_answer_ended() {
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let gate = Arc::new(tokio::sync::Mutex::new(Some(gone)));
    let upstream = Upstream::start(move |mut wire| {
        let gate = Arc::clone(&gate);
        async move {
            if wire.message().await.is_some() {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab").await;
                let gate = gate.lock().await.take();
                gate.unwrap().await.unwrap();
                wire.send("cd").await;
            }
        }
    })
    .await;
    let mut world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    client.send(post("/", "x")).await;
    assert_eq!(client.head().await.unwrap().status(), 200);
    world
        .publish(|s| s.upstream.endpoints[0].state = EndpointState::Draining)
        .await;
    assert_eq!(world.handle.report().endpoints[0].in_flight, 1);
    go.send(()).unwrap();
    assert_eq!(client.bytes(4).await.unwrap(), b"abcd");
    world.until(|r| r.endpoints[0].in_flight == 0).await;
}

#[tokio::test]
async fn older_and_broken_snapshots_are_refused_and_the_last_good_one_served() {
    let upstream = Upstream::answering(|_| "good".to_owned()).await;
    let mut world = World::start(&[upstream.address]).await;
    let path = world.dir.path().join("snapshots/edge.json");
    let good = world.snapshot.clone();

    world.snapshot.epoch = Epoch(9);
    world.snapshot.upstream.endpoints.clear();
    world.put();
    let why = world.until(|r| r.refused.is_some()).await.refused.unwrap();
    assert!(why.contains("9 is older than 10"), "{why}");

    watched::replace(&path, b"{torn").unwrap();
    world
        .until(|r| r.refused.as_ref().is_some_and(|why| why.contains("edge.json")))
        .await;

    world.snapshot = good.clone();
    world.snapshot.epoch = Epoch(11);
    world
        .snapshot
        .upstream
        .endpoints
        .push(good.upstream.endpoints[0].clone());
    world.put();
    let why = world
        .until(|r| r.refused.as_ref().is_some_and(|why| why.contains("twice")))
        .await;
    assert_eq!(
        (why.epoch, world.get("/").await.text().as_str()),
        (Epoch(10), "good")
    );

    world.snapshot = good;
    world.snapshot.epoch = Epoch(12);
    world.put();
    world.until(|r| r.epoch == Epoch(12) && r.refused.is_none()).await;
    assert_eq!(world.get("/").await.text(), "good");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_address_is_bound_before_the_old_one_is_given_up() {
    let upstream = Upstream::answering(|r| r.text()).await;
    let mut world = World::start(&[upstream.address]).await;
    let old = world.address();
    let load = Load::start(&world, 4);
    load.more(50).await;
    let new = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    world.publish(|s| s.listeners = vec![listener(new)]).await;
    world.until(|r| r.listening == [new]).await;
    // Kept connections go on; new ones find the new address only.
    load.more(50).await;
    assert_eq!(load.stop().await, Vec::<String>::new());
    assert!(std::net::TcpStream::connect(old).is_err());
    assert_eq!(world.get("/").await.status(), 200);
}

#[tokio::test]
async fn an_address_in_use_is_reported_and_the_old_one_served() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let mut world = World::start(&[upstream.address]).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    world.snapshot.listeners = vec![listener(taken.local_addr().unwrap())];
    world.snapshot.epoch = world.snapshot.epoch.next();
    world.put();
    let why = world.until(|r| r.refused.is_some()).await.refused.unwrap();
    assert!(why.contains("in use"), "{why}");
    assert_eq!(world.get("/").await.status(), 200);
    // Free again: taken without another snapshot.
    drop(taken);
    let epoch = world.snapshot.epoch;
    world.until(|r| r.epoch == epoch && r.refused.is_none()).await;
    assert_eq!(world.get("/").await.status(), 200);
}

#[tokio::test]
async fn the_same_port_on_all_addresses_can_be_taken_over() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let mut world = World::start(&[upstream.address]).await;
    let everywhere = std::net::SocketAddr::from(([0, 0, 0, 0], world.address().port()));
    world.publish(|s| s.listeners = vec![listener(everywhere)]).await;
    world.until(|r| r.listening == [everywhere]).await;
    let port = everywhere.port();
    let mut client = Wire::connect(std::net::SocketAddr::from(([127, 0, 0, 1], port))).await;
    client.send(post("/", "x")).await;
    assert_eq!(client.message().await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_controller_is_told_and_told_again_after_it_came_back() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let world = World::start(&[upstream.address]).await;
    let path = world.dir.path().join("report.sock");
    for _ in 0..2 {
        let controller = Listener::bind(&path).unwrap();
        let mut edge = controller.accept().await.unwrap();
        let Some(RoleReport::Edge(report)) = edge.receive().await.unwrap() else {
            panic!("no report")
        };
        assert_eq!((report.epoch, report.pid), (Epoch(10), std::process::id()));
        assert!(report.endpoints[0].healthy && report.listening.len() == 1);
    }
    assert_eq!(world.get("/").await.status(), 200);
}
