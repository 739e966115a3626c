//! What an unsafe request makes untrue (RFC 9111 §4.4, RFC 9875 §3), and what the log of purges does.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use banyan_config::CacheRule;
use banyan_testkit::upstream::{Upstream, Wire};
use banyan_testkit::wait;
use banyan_topology::purge::{Actor, Head, Mode, Record, Scope};
use tokio::sync::watch;

use super::{get, ok, origin, safe, said, world};
use crate::world::{World, post};

const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_change_invalidates_its_address_and_those_it_names() {
    let (upstream, _asked) = origin(|n, request| match request.start.split(' ').next() {
        Some("POST") if request.target() == "/failing" => super::answer("500 Oops", "", ""),
        Some("POST") => ok("Location: /b?x=1\r\nContent-Location: /c\r\n", ""),
        _ => ok("Cache-Control: max-age=60\r\n", &n.to_string()),
    })
    .await;
    let world = world(&upstream, safe()).await;
    let paths = ["/a", "/b?x=1", "/c", "/d", "/failing"];
    for path in paths {
        assert_eq!(world.get(path).await.text(), "1");
    }
    world.ask(&post("/a", "change")).await;
    world.ask(&post("/failing", "change")).await;
    let mut seen = Vec::new();
    for path in paths {
        seen.push(world.get(path).await.text());
    }
    // The change itself was the second request for /a.
    assert_eq!(seen, ["3", "2", "2", "1", "1"]);
}

#[tokio::test]
async fn a_change_invalidates_groups_of_its_own_origin() {
    let (upstream, asked) = origin(|_, request| {
        if request.start.starts_with("POST") {
            return ok("Cache-Group-Invalidation: \"news\"\r\n", "");
        }
        ok(
            "Cache-Control: max-age=60\r\nCache-Groups: \"news\", \"all\"\r\n",
            &request.header("host"),
        )
    })
    .await;
    let world = world(&upstream, safe()).await;
    let of = |host: &str| get("/list", "").replace("app.example", host);
    for host in ["one.example", "two.example"] {
        world.ask(&of(host)).await;
    }
    let change = post("/write", "x").replace("app.example", "one.example");
    world.ask(&change).await;
    world.ask(&of("two.example")).await;
    assert_eq!(
        asked.count(),
        3,
        "another origin's group of the same name is another one"
    );
    world.ask(&of("one.example")).await;
    assert_eq!(asked.count(), 4);
}

/// What an app reads as one address is purged as one, though each spelling is kept by itself.
#[tokio::test]
async fn a_purge_reaches_every_spelling_of_what_it_names() {
    let (upstream, _asked) = origin(|n, _| ok("Cache-Control: max-age=60\r\n", &n.to_string())).await;
    let mut world = world(&upstream, safe()).await;
    let mut log = Log::new(&world);
    let spellings = [
        "/img/a.jpg",
        "/img/%61.jpg",
        "/%69mg/%61.jpg",
        "/img/a%2ejpg",
        "/img/a%2Ejpg",
    ];
    let at = |path: &str| format!("http://app.example{path}");
    let scopes = [
        Scope::Url(at("/img/a.jpg")),
        Scope::Url(at("/img/%61.jpg")),
        Scope::Prefix(at("/img/")),
        Scope::Prefix(at("/%69mg/")),
        Scope::Glob(at("/img/*.jpg")),
    ];
    for (round, scope) in (1..).zip(scopes) {
        for path in spellings {
            assert_eq!(world.get(path).await.text(), round.to_string(), "{path}");
        }
        log.purge(&mut world, scope, Mode::Hard).await;
    }
    for path in spellings {
        assert_eq!(world.get(path).await.text(), "6");
    }
}

#[tokio::test]
async fn what_was_purged_for_good_is_not_renewed_by_a_head() {
    let (upstream, _asked) =
        origin(|n, _| ok("ETag: \"a\"\r\nCache-Control: max-age=60\r\n", &n.to_string())).await;
    let mut world = world(&upstream, safe()).await;
    let mut log = Log::new(&world);
    assert_eq!(world.get("/").await.text(), "1");
    let all = Scope::Prefix("http://app.example/".to_owned());
    log.purge(&mut world, all, Mode::Hard).await;
    let mut client = world.client().await;
    client.send(get("/", "").replace("GET", "HEAD")).await;
    assert_eq!(client.head().await.expect("a head").status(), 200);
    assert_ne!(world.get("/").await.text(), "1");
}

