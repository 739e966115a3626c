//! The cache as part of the configuration: on, off, and beside routes.

use banyan_config::{Forward, RouteAction, Share, SplitBy};
use serde_json::Value;

use super::{get, ok, origin, safe, world};
use crate::routes::{prefix, route};
use crate::world::{World, get as plain};

#[tokio::test]
async fn without_the_table_nothing_is_kept_and_nothing_said() {
    let (upstream, asked) =
        origin(|_, _| ok("Cache-Control: max-age=60\r\nCache-Status: \"app\"; hit\r\n", "x")).await;
    let mut world = World::start(&[upstream.address]).await;
    for _ in 0..2 {
        assert_eq!(world.get("/").await.header("cache-status"), "\"app\"; hit");
    }
    assert_eq!(asked.count(), 2);
    world
        .publish(|snapshot| snapshot.settings.cache = Some(Box::new(safe())))
        .await;
    world.get("/").await;
    let hit = world.get("/").await.header("cache-status");
    assert!(hit.starts_with("\"app\"; hit|\"banyan-edge\"; hit"), "{hit}");
    world.publish(|snapshot| snapshot.settings.cache = None).await;
    world.get("/").await;
    assert_eq!(asked.count(), 4);
    // What was kept before is forgotten.
    world
        .publish(|snapshot| snapshot.settings.cache = Some(Box::new(safe())))
        .await;
    world.get("/").await;
    assert_eq!(asked.count(), 5);
}

#[tokio::test]
async fn a_route_with_a_rewrite_is_kept_by_the_address_that_clients_use() {
    let (upstream, asked) = origin(|_, request| ok("Cache-Control: max-age=60\r\n", request.target())).await;
    let world = World::with(&[upstream.address], |snapshot| {
        snapshot.settings.cache = Some(Box::new(safe()));
        let to = |rewrite: &str| {
            RouteAction::Process(Forward {
                shares: vec![Share {
                    process: "web".parse().unwrap(),
                    weight: 1,
                }],
                sticky: SplitBy::None,
                rewrite: Some(rewrite.to_owned()),
                mirror: None,
                backup: None,
            })
        };
        snapshot.routes = vec![
            route("a", prefix("/a"), to("/x")),
            route("b", prefix("/b"), to("/y")),
        ];
    })
    .await;
    for _ in 0..2 {
        assert_eq!(world.get("/a/1").await.text(), "/x/1");
        assert_eq!(world.get("/b/1").await.text(), "/y/1");
    }
    assert_eq!(asked.count(), 2);
}

#[tokio::test]
async fn hits_are_logged_without_an_instance_and_counted() {
    let (upstream, _asked) = origin(|_, _| ok("Cache-Control: max-age=60\r\n", "body")).await;
    let world = world(&upstream, safe()).await;
    world.get("/").await;
    world.get("/").await;
    world.ask(&plain("/")).await;
    world.ask(&get("/", "If-None-Match: *\r\n")).await;
    // Cores write on their own: lines of different connections come in any order.
    let lines = world.logged(4).await;
    let with_instance = lines.iter().filter(|line| line["upstream"].is_string());
    assert_eq!(with_instance.count(), 1, "{lines:#?}");
    assert!(
        lines.iter().all(|line| line["outcome"] == "answered"),
        "{lines:#?}"
    );
    let sent = |status: u16, bytes: u64| {
        let same = |line: &&Value| line["status"] == status && line["bytes"] == bytes;
        lines.iter().filter(same).count()
    };
    assert_eq!((sent(200, 4), sent(304, 0)), (3, 1), "{lines:#?}");
}
