//! What one client address may have: connections at once and new ones per second, over all cores.

use banyan_config::EdgeLimits;
use banyan_testkit::upstream::Upstream;
use banyan_topology::snapshot::EdgeSnapshot;

use crate::world::{World, get};

/// This machine counts like any other.
fn limited(at_once: u32, per_second: u32) -> impl FnOnce(&mut EdgeSnapshot) {
    move |snapshot| {
        snapshot.settings.limits = EdgeLimits {
            connections_per_ip: at_once,
            new_per_ip: per_second,
            exempt_ips: Vec::new(),
            ..snapshot.settings.limits.clone()
        };
    }
}

#[tokio::test]
async fn a_connection_too_many_is_closed_on_whatever_core_and_one_that_ends_makes_room() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let world = World::with(&[upstream.address], limited(5, 0)).await;
    let mut open = Vec::new();
    for _ in 0..5 {
        let mut client = world.client().await;
        client.send(&get("/")).await;
        assert_eq!(client.message().await.unwrap().text(), "ok");
        open.push(client);
    }
    for _ in 0..4 {
        assert!(world.client().await.message().await.is_none());
    }
    assert_eq!(
        world
            .handle
            .clone()
            .wait_for(|r| r.totals.turned_away == 4)
            .await
            .unwrap()
            .totals
            .turned_away,
        4
    );
    drop(open.pop());
    // The end is seen a moment after it was sent.
    let again = async {
        loop {
            let mut client = world.client().await;
            client.send(&get("/")).await;
            if client.message().await.is_some() {
                return;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), again)
        .await
        .expect("no room");
}

#[tokio::test]
async fn too_many_new_ones_are_told_so_and_closed() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    // One per second: whatever the machine's speed, the second one comes too fast.
    let world = World::with(&[upstream.address], limited(0, 1)).await;
    assert_eq!(world.get("/").await.status(), 200);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let mut client = world.client().await;
        client.send(&get("/")).await;
        let answer = client.message().await.unwrap();
        if answer.status() == 429 {
            assert_eq!(
                (
                    answer.header("connection").as_str(),
                    answer.header("retry-after").as_str()
                ),
                ("close", "1")
            );
            assert!(answer.text().contains("too many new connections"));
            assert!(client.message().await.is_none());
        }
        statuses.push(answer.status());
    }
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn this_machine_and_trusted_proxies_are_not_counted() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let mut world = World::with(&[upstream.address], |snapshot| {
        snapshot.settings.limits.connections_per_ip = 1;
        snapshot.settings.limits.new_per_ip = 1;
    })
    .await;
    let _open = (world.client().await, world.client().await);
    assert_eq!(world.get("/").await.status(), 200);
    world
        .publish(|snapshot| {
            snapshot.settings.limits.exempt_ips = Vec::new();
            snapshot.settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        })
        .await;
    for _ in 0..3 {
        assert_eq!(world.get("/").await.status(), 200);
    }
}
