//! Every policy through the edge, and a change of policy under load.

use std::collections::BTreeMap;
use std::time::Duration;

use banyan_config::{Balance, HashBy};
use banyan_testkit::upstream::Upstream;
use banyan_topology::report::EdgeReport;
use banyan_topology::snapshot::EndpointState;

use crate::snapshots::Load;
use crate::world::{World, get};

/// Three instances that answer with their number.
async fn three() -> Vec<Upstream> {
    let mut all = Vec::new();
    for number in 1..=3 {
        all.push(Upstream::answering(move |_| number.to_string()).await);
    }
    all
}

async fn world(upstreams: &[Upstream], balance: Balance) -> World {
    let addresses: Vec<_> = upstreams.iter().map(|u| u.address).collect();
    World::with(&addresses, |s| {
        s.settings.balance = balance;
        s.settings.slow_start = Duration::ZERO;
        s.settings.workers = Some(1);
    })
    .await
}

/// Who answered how often.
async fn count(world: &World, requests: usize, path: impl Fn(usize) -> String) -> BTreeMap<String, usize> {
    let mut client = world.client().await;
    let mut got = BTreeMap::new();
    for number in 0..requests {
        client.send(get(&path(number))).await;
        *got.entry(client.message().await.unwrap().text()).or_default() += 1;
    }
    got
}

#[tokio::test]
async fn weights_decide_shares() {
    let upstreams = three().await;
    let mut world = world(&upstreams, Balance::Weighted).await;
    world.publish(|s| s.settings.weights = vec![5, 3]).await;
    let got = count(&world, 90, |_| "/".to_owned()).await;
    assert_eq!(got.into_values().collect::<Vec<_>>(), [50, 30, 10]);
}

#[tokio::test]
async fn a_client_or_a_path_keeps_its_instance_until_that_drains() {
    let upstreams = three().await;
    for (balance, hash_by) in [
        (Balance::IpHash, HashBy::Path),
        (Balance::Ring, HashBy::Path),
        (Balance::Ring, HashBy::Ip),
    ] {
        let mut world = world(&upstreams, balance).await;
        world.publish(|s| s.settings.hash_by = hash_by).await;
        let got = count(&world, 20, |n| format!("/same?{n}")).await;
        assert_eq!(got.len(), 1, "{balance:?} {got:?}");
        let kept: usize = got.keys().next().unwrap().parse().unwrap();
        world
            .publish(|s| s.upstream.endpoints[kept - 1].state = EndpointState::Draining)
            .await;
        let moved = count(&world, 20, |n| format!("/same?{n}")).await;
        assert_eq!(moved.len(), 1);
        assert!(!moved.contains_key(&kept.to_string()), "{balance:?} {moved:?}");
    }
}

#[tokio::test]
async fn paths_are_spread_over_the_ring() {
    let upstreams = three().await;
    let world = world(&upstreams, Balance::Ring).await;
    let got = count(&world, 300, |n| format!("/{n}")).await;
    assert!(got.values().all(|n| (60..150).contains(n)), "{got:?}");
}

#[tokio::test]
async fn a_trusted_proxys_client_is_hashed_not_the_proxy() {
    let upstreams = three().await;
    let mut world = world(&upstreams, Balance::IpHash).await;
    world
        .publish(|s| s.settings.trusted_proxies = vec!["127.0.0.1".parse().unwrap()])
        .await;
    let mut got = BTreeMap::<String, usize>::new();
    for number in 0..60 {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.{number}\r\n\r\n");
        *got.entry(world.ask(&head).await.text()).or_default() += 1;
    }
    assert_eq!(got.len(), 3, "{got:?}");
}

#[tokio::test]
async fn a_slow_instance_gets_less_by_latency_and_by_requests_under_way() {
    let slow = Upstream::start(|mut wire| async move {
        while wire.message().await.is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            wire.answer(200, "slow").await;
        }
    })
    .await;
    let fast = Upstream::answering(|_| "fast".to_owned()).await;
    for balance in [Balance::P2cEwma, Balance::LeastConnections] {
        let mut world = World::with(&[slow.address, fast.address], |s| {
            s.settings.balance = balance;
            s.settings.workers = Some(1);
        })
        .await;
        let load = Load::start(&world, 8);
        load.more(200).await;
        assert_eq!(load.stop().await, [""; 0]);
        let told = |r: &EdgeReport| r.endpoints.iter().map(|e| e.requests).sum::<u64>() >= 200;
        let report = world.until(|r| r.totals.in_flight == 0 && told(r)).await;
        let share = |n: usize| report.endpoints[n].requests;
        assert!(share(0) * 4 < share(1), "{balance:?} {} {}", share(0), share(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_policy_changes_under_load_without_a_failure() {
    let upstreams = three().await;
    let addresses: Vec<_> = upstreams.iter().map(|u| u.address).collect();
    let mut world = World::start(&addresses).await;
    let load = Load::start(&world, 8);
    for balance in Balance::ALL.into_iter().cycle().take(12) {
        world.publish(|s| s.settings.balance = balance).await;
        load.more(50).await;
    }
    assert_eq!(load.stop().await, [""; 0]);
}
