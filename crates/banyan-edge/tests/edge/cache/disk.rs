//! What outlives the process: whole or not at all, as good as it was as far as it is known what was purged since, never what
//! was replaced.

use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_testkit::upstream::{Message, Upstream};
use banyan_testkit::wait;
use banyan_topology::purge::{self, Actor, Head, Mode, Scope};

use super::purge::Log;
use super::{Asked, ok, origin, safe, said};
use crate::world::{World, post};

const LIMIT: Duration = Duration::from_secs(90);
const KEPT: &str = "Cache-Control: max-age=600\r\n";
const TAGGED: &str = "Cache-Control: max-age=600\r\nETag: \"1\"\r\n";

struct OnDisk {
    world: World,
    asked: Asked,
    _origin: Upstream,
}

/// With 64 MiB of memory and this much of the disk.
async fn on_disk(
    bytes: u64,
    script: impl Fn(usize, &Message) -> String + Clone + Send + Sync + 'static,
) -> OnDisk {
    let (upstream, asked) = origin(script).await;
    let world = World::with(&[upstream.address], |snapshot| {
        let mut cache = safe();
        cache.disk = Some(bytes);
        snapshot.settings.cache = Some(Box::new(cache));
    })
    .await;
    OnDisk {
        world,
        asked,
        _origin: upstream,
    }
}

impl OnDisk {
    fn files(&self) -> Vec<PathBuf> {
        let list = |path: &Path| -> Vec<PathBuf> {
            let entries = std::fs::read_dir(path).into_iter().flatten();
            entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
        };
        let folders = list(&self.world.dir.path().join("cache").join("edge"));
        folders.iter().flat_map(|folder| list(folder)).collect()
    }

    /// So many lie there, whole.
    async fn lie(&self, count: u64) {
        let lie = async || {
            let report = self.world.handle.report();
            match report.cache {
                Some(cache) if cache.disk_objects == count => Ok(()),
                other => Err(format!("{other:?}")),
            }
        };
        wait::until("files of the cache", LIMIT, lie).await.unwrap();
    }

    /// As after kill -9: another process finds what lies there, and the one before tells it nothing.
    async fn restart(&mut self, count: u64) {
        self.world.restart().await;
        self.lie(count).await;
    }

    /// As after kill -9, and meanwhile something else happens.
    async fn restart_after(&mut self, count: u64, meanwhile: impl FnOnce(&Path)) {
        self.world.end().await;
        meanwhile(self.world.dir.path());
        self.world.begin().await;
        self.lie(count).await;
    }
}

/// Says 304 to whoever has the tag, whatever is asked: an app whose validators cannot be relied on.
fn always_the_same(n: usize, request: &Message) -> String {
    if request.header("if-none-match") == "\"1\"" {
        return "HTTP/1.1 304 X\r\nETag: \"1\"\r\n\r\n".to_owned();
    }
    ok(TAGGED, &format!("v{n} ").repeat(100_000))
}

fn journals(state: &Path) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(state.join("cache/edge")).unwrap();
    let paths = folder.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).collect()
}

#[tokio::test]
async fn a_restart_serves_what_was_stored_without_asking_for_it_anew() {
    let mut it = on_disk(64 << 20, always_the_same).await;
    let first = it.world.get("/a").await;
    it.lie(1).await;
    for _ in 0..3 {
        it.restart(1).await;
        let again = it.world.get("/a").await;
        assert_eq!(again.body, first.body);
        assert!(said(&again).starts_with("hit"), "{}", said(&again));
    }
    assert_eq!(it.asked.count(), 1);
    // Each process takes over what those before it knew.
    assert_eq!(journals(it.world.dir.path()).len(), 1);
    it.world.drain();
}

#[tokio::test]
async fn what_was_replaced_or_made_untrue_does_not_come_back() {
    let mut it = on_disk(64 << 20, |n, _| ok(KEPT, &format!("v{n}"))).await;
    it.world.get("/a").await;
    it.lie(1).await;
    assert_eq!(it.world.ask(&post("/a", "change")).await.text(), "v2");
    assert_eq!(it.world.get("/a").await.text(), "v3");
    it.lie(1).await;
    it.restart(1).await;
    assert_eq!(it.world.get("/a").await.text(), "v3");
    assert_eq!(it.world.ask(&post("/a", "change")).await.text(), "v4");
    it.restart(1).await;
    assert_eq!(it.world.get("/a").await.text(), "v5");
}

