//! Passive health from outside: who fails requests is out for a while, and enough stay in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use banyan_config::Balance;
use banyan_testkit::upstream::{Upstream, Wire};
use banyan_topology::snapshot::EndpointState;

use crate::world::{World, get, post};

/// Answers 500 while `sick`; counts what it gets.
struct Patient {
    upstream: Upstream,
    sick: Arc<AtomicBool>,
    seen: Arc<AtomicUsize>,
}

impl Patient {
    async fn start(sick: bool) -> Self {
        let (sick, seen) = (Arc::new(AtomicBool::new(sick)), Arc::new(AtomicUsize::new(0)));
        let (state, count) = (Arc::clone(&sick), Arc::clone(&seen));
        let upstream = Upstream::start(move |mut wire: Wire| {
            let (state, count) = (Arc::clone(&state), Arc::clone(&count));
            async move {
                while wire.message().await.is_some() {
                    count.fetch_add(1, Ordering::SeqCst);
                    let status = if state.load(Ordering::SeqCst) { 500 } else { 200 };
                    wire.answer(status, "x").await;
                }
            }
        })
        .await;
        Self { upstream, sick, seen }
    }
}

async fn world(patients: &[Patient], eject: Duration) -> World {
    let addresses: Vec<_> = patients.iter().map(|p| p.upstream.address).collect();
    World::with(&addresses, |s| {
        s.settings.balance = Balance::RoundRobin;
        s.settings.health.eject = eject;
        s.settings.slow_start = Duration::ZERO;
    })
    .await
}

const LONG: Duration = Duration::from_secs(600);

#[tokio::test]
async fn an_instance_that_fails_is_out_with_a_reason_and_gets_nothing() {
    let patients = [Patient::start(true).await, Patient::start(false).await];
    let mut world = world(&patients, LONG).await;
    let mut bad = 0;
    while world.handle.report().endpoints[0].ejected.is_none() {
        bad += usize::from(world.get("/").await.status() == 500);
        assert!(bad < 200, "never ejected");
    }
    let report = world.until(|r| r.endpoints[0].ejected.is_some()).await;
    let why = report.endpoints[0].ejected.clone().unwrap();
    assert!(
        why.starts_with("5 requests in a row failed, the last answered 500; back in "),
        "{why}"
    );
    assert_eq!(
        (report.endpoints[0].ejections, report.endpoints[0].healthy),
        (1, true)
    );
    // Every core has been told before a later snapshot is confirmed.
    world.publish(|_| {}).await;
    let seen = patients[0].seen.load(Ordering::SeqCst);
    for _ in 0..50 {
        assert_eq!(world.get("/").await.status(), 200);
    }
    assert_eq!(patients[0].seen.load(Ordering::SeqCst), seen);
}

#[tokio::test]
async fn an_ejected_instance_returns() {
    let patients = [Patient::start(true).await, Patient::start(false).await];
    let mut world = world(&patients, Duration::from_millis(300)).await;
    while world.handle.report().endpoints[0].ejections == 0 {
        world.get("/").await;
    }
    patients[0].sick.store(false, Ordering::SeqCst);
    world.until(|r| r.endpoints[0].ejected.is_none()).await;
    world.publish(|_| {}).await;
    let seen = patients[0].seen.load(Ordering::SeqCst);
    for _ in 0..20 {
        assert_eq!(world.get("/").await.status(), 200);
    }
    assert!(patients[0].seen.load(Ordering::SeqCst) > seen);
}

#[tokio::test]
async fn an_error_that_all_have_ejects_half_at_most() {
    let patients = [
        Patient::start(true).await,
        Patient::start(true).await,
        Patient::start(true).await,
        Patient::start(true).await,
    ];
    let mut world = world(&patients, LONG).await;
    for _ in 0..100 {
        assert_eq!(world.ask(&post("/", "x")).await.status(), 500);
    }
    let report = world
        .until(|r| r.endpoints.iter().filter(|e| e.ejected.is_some()).count() == 2)
        .await;
    assert_eq!(report.endpoints.iter().map(|e| e.ejections).sum::<u64>(), 2);
}

