//! Rate limits: exact over cores, told to the client, changed and kept by snapshots.

use std::time::Duration;

use banyan_config::{Filters, RateBy, RateLimit};
use banyan_testkit::upstream::Upstream;

use super::{asking, route};
use crate::world::{World, get};

/// So slow that nothing comes back while a test runs.
pub(super) fn limit(name: &str, burst: u32, by: RateBy) -> RateLimit {
    RateLimit {
        name: name.to_owned(),
        count: 1,
        per: Duration::from_secs(3600),
        burst,
        by,
    }
}

fn filters(limits: &[RateLimit]) -> Filters {
    Filters {
        rate_limits: limits.to_vec(),
        ..Filters::default()
    }
}

async fn world(burst: u32, by: RateBy) -> (World, Upstream) {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let world = World::with(&[upstream.address], |s| {
        s.routes = vec![route("api", filters(&[limit("api", burst, by)]))];
    })
    .await;
    (world, upstream)
}

/// Statuses of so many requests, each on a connection of its own, so that all cores get some.
async fn statuses(world: &World, request: &str, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(world.ask(request).await.status());
    }
    statuses
}

#[tokio::test]
async fn the_burst_is_exact_over_all_cores_and_other_routes_are_free() {
    let (world, _upstream) = world(20, RateBy::Ip).await;
    let statuses = statuses(&world, &get("/api"), 40).await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 20);
    assert!(statuses[20..].iter().all(|status| *status == 429), "{statuses:?}");
    let other = world.get("/").await;
    assert_eq!(other.status(), 200);
    assert!(other.header("ratelimit").is_empty() && other.header("ratelimit-policy").is_empty());
}

#[tokio::test]
async fn the_answer_says_what_is_left_and_when_to_come_again() {
    let (world, upstream) = world(2, RateBy::Ip).await;
    let first = world.get("/api").await;
    assert_eq!(first.header("ratelimit-policy"), "\"api\";q=2;w=7200");
    assert_eq!(first.header("ratelimit"), "\"api\";r=1;t=3600");
    world.get("/api").await;
    let before = upstream.connections();
    let refused = world.ask(&asking("/api", "Accept: text/html\r\n")).await;
    assert_eq!(refused.status(), 429);
    assert!(
        refused.header("ratelimit").starts_with("\"api\";r=0;t="),
        "{refused:?}"
    );
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((3500..=3600).contains(&seconds));
    assert!(refused.text().contains("429") && refused.header("content-type").starts_with("text/html"));
    assert_eq!(upstream.connections(), before, "nobody was asked");
    // The connection stays.
    let mut client = world.client().await;
    for _ in 0..2 {
        client.send(get("/api")).await;
        assert_eq!(client.message().await.unwrap().status(), 429);
    }
    // Each core writes its own lines.
    let lines = world.logged(5).await;
    let refused: Vec<_> = lines.iter().filter(|line| line["status"] == 429).collect();
    assert!(
        refused.len() == 3 && refused.iter().all(|line| line["route"] == "api"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn values_of_a_header_are_counted_apart() {
    let (world, _upstream) = world(1, RateBy::Header("x-tenant".to_owned())).await;
    for (more, expected) in [
        ("X-Tenant: a\r\n", 200),
        ("X-Tenant: b\r\n", 200),
        ("X-Tenant: a\r\n", 429),
        ("", 200),
        ("", 429),
    ] {
        assert_eq!(
            world.ask(&asking("/api", more)).await.status(),
            expected,
            "{more}"
        );
    }
}

#[tokio::test]
async fn the_clients_own_address_counts_behind_a_trusted_proxy_only() {
    let (mut world, _upstream) = world(1, RateBy::Ip).await;
    let from = |address: &str| asking("/api", &format!("X-Forwarded-For: {address}\r\n"));
    assert_eq!(world.ask(&from("192.0.2.1")).await.status(), 200);
    assert_eq!(world.ask(&from("192.0.2.2")).await.status(), 429);
    world
        .publish(|s| s.settings.trusted_proxies = vec!["127.0.0.1".parse().unwrap()])
        .await;
    for (address, expected) in [
        ("192.0.2.1", 200),
        ("192.0.2.1", 429),
        ("2001:db8::1", 200),
        ("2001:db8::2", 429),
        ("2001:db8:0:1::1", 200),
    ] {
        assert_eq!(world.ask(&from(address)).await.status(), expected, "{address}");
    }
}

#[tokio::test]
async fn the_edges_own_limit_is_one_for_all_routes_that_have_no_other_and_survives_an_apply() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let all = filters(&[limit("*", 3, RateBy::Route)]);
    let mut world = World::with(&[upstream.address], |s| {
        s.settings.filters = all.clone();
        s.routes = vec![route("a", all.clone()), route("free", Filters::default())];
    })
    .await;
    assert_eq!(world.get("/").await.status(), 200);
    assert_eq!(world.get("/a").await.status(), 200);
    world.publish(|s| s.routes.reverse()).await;
    assert_eq!(world.get("/").await.status(), 200);
    assert_eq!(world.get("/a").await.status(), 429);
    assert_eq!(world.get("/").await.status(), 429);
    assert_eq!(world.get("/free").await.status(), 200);
    world.publish(|s| s.settings.filters = Filters::default()).await;
    assert_eq!(world.get("/").await.status(), 200);
}