/// Each by a process of its own: its memory knows nothing of what was purged.
#[tokio::test]
async fn what_was_purged_hard_is_of_no_use_to_any_later_process_whatever_the_app_says() {
    let mut it = on_disk(64 << 20, always_the_same).await;
    let mut log = Log::new(&it.world);
    let names = [
        Scope::Url("http://app.example/a".to_owned()),
        Scope::Prefix("http://app.example/".to_owned()),
        Scope::Glob("*/a".to_owned()),
        Scope::All,
    ];
    for (at, scope) in names.into_iter().enumerate() {
        it.world.get("/a").await;
        it.lie(1).await;
        log.purge(&mut it.world, scope.clone(), Mode::Hard).await;
        it.restart(1).await;
        it.restart(1).await;
        let again = it.world.get("/a").await;
        assert!(
            again.text().starts_with(&format!("v{} ", at + 2)),
            "{scope}: {}",
            said(&again)
        );
    }
}

#[tokio::test]
async fn what_was_purged_while_no_edge_ran_is_of_no_use_and_the_rest_is() {
    let mut it = on_disk(64 << 20, always_the_same).await;
    let mut log = Log::new(&it.world);
    for path in ["/a", "/b", "/c"] {
        it.world.get(path).await;
    }
    it.lie(3).await;
    it.restart_after(3, |_| {
        log.write(
            Scope::Url("http://app.example/a".to_owned()),
            Mode::Hard,
            Actor::Command,
        );
        log.write(
            Scope::Url("http://app.example/b".to_owned()),
            Mode::Soft,
            Actor::Command,
        );
    })
    .await;
    assert!(it.world.get("/a").await.text().starts_with("v2 "));
    // The old one goes out once more while it is validated.
    assert!(it.world.get("/b").await.text().starts_with("v1 "));
    let validated = async || match it.asked.count() {
        5 => Ok(()),
        count => Err(count),
    };
    wait::until("a validation", LIMIT, validated).await.unwrap();
    assert!(said(&it.world.get("/c").await).starts_with("hit"));
    assert_eq!(it.asked.count(), 5);
}

#[tokio::test]
async fn where_it_is_not_known_what_was_purged_nothing_that_lies_there_is_used() {
    type Loses = fn(&Path);
    let ways: [(&str, Loses); 4] = [
        ("another log", |state| {
            let head = Head {
                log: "another".to_owned(),
                after: 0,
            };
            std::fs::write(state.join("snapshots/purge.log"), head.line()).unwrap();
        }),
        ("no log", |state| {
            std::fs::remove_file(state.join("snapshots/purge.log")).unwrap();
        }),
        ("no journal", |state| {
            journals(state)
                .iter()
                .for_each(|path| std::fs::remove_file(path).unwrap());
        }),
        ("a damaged journal", |state| {
            let path = journals(state).pop().unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[30] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }),
    ];
    for (name, lose) in ways {
        let mut it = on_disk(64 << 20, always_the_same).await;
        let mut log = Log::new(&it.world);
        it.world.get("/a").await;
        it.lie(1).await;
        log.purge(&mut it.world, Scope::Tag("none".to_owned()), Mode::Soft)
            .await;
        it.restart_after(1, lose).await;
        let again = it.world.get("/a").await;
        assert!(again.text().starts_with("v2 "), "{name}: {}", said(&again));
    }
}

/// Of unsafe requests the last ones may be missing then.
#[tokio::test]
async fn after_a_start_of_the_host_everything_is_validated_and_what_was_purged_hard_is_not_even_that() {
    let mut it = on_disk(64 << 20, always_the_same).await;
    let mut log = Log::new(&it.world);
    for path in ["/a", "/b"] {
        it.world.get(path).await;
    }
    it.lie(2).await;
    log.purge(
        &mut it.world,
        Scope::Url("http://app.example/a".to_owned()),
        Mode::Hard,
    )
    .await;
    it.restart_after(2, |state| {
        let path = journals(state).pop().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        let mut first: serde_json::Value = purge::parse(first.as_bytes()).unwrap();
        first["begin"]["boot"] = "another".into();
        // What was being written when it went down.
        std::fs::write(path, purge::line(&first) + rest + "\0\0\0\0").unwrap();
    })
    .await;
    assert!(it.world.get("/a").await.text().starts_with("v2 "));
    let again = it.world.get("/b").await;
    assert!(
        again.text().starts_with("v1 ") && said(&again).contains("fwd-status=304"),
        "{}",
        said(&again)
    );
}

