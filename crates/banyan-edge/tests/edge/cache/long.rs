//! Bodies that are longer than the memory keeps: in a file, read by many while it comes, cut into ranges, whole after a restart
//! or not there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use banyan_config::Cache;
use banyan_testkit::upstream::{Message, Upstream, Wire};
use banyan_testkit::wait;
use banyan_topology::purge::{Mode, Scope};
use tokio::sync::Semaphore;

use super::purge::Log;
use super::{get, safe, said};
use crate::world::World;

const LIMIT: Duration = Duration::from_secs(90);
const SIZE: usize = 3 << 20;
const HALF: usize = SIZE / 2;

/// Every place has its own bytes.
fn body() -> Vec<u8> {
    (0..SIZE as u32 / 4).flat_map(u32::to_be_bytes).collect()
}

/// An eighth of the memory is less than it.
fn small() -> Cache {
    Cache {
        memory: 8 << 20,
        disk: Some(64 << 20),
        ..safe()
    }
}

struct Long {
    world: World,
    asked: Arc<AtomicUsize>,
    /// The second halves that may be sent.
    go: Arc<Semaphore>,
    _origin: Upstream,
}

/// Sends the head and a half at once, the other half when told; `lines` may differ by the request's number (from 1 on).
/// A request under a condition gets a 304; `torn`: that request's second half never comes.
async fn long(cache: Cache, lines: &'static str, torn: Option<usize>) -> Long {
    let (asked, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (counted, held) = (Arc::clone(&asked), Arc::clone(&go));
    let origin = Upstream::start(move |mut wire: Wire| {
        let (counted, held) = (Arc::clone(&counted), Arc::clone(&held));
        async move {
            while let Some(request) = wire.message().await {
                let n = counted.fetch_add(1, Ordering::SeqCst) + 1;
                if !request.header("if-none-match").is_empty() {
                    wire.send(format!("HTTP/1.1 304 X\r\n{lines}X-Count: {n}\r\n\r\n"))
                        .await;
                    continue;
                }
                let status = match request.header("range").as_str() {
                    "bytes=0-" => format!(
                        "206 Partial Content\r\nContent-Range: bytes 0-{}/{SIZE}",
                        SIZE - 1
                    ),
                    _ => "200 OK".to_owned(),
                };
                let body = body();
                wire.send(format!(
                    "HTTP/1.1 {status}\r\n{lines}Content-Length: {SIZE}\r\n\r\n"
                ))
                .await;
                wire.send(&body[..HALF]).await;
                held.acquire().await.unwrap().forget();
                if torn == Some(n) {
                    return;
                }
                wire.send(&body[HALF..]).await;
            }
        }
    })
    .await;
    let world = World::with(&[origin.address], |snapshot| {
        snapshot.settings.cache = Some(Box::new(cache));
    })
    .await;
    Long {
        world,
        asked,
        go,
        _origin: origin,
    }
}

const TAGGED: &str = "Cache-Control: max-age=600\r\nETag: \"1\"\r\n";

impl Long {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn lie(&mut self, count: u64) {
        self.world
            .soon(|report| {
                let cache = report.cache.as_ref();
                cache.is_some_and(|cache| cache.under_way == 0 && cache.disk_objects == count)
            })
            .await;
    }

    /// Stored, and no longer on its way.
    async fn stored(&mut self) {
        self.go.add_permits(1);
        assert!(self.world.get("/").await.body == body());
        self.lie(1).await;
    }

    fn file(&self) -> Option<PathBuf> {
        let list = |path: PathBuf| -> Vec<PathBuf> {
            let entries = std::fs::read_dir(path).into_iter().flatten();
            entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
        };
        let folders = list(self.world.dir.path().join("cache").join("edge"));
        let mut files = folders.into_iter().flat_map(list);
        files.find(|file| file.extension().is_some_and(|name| name == "body"))
    }

    async fn restart(&mut self) {
        self.world.restart().await;
        self.lie(1).await;
    }
}

fn part(answer: &Message) -> (u16, &[u8]) {
    (answer.status(), &answer.body)
}

#[tokio::test]
async fn it_is_asked_for_once_read_along_from_the_beginning_and_hit_from_then_on() {
    let mut it = long(small(), TAGGED, None).await;
    let mut clients = Vec::new();
    for n in 0..8 {
        let mut client = it.world.client().await;
        client.send(get("/", "")).await;
        let head = client.head().await.unwrap();
        assert_eq!(said(&head).contains("collapsed"), n > 0, "{head:?}");
        clients.push(client);
    }
    for client in &mut clients {
        assert!(client.bytes(HALF).await.unwrap() == body()[..HALF]);
    }
    it.go.add_permits(1);
    for client in &mut clients {
        assert!(client.bytes(SIZE - HALF).await.unwrap() == body()[HALF..]);
    }
    it.lie(1).await;
    let hit = it.world.get("/").await;
    assert!(said(&hit).starts_with("hit"), "{}", said(&hit));
    assert!(hit.body == body());
    assert_eq!(it.asked(), 1);
}

/// RFC 9110 §14: also across the slices of its file, and several at once.
#[tokio::test]
async fn ranges_are_cut_from_the_file() {
    let mut it = long(small(), TAGGED, None).await;
    it.stored().await;
    let body = body();
    for (from, to) in [
        (0, 0),
        (5, 262_143),
        (262_143, 262_144),
        (262_144, 524_287),
        (1_000_000, SIZE - 1),
    ] {
        let answer = it
            .world
            .ask(&get("/", &format!("Range: bytes={from}-{to}\r\n")))
            .await;
        assert!(part(&answer) == (206, &body[from..=to]), "{from}-{to}");
    }
    let several = it
        .world
        .ask(&get("/", "Range: bytes=0-3, 2097152-2097155\r\n"))
        .await;
    assert_eq!(several.status(), 206);
    let contains = |wanted: &[u8]| several.body.windows(wanted.len()).any(|window| window == wanted);
    assert!(contains(&body[2_097_152..2_097_156]) && contains(b"Content-Range: bytes 0-3/3145728"));
    assert_eq!(it.asked(), 1);
}

/// A player begins with all of it as a range.
#[tokio::test]
async fn a_range_of_all_of_it_is_all_of_it() {
    let mut it = long(small(), TAGGED, None).await;
    it.go.add_permits(1);
    let all = it.world.ask(&get("/", "Range: bytes=0-\r\n")).await;
    assert!(part(&all) == (206, &body()[..]));
    it.lie(1).await;
    let whole = it.world.get("/").await;
    assert!(
        said(&whole).starts_with("hit") && part(&whole) == (200, &body()[..]),
        "{}",
        said(&whole)
    );
    let end = it.world.ask(&get("/", "Range: bytes=-4\r\n")).await;
    assert_eq!((part(&end), it.asked()), ((206, &body()[SIZE - 4..]), 1));
}

/// RFC 9111 §4.3.4: a 304 changes the head alone.
#[tokio::test]
async fn a_restart_finds_it_and_its_file_stays_also_when_a_304_renews_its_head() {
    let mut it = long(small(), TAGGED, None).await;
    it.stored().await;
    let file = it.file().expect("a file");
    let mut log = Log::new(&it.world);
    for count in 2..=3 {
        it.restart().await;
        let again = it.world.get("/").await;
        assert!(said(&again).starts_with("hit"), "{}", said(&again));
        assert!(again.body == body());
        // Whoever comes first gets it as it is, and has it validated.
        log.purge(&mut it.world, Scope::All, Mode::Soft).await;
        it.restart().await;
        assert!(it.world.get("/").await.body == body());
        let renewed = async || match it.world.get("/").await.header("x-count") {
            seen if seen == count.to_string() => Ok(()),
            seen => Err(seen),
        };
        wait::until("a validation", LIMIT, renewed).await.unwrap();
        it.lie(1).await;
        assert_eq!((it.file().as_ref(), it.asked()), (Some(&file), count));
    }
}

#[tokio::test]
async fn what_breaks_off_is_kept_by_nobody_and_its_file_goes() {
    let mut it = long(small(), TAGGED, Some(1)).await;
    it.go.add_permits(1);
    let mut client = it.world.client().await;
    client.send(get("/", "")).await;
    client.head().await.unwrap();
    assert!(client.bytes(SIZE).await.is_none(), "the end is missing");
    it.lie(0).await;
    assert_eq!(it.file(), None);
    it.stored().await;
    assert_eq!(it.asked(), 2);
}

/// Nobody gets a byte of a slice that is not as it was written.
#[tokio::test]
async fn a_damaged_file_is_given_up_and_asked_for_anew() {
    let mut it = long(small(), TAGGED, None).await;
    it.stored().await;
    let file = it.file().expect("a file");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[1_000_000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    it.restart().await;
    let start = it.world.ask(&get("/", "Range: bytes=0-9\r\n")).await;
    assert!(part(&start) == (206, &body()[..10]));
    let mut client = it.world.client().await;
    client.send(get("/", "")).await;
    client.head().await.unwrap();
    assert!(
        client.bytes(SIZE).await.is_none(),
        "it breaks off before the damage"
    );
    it.lie(0).await;
    let before = it.asked();
    it.stored().await;
    assert_eq!(it.asked(), before + 1);
}

#[tokio::test]
async fn the_disk_is_bounded_and_what_goes_from_it_is_nowhere() {
    let mut it = long(
        Cache {
            disk: Some(4 * SIZE as u64 + (1 << 20)),
            ..small()
        },
        TAGGED,
        None,
    )
    .await;
    for n in 0..6 {
        it.go.add_permits(1);
        assert!(it.world.get(&format!("/{n}")).await.body == body());
        it.lie((n + 1).min(4)).await;
    }
    assert!(said(&it.world.get("/5").await).starts_with("hit"));
    it.go.add_permits(1);
    let gone = it.world.get("/0").await;
    assert!(said(&gone).starts_with("fwd="), "{}", said(&gone));
    assert!(gone.body == body());
}

/// A client that leaves does not keep the edge at work for long, nor the file.
#[tokio::test]
async fn one_who_leaves_alone_ends_it_unless_little_is_missing() {
    let mut it = long(small(), TAGGED, None).await;
    let mut client = it.world.client().await;
    client.send(get("/", "")).await;
    client.head().await.unwrap();
    client.bytes(HALF).await.unwrap();
    drop(client);
    it.go.add_permits(1);
    // Less than 8 MiB are missing: it is fetched to its end.
    it.lie(1).await;
    assert!(said(&it.world.get("/").await).starts_with("hit"));
    assert_eq!(it.asked(), 1);
}

#[tokio::test]
async fn a_full_or_broken_disk_lets_it_pass() {
    let mut it = long(small(), TAGGED, None).await;
    let folder = it.world.dir.path().join("cache");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "no folder").unwrap();
    it.go.add_permits(2);
    for count in 1..=2 {
        let passed = it.world.get("/").await;
        assert!(passed.body == body());
        assert_eq!(
            (said(&passed).as_str(), it.asked()),
            ("fwd=uri-miss; detail=too-large", count)
        );
    }
    let report = it
        .world
        .until(|r| r.cache.as_ref().is_some_and(|c| c.problem.is_some()))
        .await;
    assert!(
        report
            .cache
            .unwrap()
            .problem
            .unwrap()
            .starts_with("cannot write in ")
    );
    let left = async || it.file().map_or(Ok(()), |file| Err(file.display().to_string()));
    wait::until("nothing to be left", LIMIT, left).await.unwrap();
}
