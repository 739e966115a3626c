//! What outlives the process: whole or not at all, validated before its first use by another process, never what was
//! replaced.

use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_testkit::upstream::{Message, Upstream};
use banyan_testkit::wait;

use super::{Asked, ok, origin, safe, said};
use crate::world::{World, post};

const LIMIT: Duration = Duration::from_secs(30);
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
}

#[tokio::test]
async fn a_restart_finds_what_was_stored_and_validates_it_once() {
    let mut it = on_disk(64 << 20, |_, request| {
        if request.header("if-none-match") == "\"1\"" {
            return "HTTP/1.1 304 X\r\nETag: \"1\"\r\n\r\n".to_owned();
        }
        ok(TAGGED, &"body ".repeat(100_000))
    })
    .await;
    let first = it.world.get("/a").await;
    it.lie(1).await;
    it.restart(1).await;
    let again = it.world.get("/a").await;
    assert_eq!(again.body, first.body);
    assert!(said(&again).contains("fwd-status=304"), "{}", said(&again));
    assert_eq!(it.asked.count(), 2);
    assert!(said(&it.world.get("/a").await).starts_with("hit"));
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
    // Without a validator nothing says that it is still true.
    assert_eq!(it.world.get("/a").await.text(), "v4");
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