/// A hand-over: the one before may still hear of changes.
#[tokio::test]
async fn beside_a_living_process_its_objects_are_validated_and_when_it_has_ended_they_are_not() {
    let mut it = on_disk(64 << 20, always_the_same).await;
    for path in ["/a", "/b"] {
        it.world.get(path).await;
    }
    it.lie(2).await;
    let folder = it.world.dir.path().join("cache/edge");
    it.world.end().await;
    let path = journals(it.world.dir.path()).pop().unwrap();
    let held = std::fs::File::open(&path).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    it.world.begin().await;
    it.lie(2).await;
    let again = it.world.get("/a").await;
    assert!(said(&again).contains("fwd-status=304"), "{}", said(&again));
    assert_eq!(journals(it.world.dir.path()).len(), 2);
    drop(held);
    wait::until("its journal to be taken over", LIMIT, async || {
        if path.exists() {
            Err(folder.display())
        } else {
            Ok(())
        }
    })
    .await
    .unwrap();
    assert!(said(&it.world.get("/b").await).starts_with("hit"));
}

#[tokio::test]
async fn a_damaged_file_is_none_and_an_unfinished_one_too() {
    let mut it = on_disk(64 << 20, |n, _| ok(TAGGED, &format!("body {n}"))).await;
    it.world.get("/a").await;
    it.lie(1).await;
    let file = it.files().pop().unwrap();
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 3]).unwrap();
    std::fs::write(file.with_extension("new"), &whole).unwrap();
    it.restart(1).await;
    let answer = it.world.get("/a").await;
    assert_eq!((answer.text(), it.asked.count()), ("body 2".to_owned(), 2));
    assert!(
        !it.asked
            .last()
            .headers
            .iter()
            .any(|(name, _)| name == "if-none-match")
    );
}

/// What the memory has no room for lies on the disk, and comes back from there as it is: no restart, no question.
#[tokio::test]
async fn what_the_memory_gave_up_comes_from_the_disk() {
    let it = on_disk(256 << 20, |_, request| {
        ok(KEPT, &request.target().repeat(1_000_000 / request.target().len()))
    })
    .await;
    for n in 0..100 {
        it.world.get(&format!("/{n}")).await;
    }
    it.lie(100).await;
    let answer = it.world.get("/0").await;
    assert!(said(&answer).starts_with("hit"), "{}", said(&answer));
    assert_eq!((answer.body.len(), it.asked.count()), (1_000_000, 100));
    // Made untrue while it lay there alone.
    it.world.ask(&post("/1", "change")).await;
    let answer = it.world.get("/1").await;
    assert!(said(&answer).starts_with("fwd="), "{}", said(&answer));
    assert_eq!(it.asked.count(), 102);
}

#[tokio::test]
async fn the_disk_is_bounded_and_without_it_nothing_fails() {
    let mut it = on_disk(16 << 20, |_, _| ok(KEPT, &"x".repeat(1 << 20))).await;
    for n in 0..40 {
        it.world.get(&format!("/{n}")).await;
    }
    let bounded = async || {
        let used: u64 = it
            .files()
            .iter()
            .filter_map(|file| Some(file.metadata().ok()?.len()))
            .sum();
        let files = it.files().len();
        if files >= 14 && used <= 16 << 20 {
            Ok(())
        } else {
            Err(format!("{files} files of {used} bytes"))
        }
    };
    wait::until("the disk to be bounded", LIMIT, bounded)
        .await
        .unwrap();
    // A file where its folder is to be: every write fails, also for root.
    let folder = it.world.dir.path().join("cache");
    std::fs::rename(&folder, folder.with_extension("away")).unwrap();
    std::fs::write(&folder, "no folder").unwrap();
    it.world.get("/after").await;
    let report = it
        .world
        .until(|r| r.cache.as_ref().is_some_and(|c| c.problem.is_some()))
        .await;
    let problem = report.cache.unwrap().problem.unwrap();
    assert!(problem.starts_with("cannot write in "), "{problem}");
    assert!(said(&it.world.get("/after").await).starts_with("hit"));
    assert_eq!(it.world.get("/more").await.status(), 200);
}