/// Some apps read them as another: a purge of that, or a rule for it, would not reach them.
#[tokio::test]
async fn a_path_that_can_be_read_in_two_ways_is_not_kept() {
    let (upstream, _asked) = origin(|n, _| ok("Cache-Control: max-age=60\r\n", &n.to_string())).await;
    let world = world(&upstream, safe()).await;
    for path in [
        "//img/a.jpg",
        "/x/../img/a.jpg",
        "/img%2fa.jpg",
        "/./img/a.jpg",
        "/img/%2e/a.jpg",
    ] {
        for count in ["1", "2"] {
            assert_eq!(world.get(path).await.text(), count, "{path}");
        }
    }
}

/// Writes the log as a controller does, and waits until it is in force.
pub(super) struct Log {
    path: std::path::PathBuf,
    seq: u64,
}

impl Log {
    pub(super) fn new(world: &World) -> Self {
        let path = world.dir.path().join("snapshots/purge.log");
        let head = Head {
            log: "test".to_owned(),
            after: 0,
        };
        std::fs::write(&path, head.line()).unwrap();
        Self { path, seq: 0 }
    }

    pub(super) fn write(&mut self, scope: Scope, mode: Mode, actor: Actor) -> u64 {
        self.seq += 1;
        let record = Record {
            seq: self.seq,
            at_ms: 0,
            scope,
            mode,
            actor,
        };
        let mut file = OpenOptions::new().append(true).open(&self.path).unwrap();
        file.write_all(record.line().as_bytes()).unwrap();
        self.seq
    }

    pub(super) async fn purge(&mut self, world: &mut World, scope: Scope, mode: Mode) {
        let seq = self.write(scope, mode, Actor::Command);
        world.until(|report| report.purge.applied == seq).await;
    }
}

fn url(path: &str) -> Scope {
    Scope::Url(format!("http://app.example{path}"))
}

#[tokio::test]
async fn the_log_purges_by_url_prefix_pattern_tag_and_everything() {
    let (upstream, _asked) = origin(|n, request| {
        let tag = if request.target().contains("/b/") {
            "Cache-Tag: beta\r\n"
        } else {
            ""
        };
        ok(&format!("Cache-Control: max-age=60\r\n{tag}"), &n.to_string())
    })
    .await;
    let mut world = world(&upstream, safe()).await;
    let mut log = Log::new(&world);
    let paths = ["/a/1?x", "/a/2", "/b/1", "/b/2.css"];
    let mut expected = [1; 4];
    let scopes = [
        (url("/a/1?x"), [0].as_slice()),
        (Scope::Prefix("HTTP://app.example:80/a/".to_owned()), &[0, 1]),
        (Scope::Glob("*.css".to_owned()), &[3]),
        (Scope::Tag("beta".to_owned()), &[2, 3]),
        (url("/nothing"), &[]),
        (Scope::All, &[0, 1, 2, 3]),
    ];
    for path in paths {
        world.get(path).await;
    }
    for (scope, reached) in scopes {
        log.purge(&mut world, scope.clone(), Mode::Hard).await;
        for index in reached {
            expected[*index] += 1;
        }
        for (path, count) in paths.iter().zip(expected) {
            assert_eq!(
                world.get(path).await.text(),
                count.to_string(),
                "{path} after {scope}"
            );
        }
    }
}

#[tokio::test]
async fn parameters_that_do_not_count_are_no_part_of_what_a_purge_names() {
    let (upstream, _asked) = origin(|n, _| ok("Cache-Control: max-age=60\r\n", &n.to_string())).await;
    let mut cache = safe();
    cache.rules.push(CacheRule {
        query: Some(Vec::new()),
        ..super::rule("/assets/*")
    });
    let mut world = world(&upstream, cache).await;
    let mut log = Log::new(&world);
    world.get("/assets/a.css?v=1").await;
    log.purge(&mut world, url("/assets/a.css?v=7"), Mode::Hard).await;
    let answer = world.get("/assets/a.css?v=2").await;
    assert!(said(&answer).contains("detail=purged"), "{}", said(&answer));
}

