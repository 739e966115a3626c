//! A primary that dies, while people use the site and others write over connections of their own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use banyan_e2e::{Installation, site};
use banyan_runtime::{Clock, TaskKind, Tasks, shutdown};
use banyan_testkit::ledger::{Ledger, Outcome, Verdict};
use banyan_testkit::{postgres, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::scenario::Loaded;
use crate::servers::{RATE, kinds, proxied, row};

const LIMIT: Duration = Duration::from_secs(120);
const WRITERS: usize = 8;
/// What the proxy says of a statement that was not executed: held to the limit, refused a place, undone.
const NOT_DONE: [&str; 3] = ["57P03", "53300", "40001"];

/// What the controller says of its failovers.
fn mended(installation: &Installation) -> String {
    let output = installation.controller_output();
    let lines = output
        .lines()
        .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "));
    lines.collect::<Vec<_>>().join("\n")
}

/// SIGKILL to the primary's postmaster alone; its backends notice by themselves.
pub(crate) async fn kill_primary(installation: &Installation) -> String {
    let primary = row(installation, "postgres 15 primary").await.unwrap();
    let pid = i32::try_from(primary["pid"].as_u64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    primary["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn another_primary(installation: &Installation, old: &str) {
    let changed = wait::until(
        "a replica to take over and the old primary to be back",
        LIMIT,
        async || {
            let seen = kinds(installation).await;
            let has =
                |id: &str, kind: &str| seen.iter().any(|row| *row == format!("{id}=postgres 15 {kind}"));
            let others = seen
                .iter()
                .any(|row| row.ends_with("primary") && !row.starts_with(&format!("{old}=")));
            if others && has(old, "replica") {
                Ok(())
            } else {
                Err(seen.join(" "))
            }
        },
    );
    changed.await.unwrap_or_else(|timed_out| {
        panic!(
            "{timed_out}\n{}\n{}",
            installation.controller_output(),
            installation.logs()
        )
    });
}

/// What a writer over one connection to the proxy has seen.
#[derive(Default)]
struct Seen {
    acknowledged: Vec<Duration>,
    /// By SQLSTATE.
    errors: BTreeMap<String, usize>,
    /// Errors without one: the connection broke, or made no sense.
    broken: Vec<String>,
}

/// Writers of rows that carry a ledger's id.
struct Writers {
    url: String,
    ledger: Arc<Ledger>,
    until: Arc<AtomicBool>,
    began: Instant,
    running: Vec<JoinHandle<Option<Seen>>>,
}

impl Writers {
    async fn start(installation: &Installation) -> Self {
        let (_, pid) = installation.instances().await.into_iter().next().unwrap();
        let url = site::database_url(pid);
        let database = postgres::connect(&url).await.unwrap();
        database
            .batch_execute("CREATE TABLE drill (id text)")
            .await
            .unwrap();
        let (trigger, _shutdown) = shutdown::channel();
        let tasks = Tasks::new(trigger);
        let mut this = Self {
            url,
            ledger: Arc::default(),
            until: Arc::default(),
            began: Clock.now(),
            running: Vec::new(),
        };
        this.running = (0..WRITERS)
            .map(|number| tasks.spawn(TaskKind::Background, "writer", this.write(number)))
            .collect();
        this
    }

    fn elapsed(&self) -> Duration {
        Clock.now() - self.began
    }

    /// A new connection after one that broke. Ends when told.
    fn write(&self, number: usize) -> impl Future<Output = Seen> + Send + use<> {
        let (url, ledger) = (self.url.clone(), Arc::clone(&self.ledger));
        let (until, began) = (Arc::clone(&self.until), self.began);
        async move {
            let mut seen = Seen::default();
            let mut sequence = 0;
            while !until.load(Ordering::Relaxed) {
                let Ok(database) = postgres::connect(&url).await else {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                };
                while !until.load(Ordering::Relaxed) && !database.is_closed() {
                    sequence += 1;
                    let id = format!("{number}/{sequence}");
                    ledger.begin(&id);
                    match database.execute("INSERT INTO drill VALUES ($1)", &[&id]).await {
                        Ok(_) => {
                            ledger.settle(&id, Outcome::Acknowledged);
                            seen.acknowledged.push(Clock.now() - began);
                        }
                        Err(error) => {
                            let Some(code) = error.code().map(|code| code.code()) else {
                                seen.broken
                                    .push(format!("{id} at {:.3?}: {error:?}", Clock.now() - began));
                                continue;
                            };
                            if NOT_DONE.contains(&code) {
                                ledger.settle(&id, Outcome::Refused);
                            }
                            *seen.errors.entry(code.to_owned()).or_default() += 1;
                        }
                    }
                }
            }
            seen
        }
    }

    async fn stop(self) -> (Seen, Verdict) {
        self.until.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for writer in self.running {
            let seen = writer.await.unwrap().unwrap_or_default();
            all.acknowledged.extend(seen.acknowledged);
            all.broken.extend(seen.broken);
            for (code, count) in seen.errors {
                *all.errors.entry(code).or_default() += count;
            }
        }
        all.acknowledged.sort_unstable();
        let database = postgres::connect(&self.url).await.unwrap();
        let rows = database.query("SELECT id FROM drill", &[]).await.unwrap();
        let verdict = self.ledger.judge(rows.iter().map(|row| row.get::<_, String>(0)));
        (all, verdict)
    }
}

/// The longest time without an acknowledgement that follows on this kill: backends of a killed postmaster may go on for a
/// moment.
fn outage(acknowledged: &[Duration], kill: Duration) -> Option<Duration> {
    let gaps = acknowledged.windows(2).map(|pair| (pair[0], pair[1]));
    gaps.filter(|(from, to)| *to > kill && *from < kill + Duration::from_secs(3))
        .map(|(from, to)| to - from.max(kill))
        .max()
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// The proxy is told of which database cluster every server must be.
fn one_cluster(installation: &Installation) {
    let snapshot = std::fs::read(installation.state().join("snapshots").join("pgproxy.json")).unwrap();
    let snapshot: Value = serde_json::from_slice(&snapshot).unwrap();
    let nodes = snapshot["database"]["nodes"].as_array().unwrap();
    let first = &nodes[0]["system_identifier"];
    let same = nodes.iter().all(|node| node["system_identifier"] == *first);
    assert!(first.is_u64() && same && nodes.len() == 2, "{snapshot}");
}

/// Kills the primary so often, or as often as fits; a synchronous replica takes over each time. Nothing acknowledged may
/// be lost, nothing doubled.
pub(crate) async fn kills(count: usize, limit: Duration) {
    let mut loaded = Loaded::of(proxied(&["replicas = 1", "durability = \"sync\""]), RATE).await;
    let writers = Writers::start(&loaded.installation).await;
    let mut kills = Vec::new();
    while kills.len() < count && writers.elapsed() < limit {
        loaded
            .during(
                &format!("kill -9 of the primary, number {}", kills.len() + 1),
                async |it| {
                    let old = kill_primary(it).await;
                    kills.push(writers.elapsed());
                    another_primary(it, &old).await;
                },
            )
            .await;
    }
    one_cluster(&loaded.installation);
    let (seen, verdict) = writers.stop().await;
    let mut outages: Vec<Duration> = kills
        .iter()
        .filter_map(|kill| outage(&seen.acknowledged, *kill))
        .collect();
    outages.sort_unstable();
    println!("{}", mended(&loaded.installation));
    let (mut installation, report) = loaded.judged_without_a_database().await;
    println!(
        "{} kills: without an acknowledged write for p50 {:.2?}, p99 {:.2?}, at most {:.2?}; {WRITERS} writers: {verdict}; errors by \
         SQLSTATE {:?}; HTTP: {} of {} requests failed\n{}",
        kills.len(),
        percentile(&outages, 50),
        percentile(&outages, 99),
        percentile(&outages, 100),
        seen.errors,
        report.failures().len(),
        report.samples.len(),
        report.explain(10)
    );
    assert!(verdict.is_clean(), "{verdict:?}");
    assert!(
        seen.broken.is_empty(),
        "connections broke, which the proxy keeps: {:#?}\n{}",
        seen.broken,
        installation.logs()
    );
    // Nothing is left to be done.
    installation.verb(&["plan"]).await;
    installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_kills_of_a_primary_with_a_synchronous_replica_lose_and_double_nothing_under_load() {
    kills(2, LIMIT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_whose_replica_may_lack_something_is_started_in_its_place_and_status_says_why() {
    let mut installation = Installation::new(proxied(&["replicas = 1"]));
    installation.up().await;
    let old = kill_primary(&installation).await;
    let told = wait::until("the failure to be told of", LIMIT, async || {
        let status = installation.status().await;
        let notes = status["mended"]["notes"].as_array().cloned().unwrap_or_default();
        let mut why: Vec<String> = notes.iter().map(ToString::to_string).collect();
        why.retain(|note| note.contains("started in its place"));
        if why.is_empty() {
            Err(status["mended"].to_string())
        } else {
            Ok(why)
        }
    });
    let told = told.await.unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("database.durability"), "{told:?}");
    let page = installation.verb(&["status"]).await.stdout;
    assert!(page.contains("the primary of the database failed"), "{page}");
    let primary = row(&installation, "postgres").await.unwrap();
    assert_eq!(primary["id"], old);
    installation.down().await;
}
