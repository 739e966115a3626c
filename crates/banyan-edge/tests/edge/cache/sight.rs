//! What the edge says of its cache when it is asked.

use std::time::Duration;

use banyan_config::CacheRule;
use banyan_runtime::control::Connection;
use banyan_topology::sight::{Answer, CacheStats, Explained, Question};

use super::{get, ok, origin, rule, safe, world};
use crate::world::World;

pub(super) async fn ask(world: &World, question: &Question) -> Answer {
    let folder = std::fs::read_dir(world.dir.path().join("cdn")).unwrap();
    let sockets: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(sockets.len(), 1, "{sockets:?}");
    let mut connection = Connection::connect(&sockets[0]).await.unwrap();
    connection.send(question).await.unwrap();
    connection.receive().await.unwrap().unwrap()
}

async fn stats(world: &World) -> CacheStats {
    match ask(world, &Question::Stats).await {
        Answer::Stats(stats) => *stats,
        other => panic!("{other:?}"),
    }
}

async fn explain(world: &World, path: &str) -> Explained {
    let question = Question::Explain {
        url: format!("http://APP.example:80{path}"),
        headers: Vec::new(),
    };
    match ask(world, &question).await {
        Answer::Explained(told) => *told,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn numbers_say_what_was_a_hit_what_was_not_why_and_what_would_help() {
    let (upstream, _asked) = origin(|_, request| match request.target() {
        "/cookie" => ok("Cache-Control: max-age=60\r\nSet-Cookie: a=b\r\n", "x"),
        _ => ok("Cache-Control: max-age=60\r\n", "0123456789"),
    })
    .await;
    let world = world(&upstream, safe()).await;
    for path in ["/a", "/a", "/a", "/cookie", "/cookie"] {
        world.ask(&get(path, "")).await;
    }
    world.logged(5).await;
    let stats = stats(&world).await;
    let [route] = stats.routes.as_slice() else {
        panic!("{stats:?}");
    };
    assert_eq!(
        (route.requests(), route.answered(), route.count("hit")),
        (5, 2, 2)
    );
    assert_eq!((route.stored_bytes, route.bytes), (20, 32));
    assert_eq!(route.whys["set-cookie"], 2);
    assert!(
        route.remedies["set-cookie"].contains("strip_cookies"),
        "{route:?}"
    );
    let most = &stats.misses[0];
    assert_eq!(
        (most.url.as_str(), most.why.as_str(), most.count),
        ("http://app.example/cookie", "set-cookie", 2)
    );
    assert_eq!((stats.stored, stats.purged), (1, 0));
}

#[tokio::test]
async fn a_url_is_explained_by_rule_store_and_last_misses_without_the_app() {
    let (upstream, asked) = origin(|_, request| match request.target() {
        "/private" => ok("Cache-Control: private\r\n", "x"),
        _ => ok(
            "Cache-Control: max-age=60, stale-while-revalidate=30\r\nETag: \"a\"\r\nCache-Tag: news\r\nVary: accept-language\r\n",
            "x",
        ),
    })
    .await;
    let mut cache = safe();
    cache.rules.push(CacheRule {
        query: Some(Vec::new()),
        browser_ttl: Some(Duration::from_secs(10)),
        ..rule("/list*")
    });
    let world = world(&upstream, cache).await;
    let unknown = explain(&world, "/list?x=1").await;
    assert_eq!(unknown.key, "http://app.example/list");
    assert_eq!(unknown.verdict, "asked of the app: absent");
    assert!(unknown.rule.unwrap().starts_with("/list*: "));
    assert!(
        unknown.notes[0].contains("nobody has asked"),
        "{:?}",
        unknown.notes
    );
    world.ask(&get("/list?x=1", "")).await;
    world.ask(&get("/private", "")).await;
    let known = explain(&world, "/list?x=2").await;
    assert_eq!(known.verdict, "a hit");
    let kept = &known.stored[0];
    assert_eq!(
        (kept.status, kept.bytes, kept.source.as_str()),
        (200, 1, "max-age")
    );
    assert_eq!(
        (kept.varies[0].as_str(), kept.tags[0].as_str()),
        ("accept-language: -", "news")
    );
    let worst = known.worst.unwrap();
    assert_eq!((worst.edge_s, worst.browser_s, worst.sum_s), (90, 10, 100));
    let private = explain(&world, "/private").await;
    assert_eq!(
        (private.missed[0].why.as_str(), private.missed[0].count),
        ("private", 1)
    );
    assert!(
        private.missed[0]
            .remedy
            .as_ref()
            .unwrap()
            .contains("public, max-age")
    );
    assert_eq!(asked.count(), 2, "explaining asks the app nothing");
}

#[tokio::test]
async fn nobody_answers_where_nothing_is_kept() {
    let (upstream, _asked) = origin(|_, _| ok("", "x")).await;
    let mut world = world(&upstream, safe()).await;
    assert_eq!(stats(&world).await.routes, []);
    let folder = world.dir.path().join("cdn");
    world.publish(|snapshot| snapshot.settings.cache = None).await;
    let gone = async || match std::fs::read_dir(&folder).unwrap().count() {
        0 => Ok(()),
        count => Err(count),
    };
    banyan_testkit::wait::until("the socket to go", Duration::from_secs(30), gone)
        .await
        .unwrap();
}