#[tokio::test]
async fn a_lone_instance_is_never_ejected_and_zero_failures_turns_it_off() {
    let lone = [Patient::start(true).await];
    let alone = world(&lone, LONG).await;
    let patients = [Patient::start(true).await, Patient::start(false).await];
    let mut off = world(&patients, LONG).await;
    off.publish(|s| s.settings.health.failures = 0).await;
    for _ in 0..30 {
        alone.get("/").await;
        off.get("/").await;
    }
    off.publish(|_| {}).await;
    assert_eq!(alone.handle.report().endpoints[0].ejections, 0);
    assert_eq!(off.handle.report().endpoints[0].ejections, 0);
}

#[tokio::test]
async fn instances_that_time_out_or_break_off_are_ejected() {
    let silent = Upstream::start(|mut wire| async move {
        wire.message().await;
        wire.rest().await;
    })
    .await;
    let broken = Upstream::start(|mut wire| async move {
        if wire.message().await.is_some() {
            wire.reset();
        }
    })
    .await;
    for (bad, why) in [(&silent, "did not answer in time"), (&broken, "broke off")] {
        let good = Patient::start(false).await;
        let mut world = World::with(&[bad.address, good.upstream.address], |s| {
            s.settings.balance = Balance::RoundRobin;
            s.settings.timeouts.response = Duration::from_millis(20);
            s.settings.health.eject = LONG;
        })
        .await;
        while world.handle.report().endpoints[0].ejections == 0 {
            world.ask(&post("/", "x")).await;
        }
        let report = world.until(|r| r.endpoints[0].ejected.is_some()).await;
        let said = report.endpoints[0].ejected.clone().unwrap();
        assert!(said.contains(why), "{said}");
        world.publish(|_| {}).await;
        for _ in 0..10 {
            assert_eq!(world.ask(&post("/", "x")).await.status(), 200);
        }
    }
}

#[tokio::test]
async fn with_too_few_sound_ones_the_ejected_are_used_again() {
    let patients = [Patient::start(true).await, Patient::start(false).await];
    let mut world = world(&patients, LONG).await;
    while world.handle.report().endpoints[0].ejections == 0 {
        world.get("/").await;
    }
    // The sound one leaves: one of one is ejected, which is below half.
    patients[0].sick.store(false, Ordering::SeqCst);
    world
        .publish(|s| s.upstream.endpoints[1].state = EndpointState::Draining)
        .await;
    let mut client = world.client().await;
    client.send(get("/")).await;
    assert_eq!(client.message().await.unwrap().status(), 200);
}

#[tokio::test]
async fn errors_of_one_client_do_not_eject_an_instance_that_works_for_others() {
    let mut upstreams = Vec::new();
    for _ in 0..2 {
        let upstream = Upstream::start(|mut wire: Wire| async move {
            while let Some(request) = wire.message().await {
                let status = if request.target() == "/broken" { 500 } else { 200 };
                wire.answer(status, "x").await;
            }
        })
        .await;
        upstreams.push(upstream);
    }
    let mut world = World::with(&[upstreams[0].address, upstreams[1].address], |s| {
        s.settings.balance = Balance::RoundRobin;
        s.settings.workers = Some(4);
    })
    .await;
    // Each connection stays on its core.
    let (mut unlucky, mut lucky) = (world.client().await, world.client().await);
    for _ in 0..40 {
        unlucky.send(get("/broken")).await;
        assert_eq!(unlucky.message().await.unwrap().status(), 500);
        for _ in 0..2 {
            lucky.send(get("/")).await;
            assert_eq!(lucky.message().await.unwrap().status(), 200);
        }
    }
    let report = world.soon(|r| r.totals.in_flight == 0).await;
    assert!(report.endpoints.iter().all(|e| e.ejections == 0), "{report:?}");
}
