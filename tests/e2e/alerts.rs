//! Each rule is fired and cleared, a receiver is told of both, and of nothing else: by a real fault, within shorter windows. Only
//! what would harm the machine is not done to it: the limits of memory and disk come down to what is used.

pub(crate) mod world;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use banyan_e2e::Manifest;
use banyan_e2e::site::variable;
use banyan_runtime::{Clock, TaskKind, Tasks, shutdown};
use banyan_testkit::redis::command;
use banyan_testkit::{Port, postgres, wait};
use banyan_tls::local::Local;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use crate::scenario::Loaded;
use crate::servers::RATE;
use world::{ANY, LIMIT, Machine, Stopped, World, family, table};

/// A certificate for this machine that was made so many days ago, for 90 days; certificate and key in one file.
fn certificate(folder: &Path, days_ago: i64) -> PathBuf {
    let local = Local::new(folder);
    let now = i64::try_from(Clock.unix_ms() / 1000).unwrap();
    let names: BTreeSet<String> = ["localhost".to_owned()].into();
    local.ensure("shop", &names, now - days_ago * 86_400).unwrap();
    local.leaf()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_the_app_and_the_edge_are_told_and_so_is_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let mood = folder.path().join("mood");
    let mut manifest = Manifest::misfit(&format!("--mood {}", mood.display()));
    manifest.ready = Some("/".to_owned());
    let https = Port::free();
    let served = certificate(&folder.path().join("served"), 0);
    let file = served.display();
    manifest.edge = vec![
        format!("tls = {{ cert = \"{file}\", key = \"{file}\" }}"),
        format!("https_port = {}", https.number()),
        "redirect = false".to_owned(),
    ];
    manifest.more = vec!["[[route]]\nname = \"all\"\nprefix = \"/\"\nprocess = \"web\"".to_owned()];
    let mut world = World::new(manifest, mood, &["critical = [\"all\"]"]).await;
    let load = world.load();

    // As many judgements as five minutes have by default.
    world.judged_for(Duration::from_secs(10)).await;
    assert_eq!(world.told(), [""; 0], "a steady load");

    let old = certificate(&folder.path().join("old"), 87);
    let fresh = std::fs::read(&served).unwrap();
    std::fs::copy(old, &served).unwrap();
    std::fs::write(&world.mood, "sleep 400").unwrap();
    world.is_told("firing latency-high").await;
    world.is_told("firing certificate-expires").await;
    std::fs::remove_file(&world.mood).unwrap();
    std::fs::write(&served, fresh).unwrap();
    world.all_clear().await;

    let web = Stopped::new(world.pid("web").await);
    world.is_told("firing no-instance").await;
    drop(web);
    world.all_clear().await;

    std::fs::write(&world.mood, "status 500").unwrap();
    world.is_told("firing errors-most").await;
    world.is_told("firing errors-critical").await;
    let budgets = ["budget-fast", "budget-medium", "budget-slow"];
    world
        .fire(&[&budgets[..], &["errors-high", "errors-some"]].concat())
        .await;
    std::fs::remove_file(&world.mood).unwrap();
    world.all_clear().await;
    load.stop().await;

    let edge = Stopped::new(world.pid("edge").await);
    world.is_told("firing no-data").await;
    drop(edge);
    world.all_clear().await;
    world.installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_primary_is_told_and_what_fires_outlives_the_judge_and_is_silenced() {
    let mut world = World::new(Manifest::photos(1), PathBuf::new(), &[]).await;
    world.judged_for(Duration::from_secs(3)).await;
    assert_eq!(world.told(), [""; 0], "nothing is wrong");

    let stopped: Vec<Stopped> = family(world.pid("postgres 15").await)
        .into_iter()
        .map(Stopped::new)
        .collect();
    world.is_told("firing no-primary").await;
    drop(stopped);
    world.all_clear().await;

    let port = world.port;
    let little = Machine { memory: 0.001, ..ANY };
    world
        .installation
        .apply(|manifest| manifest.more = table(little, port))
        .await;
    world.is_told("firing memory-high").await;
    let status = world.installation.verb(&["status"]).await.stdout;
    assert!(status.contains("P2 memory-high:"), "{status}");

    kill_process(world.pid("observe").await, Signal::KILL).unwrap();
    world.judged_for(Duration::from_secs(6)).await;
    assert_eq!(world.told(), ["firing memory-high"], "nobody is told twice");

    let silence = [
        "alerts",
        "silence",
        "memory-high",
        "--for",
        "1h",
        "--why",
        "a drill",
    ];
    world.installation.verb(&silence).await;
    wait::until("the silence to hold", LIMIT, async || {
        let page = world.installation.verb(&["alerts"]).await.stdout;
        if page.contains("silenced  ") && page.contains("a drill") {
            Ok(())
        } else {
            Err(page)
        }
    })
    .await
    .unwrap();
    world
        .installation
        .verb(&["alerts", "unsilence", "memory-high"])
        .await;
    world
        .installation
        .apply(|manifest| manifest.more = table(ANY, port))
        .await;
    world.all_clear().await;
    let history = world.installation.verb(&["alerts", "history"]).await.stdout;
    assert!(history.contains("P0 no-primary is over"), "{history}");
    world.installation.down().await;
}

/// What the app does besides serving: statements, writes, reads of its cache. Ends with it.
struct Work {
    is_bad: Arc<AtomicBool>,
    _ends: shutdown::ShutdownTrigger,
}

impl Work {
    /// `file`: grows while things are bad.
    fn start(database: String, cache: String, file: PathBuf) -> Self {
        let is_bad = Arc::new(AtomicBool::new(false));
        let (ends, _) = shutdown::channel();
        let tasks = Tasks::new(ends.clone());
        for number in 0..4 {
            let (database, is_bad) = (database.clone(), Arc::clone(&is_bad));
            tasks.spawn(TaskKind::Background, "statements", async move {
                let client = postgres::connect(&database).await.unwrap();
                let made = format!("create table if not exists work{number} (at timestamptz)");
                client.batch_execute(&made).await.unwrap();
                let wrote = format!("insert into work{number} values (now())");
                // Until the system goes.
                while client.batch_execute(&wrote).await.is_ok() {
                    if is_bad.load(Ordering::Relaxed) {
                        let _gone = client.batch_execute("select pg_sleep(0.5)").await;
                    }
                    sleep(Duration::from_millis(50)).await;
                }
            });
        }
        let bad = Arc::clone(&is_bad);
        tasks.spawn(TaskKind::Background, "cache and disk", async move {
            loop {
                let keys = if bad.load(Ordering::Relaxed) {
                    "none"
                } else {
                    "known"
                };
                let (cache, file, grows) = (cache.clone(), file.clone(), keys == "none");
                let work = move || {
                    // Redis is started again by some faults.
                    let _away = command(&cache, &["SET", "known", "1"]);
                    let _away = command(&cache, &[&["MGET"][..], &[keys; 40]].concat());
                    if grows {
                        use std::io::Write as _;
                        let mut file = std::fs::File::options()
                            .create(true)
                            .append(true)
                            .open(file)
                            .unwrap();
                        file.write_all(&vec![7; 4 << 20]).unwrap();
                    }
                };
                banyan_runtime::task::blocking(work).await.unwrap();
                sleep(Duration::from_millis(200)).await;
            }
        });
        Self { is_bad, _ends: ends }
    }

    fn is_bad(&self, bad: bool) {
        self.is_bad.store(bad, Ordering::Relaxed);
    }
}

/// The process that replays what a replica receives.
fn replays(replica: Pid) -> Pid {
    let is_one = |pid: &Pid| {
        let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("startup")
    };
    family(replica).into_iter().find(is_one).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_the_data_and_the_disk_are_told_and_so_is_their_end() {
    let mut manifest = Manifest::photos(1);
    manifest.database_keys = vec!["replicas = 1".to_owned()];
    manifest.more = vec!["[sessions]".to_owned(), "[cache]".to_owned()];
    let mut world = World::new(manifest, PathBuf::new(), &[]).await;
    let (_, web) = world.installation.instances().await.into_iter().next().unwrap();
    let address = |name: &str| variable(web, name).unwrap();
    let cache = address("REDIS_CACHE_URL");
    let cache = cache.strip_suffix("/0").unwrap_or(&cache).to_owned();
    let file = world.installation.dir().join("filler");
    let work = Work::start(address("DATABASE_URL"), cache, file.clone());
    world.judged_for(Duration::from_secs(3)).await;

    work.is_bad(true);
    let port = world.port;
    let full = Machine {
        disk: 0.001,
        filling: true,
        ..ANY
    };
    world
        .installation
        .apply(|manifest| {
            manifest.more.truncate(2);
            manifest.more.extend(table(full, port));
        })
        .await;
    let stopped = [
        Stopped::new(replays(world.pid("postgres 15 replica").await)),
        Stopped::new(world.pid("redis sessions").await),
    ];
    world
        .fire(&[
            "replica-lag",
            "sessions-down",
            "queries-slow",
            "cache-misses",
            "disk-full",
            "disk-filling",
        ])
        .await;
    drop(stopped);
    work.is_bad(false);
    std::fs::remove_file(file).unwrap();
    world
        .installation
        .apply(|manifest| {
            manifest.more.truncate(2);
            manifest.more.extend(table(ANY, port));
        })
        .await;
    world.all_clear().await;
    world.installation.down().await;
}

/// The rules as they are by default; what the machine has besides is not this system's.
pub(crate) async fn steady(duration: Duration) {
    let off = ["memory-high", "disk-full", "disk-filling"]
        .map(|rule| format!("rule.{rule} = {{ enabled = false }}"));
    let mut manifest = Manifest::photos(2);
    manifest.database_keys = vec!["replicas = 1".to_owned()];
    manifest.more = vec!["[sessions]\n[cache]\n[alerts]".to_owned()];
    manifest.more.extend(off);
    let loaded = Loaded::of(manifest, RATE).await;
    sleep(duration).await;
    let history = loaded
        .installation
        .verb(&["alerts", "history", "--json"])
        .await
        .stdout;
    let (mut installation, report) = loaded.judged().await;
    println!("{report}\n{history}");
    let happened: Vec<serde_json::Value> = serde_json::from_str(&history).unwrap();
    assert!(happened.is_empty(), "{happened:#?}");
    installation.down().await;
}