#[tokio::test]
async fn a_soft_purge_validates_and_stands_in_for_an_app_that_fails_a_hard_one_does_neither() {
    let (upstream, asked) = origin(|n, request| match n {
        1 => ok("Cache-Control: max-age=60\r\nETag: \"a\"\r\n", "old"),
        2 if !request.header("if-none-match").is_empty() => {
            super::answer("304 Not Modified", "ETag: \"a\"\r\n", "")
        }
        _ => super::answer("503 Down", "", ""),
    })
    .await;
    let mut world = world(&upstream, safe()).await;
    let mut log = Log::new(&world);
    let get = async |world: &World| {
        let answer = world.get("/a").await;
        (answer.status(), answer.text())
    };
    assert_eq!(get(&world).await, (200, "old".to_owned()));
    log.purge(&mut world, url("/a"), Mode::Soft).await;
    // The old one goes out once more while it is validated.
    assert_eq!(get(&world).await, (200, "old".to_owned()));
    wait::until("a validation", PATIENCE, async || {
        if asked.count() == 2 {
            Ok(())
        } else {
            Err(asked.count())
        }
    })
    .await
    .unwrap();
    log.purge(&mut world, url("/a"), Mode::Soft).await;
    assert_eq!(get(&world).await, (200, "old".to_owned()));
    log.purge(&mut world, url("/a"), Mode::Hard).await;
    assert_eq!(get(&world).await.0, 503);
}

/// The app answers its head at once and its body when told.
#[tokio::test]
async fn what_was_on_its_way_when_it_was_purged_is_given_to_nobody_who_asks_later() {
    let (go, gone) = watch::channel(false);
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let upstream = Upstream::start(move |mut wire: Wire| {
        let (mut gone, counted) = (gone.clone(), Arc::clone(&counted));
        async move {
            while let Some(_request) = wire.message().await {
                let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
                wire.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 3\r\n\r\n")
                    .await;
                if first {
                    gone.wait_for(|gone| *gone).await.unwrap();
                }
                wire.send(if first { "old" } else { "new" }).await;
            }
        }
    })
    .await;
    let mut world = world(&upstream, safe()).await;
    let mut log = Log::new(&world);
    let mut before = world.client().await;
    before.send(&get("/a", "")).await;
    let asking = async || match asked.load(Ordering::SeqCst) {
        1 => Ok(()),
        count => Err(count),
    };
    wait::until("the first request", PATIENCE, asking).await.unwrap();
    log.purge(&mut world, url("/a"), Mode::Hard).await;
    let mut later = Vec::new();
    for _ in 0..10 {
        let mut client = world.client().await;
        client.send(&get("/a", "")).await;
        later.push(client);
    }
    for client in &mut later {
        assert_eq!(client.message().await.unwrap().text(), "new");
    }
    assert_eq!(
        asked.load(Ordering::SeqCst),
        2,
        "those who asked later share one request"
    );
    go.send(true).unwrap();
    assert_eq!(
        before.message().await.unwrap().text(),
        "old",
        "it asked before the purge"
    );
    assert_eq!(world.get("/a").await.text(), "new");
    assert_eq!(
        asked.load(Ordering::SeqCst),
        2,
        "what came late took nothing's place"
    );
}

#[tokio::test]
async fn a_log_that_cannot_be_followed_purges_everything() {
    let (upstream, _asked) = origin(|n, _| ok("Cache-Control: max-age=60\r\n", &n.to_string())).await;
    let mut world = world(&upstream, safe()).await;
    let mut log = Log::new(&world);
    log.purge(&mut world, url("/other"), Mode::Hard).await;
    assert_eq!(world.get("/a").await.text(), "1");
    log.seq += 1;
    let behind_a_gap = log.write(url("/other"), Mode::Soft, Actor::Command);
    world.until(|report| report.purge.applied == behind_a_gap).await;
    assert_eq!(world.get("/a").await.text(), "2");
}

#[tokio::test]
async fn a_change_that_passes_one_edge_is_told_to_the_other_while_two_serve() {
    let (upstream, _asked) = origin(|n, request| {
        if request.start.starts_with("POST") {
            return ok("", "");
        }
        ok("Cache-Control: max-age=60\r\n", &n.to_string())
    })
    .await;
    let mut old = world(&upstream, safe()).await;
    let mut log = Log::new(&old);
    old.settled().await;
    let mut new = old.successor();
    new.until(|report| !report.listening.is_empty() && report.endpoints.iter().all(|one| one.healthy))
        .await;
    // It asks for sockets of both; which of the two answers, the kernel decides.
    new.ask(&post("/a", "change")).await;
    let told = async || {
        let reports = [old.handle.report().purge, new.handle.report().purge];
        reports
            .into_iter()
            .find(|report| !report.invalidated.is_empty())
            .ok_or("nothing told")
    };
    let report = wait::until("a report of what has changed", PATIENCE, told)
        .await
        .unwrap();
    assert_eq!(report.invalidated[0].scope, url("/a"));
    let (edge, number) = (report.edge.clone(), report.invalidated[0].number);
    let seq = log.write(url("/a"), Mode::Hard, Actor::Edge { edge, number });
    for world in [&mut old, &mut new] {
        world
            .until(|report| report.purge.applied == seq && report.purge.invalidated.is_empty())
            .await;
    }
}
