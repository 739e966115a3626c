//! The limit per instance and the line behind it: exact over all cores, oldest first, bounded.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use banyan_testkit::upstream::{Upstream, Wire};
use tokio::sync::{Semaphore, mpsc};

use crate::snapshots::Load;
use crate::world::{World, endpoint, get};

/// Answers when it is allowed to; tells what came, and the most it had at once.
struct Gated {
    upstream: Upstream,
    allowed: Arc<Semaphore>,
    came: mpsc::UnboundedReceiver<String>,
    most: Arc<AtomicUsize>,
}

impl Gated {
    async fn start() -> Self {
        let (allowed, most) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let now = Arc::new(AtomicUsize::new(0));
        let (tell, came) = mpsc::unbounded_channel();
        let (permits, highest) = (Arc::clone(&allowed), Arc::clone(&most));
        let upstream = Upstream::start(move |mut wire: Wire| {
            let (permits, highest, now, tell) = (
                Arc::clone(&permits),
                Arc::clone(&highest),
                Arc::clone(&now),
                tell.clone(),
            );
            async move {
                while let Some(request) = wire.message().await {
                    highest.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tell.send(request.target().to_owned()).unwrap_or_default();
                    permits.acquire().await.unwrap().forget();
                    now.fetch_sub(1, Ordering::SeqCst);
                    wire.answer(200, "done").await;
                }
            }
        })
        .await;
        Self {
            upstream,
            allowed,
            came,
            most,
        }
    }
}

async fn world(upstreams: &[&Gated], limit: u32) -> World {
    let addresses: Vec<_> = upstreams.iter().map(|u| u.upstream.address).collect();
    World::with(&addresses, |s| {
        s.settings.queue.max_connections = Some(limit);
        s.settings.workers = Some(4);
    })
    .await
}

#[tokio::test]
async fn the_limit_holds_over_all_cores() {
    let gated = [Gated::start().await, Gated::start().await];
    let world = world(&[&gated[0], &gated[1]], 3).await;
    for gate in &gated {
        gate.allowed.add_permits(100_000);
    }
    let load = Load::start(&world, 40);
    load.more(2000).await;
    assert_eq!(load.stop().await, [""; 0]);
    for gate in &gated {
        let most = gate.most.load(Ordering::SeqCst);
        assert!((1..=3).contains(&most), "{most} at once");
    }
}

#[tokio::test]
async fn the_oldest_is_served_first_whatever_core_it_is_on() {
    let mut gated = Gated::start().await;
    let mut world = world(&[&gated], 1).await;
    let mut clients = Vec::new();
    for number in 0..12_u64 {
        let mut client = world.client().await;
        client.send(get(&format!("/{number}"))).await;
        world
            .soon(|r| r.totals.in_flight == number + 1 && r.totals.queue_length == number)
            .await;
        clients.push(client);
    }
    gated.allowed.add_permits(12);
    for number in 0..12 {
        assert_eq!(gated.came.recv().await.unwrap(), format!("/{number}"));
    }
    for mut client in clients {
        assert_eq!(client.message().await.unwrap().status(), 200);
    }
    let report = world.soon(|r| r.totals.in_flight == 0).await;
    assert_eq!(report.totals.queue_length, 0);
    assert!(report.totals.queue_p99_us.unwrap() > 1000, "{:?}", report.totals);
}

#[tokio::test]
async fn past_its_length_or_its_time_the_line_answers_503_with_retry_after() {
    let gated = Gated::start().await;
    let mut world = world(&[&gated], 1).await;
    world
        .publish(|s| {
            s.settings.queue.length = 1;
            s.settings.queue.wait = Duration::from_millis(1500);
        })
        .await;
    let mut first = world.client().await;
    first.send(get("/first")).await;
    world.soon(|r| r.totals.in_flight == 1).await;
    let mut second = world.client().await;
    second.send(get("/second")).await;
    world.soon(|r| r.totals.queue_length == 1).await;
    // Full: at once.
    let third = world.get("/third").await;
    assert_eq!((third.status(), third.header("retry-after").as_str()), (503, "1"));
    // Too long.
    let second = second.message().await.unwrap();
    assert_eq!(
        (second.status(), second.header("retry-after").as_str()),
        (503, "1")
    );
    assert!(second.text().contains("more to do than it can"));
    gated.allowed.add_permits(1);
    assert_eq!(first.message().await.unwrap().status(), 200);
    let report = world.soon(|r| r.totals.in_flight == 0).await;
    assert_eq!(report.totals.shed, 2);
}

#[tokio::test]
async fn a_stuck_instance_starves_nobody() {
    let (stuck, fast) = (Gated::start().await, Gated::start().await);
    let world = world(&[&stuck, &fast], 2).await;
    fast.allowed.add_permits(100_000);
    let clients = (0..2).map(|_| world.client());
    let mut lost = Vec::new();
    for client in clients {
        lost.push(client.await);
    }
    // These fill the stuck one, or are answered by the other.
    for client in &mut lost {
        client.send(get("/")).await;
    }
    let load = Load::start(&world, 30);
    while stuck.most.load(Ordering::SeqCst) < 2 {
        load.more(10).await;
    }
    load.more(1000).await;
    stuck.allowed.add_permits(100_000);
    assert_eq!(load.stop().await, [""; 0]);
    assert!(stuck.most.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_waits_leaves_no_gap() {
    let mut gated = Gated::start().await;
    let mut world = world(&[&gated], 1).await;
    for round in 0..10 {
        let mut first = world.client().await;
        first.send(get("/first")).await;
        assert_eq!(gated.came.recv().await.unwrap(), "/first");
        let mut gone = world.client().await;
        gone.send(get("/gone")).await;
        world.soon(|r| r.totals.queue_length == 1).await;
        let mut last = world.client().await;
        last.send(get("/last")).await;
        world.soon(|r| r.totals.queue_length == 2).await;
        // At the same moment: whatever comes first, the last one gets its turn.
        drop(gone);
        gated.allowed.add_permits(3);
        assert_eq!(first.message().await.unwrap().status(), 200, "round {round}");
        assert_eq!(last.message().await.unwrap().status(), 200, "round {round}");
        world.soon(|r| r.totals.in_flight == 0).await;
        let rest = gated.allowed.available_permits();
        gated.allowed.forget_permits(rest);
        while gated.came.try_recv().is_ok() {}
    }
}

#[tokio::test]
async fn more_room_lets_those_in_who_wait() {
    let gated = [Gated::start().await, Gated::start().await];
    let mut world = world(&[&gated[0]], 1).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = world.client().await;
        client.send(get("/")).await;
        clients.push(client);
    }
    world.soon(|r| r.totals.queue_length == 5).await;
    // A higher limit, another instance, no limit at all.
    world
        .publish(|s| s.settings.queue.max_connections = Some(2))
        .await;
    world.soon(|r| r.totals.queue_length == 4).await;
    let address = gated[1].upstream.address;
    world
        .publish(|s| s.upstream.endpoints.push(endpoint(2, address)))
        .await;
    world.soon(|r| r.totals.queue_length == 2).await;
    world.publish(|s| s.settings.queue.max_connections = None).await;
    world.soon(|r| r.totals.queue_length == 0).await;
    for gate in &gated {
        gate.allowed.add_permits(6);
    }
    let mut answers = BTreeSet::new();
    for mut client in clients {
        answers.insert(client.message().await.unwrap().status());
    }
    assert_eq!(answers, BTreeSet::from([200]));
}
