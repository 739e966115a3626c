//! PostgreSQL behind its proxy: replicas, settings, places and a primary that dies, while people use the site.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use banyan_e2e::{Installation, Manifest};
use banyan_runtime::{Clock, TaskKind, Tasks, shutdown};
use banyan_testkit::ledger::{Ledger, Outcome};
use banyan_testkit::{hurl, postgres, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::resume;
use crate::scenario::Loaded;

/// Each new connection costs a login on both sides of the proxy, which an unoptimised build is slow at.
const RATE: u32 = 50;
const LIMIT: Duration = Duration::from_secs(60);

/// The sample app behind the proxy.
fn proxied(keys: &[&str]) -> Manifest {
    let mut manifest = Manifest::photos(2).process("stop_grace = \"5s\"");
    set(&mut manifest, keys);
    manifest
}

/// The whole of `[database]` besides port and memory.
fn set(manifest: &mut Manifest, keys: &[&str]) {
    let keys = keys.iter().map(|key| (*key).to_owned());
    manifest.database_keys = keys.chain(["pgproxy = { direct = false }".to_owned()]).collect();
}

async fn row(installation: &Installation, kind: &str) -> Option<Value> {
    let status = installation.status().await;
    let rows = status["children"].as_array().unwrap();
    rows.iter()
        .find(|row| row["kind"].as_str().is_some_and(|found| found.starts_with(kind)))
        .cloned()
}

async fn kinds(installation: &Installation) -> Vec<String> {
    let status = installation.status().await;
    let rows = status["children"].as_array().unwrap();
    let named = rows.iter().map(|row| {
        format!(
            "{}={}",
            row["id"].as_str().unwrap(),
            row["kind"].as_str().unwrap()
        )
    });
    named.filter(|text| text.starts_with("p")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_realworld_suite_passes_through_the_proxy_with_and_without_replicas() {
    let Some(suite) = hurl::realworld_suite() else {
        println!("SKIPPED: ../shared/spec/realworld is not on this machine");
        return;
    };
    let mut installation = Installation::new(proxied(&[]));
    installation.up().await;
    let base = format!("http://{}", installation.edge_address());
    for replicas in ["replicas = 0", "replicas = 1"] {
        installation.apply(|manifest| set(manifest, &[replicas])).await;
        let uid = format!("{}x{}", replicas.len(), Clock.unix_ms());
        let report = hurl::run_folder(&suite, &base, &uid)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", installation.logs()));
        println!("RealWorld suite, {replicas}: {report}");
        assert_eq!((report.files, report.requests), (13, 154), "the whole suite");
    }
    installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_durability_settings_and_a_change_of_places_fail_nothing_under_load() {
    let mut loaded = Loaded::of(proxied(&[]), RATE).await;
    let moves: [(&str, &[&str]); 6] = [
        ("0 → 1 replica", &["replicas = 1"]),
        ("async → sync", &["replicas = 1", "durability = \"sync\""]),
        (
            "max_connections: a restart",
            &["replicas = 1", "durability = \"sync\"", "max_connections = 150"],
        ),
        (
            "1 → 2 replicas, sync → async",
            &["replicas = 2", "max_connections = 150"],
        ),
        (
            "work_mem",
            &[
                "replicas = 2",
                "max_connections = 150",
                "settings = { work_mem = \"5MB\" }",
            ],
        ),
        (
            "2 → 0 replicas",
            &["max_connections = 150", "settings = { work_mem = \"5MB\" }"],
        ),
    ];
    for (what, keys) in moves {
        loaded
            .during(what, async |it| {
                it.apply(|manifest| set(manifest, keys)).await;
            })
            .await;
        println!("    {:?}", kinds(&loaded.installation).await);
    }
    loaded
        .during("another port: by replica, hold and switchover", async |it| {
            it.move_database();
            it.write_manifest();
            it.verb(&["apply"]).await;
        })
        .await;
    let primary = row(&loaded.installation, "postgres").await.unwrap();
    assert_eq!(primary["id"], "postgres-db2");
    assert_eq!(primary["port"], loaded.installation.database_port());
    loaded
        .during("and back by revert", async |it| {
            let undone = it.try_verb(&["apply", "--revert"]).await;
            assert_eq!(undone.code(), 0, "{}", undone.output());
            assert!(undone.output().contains("undone in"), "{}", undone.output());
        })
        .await;
    assert_eq!(
        row(&loaded.installation, "postgres").await.unwrap()["id"],
        "postgres"
    );
    let (mut installation, report) = loaded.judged().await;
    assert!(
        report.failures().is_empty(),
        "{report}\n{}\n{}",
        report.explain(20),
        installation.logs()
    );
    installation.down().await;
}

/// What the controller says of its failovers.
fn mended(installation: &Installation) -> String {
    let output = installation.controller_output();
    let lines = output
        .lines()
        .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "));
    lines.collect::<Vec<_>>().join("\n")
}

/// SIGKILL to the primary's postmaster alone; its backends notice by themselves.
async fn kill_primary(installation: &Installation) -> String {
    let primary = row(installation, "postgres 15 primary").await.unwrap();
    let pid = i32::try_from(primary["pid"].as_u64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    primary["id"].as_str().unwrap().to_owned()
}

async fn another_primary(installation: &Installation, old: &str) {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_primary_with_a_synchronous_replica_loses_and_doubles_nothing_under_load() {
    let mut loaded = Loaded::of(proxied(&["replicas = 1", "durability = \"sync\""]), RATE).await;
    for _ in 0..3 {
        loaded
            .during("kill -9 of the primary", async |it| {
                let old = kill_primary(it).await;
                another_primary(it, &old).await;
            })
            .await;
    }
    println!("{}", mended(&loaded.installation));
    let (mut installation, report) = loaded.judged_without_a_database().await;
    println!(
        "failed requests: {}\n{}",
        report.failures().len(),
        report.explain(10)
    );
    // Nothing is left to be done.
    installation.verb(&["plan"]).await;
    installation.down().await;
}

/// Where the database is and who is primary, once nothing is left to be done.
async fn moved(kill_at: Option<usize>) -> (Vec<String>, usize) {
    let mut installation = Installation::new(proxied(&["replicas = 1"]));
    installation.manifest.count = 1;
    installation.up().await;
    let before = resume::newest_journal(&installation);
    installation.move_database();
    set(
        &mut installation.manifest,
        &["replicas = 1", "max_connections = 150"],
    );
    installation.write_manifest();
    match kill_at {
        None => drop(installation.verb(&["apply"]).await),
        Some(step) => {
            let apply = installation.command(&["apply"]).start().unwrap();
            resume::kill_at_step(&mut installation, before.as_deref(), step).await;
            drop(apply);
            installation.start_controller();
        }
    }
    installation.settled().await;
    // What was set aside is planned anew.
    installation.verb(&["apply"]).await;
    let plan = installation.try_verb(&["plan"]).await;
    assert_eq!(plan.code(), 0, "{}\n{}", plan.output(), installation.logs());
    let journal = resume::newest_journal(&installation).unwrap();
    let steps = resume::entries(&journal)[0]["plan"]["steps"]
        .as_array()
        .unwrap()
        .len();
    (kinds(&installation).await, steps)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: make drill"]
async fn a_move_of_the_database_killed_at_each_step_ends_in_the_same_place() {
    let (wanted, steps) = moved(None).await;
    println!("undisturbed: {steps} steps to {wanted:?}");
    for step in 0..steps {
        let (reached, _) = moved(Some(step)).await;
        assert_eq!(reached, wanted, "killed at step {step}");
    }
}

/// One writer over one connection to the proxy; a new one after an error. Ends when told. Returns when each
/// acknowledgement came.
async fn write(
    url: String,
    number: usize,
    ledger: Arc<Ledger>,
    began: Instant,
    until: Arc<AtomicBool>,
) -> Vec<Duration> {
    let mut acknowledged = Vec::new();
    let mut sequence = 0;
    while !until.load(Ordering::Relaxed) {
        let Ok(database) = postgres::connect(&url).await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        while !until.load(Ordering::Relaxed) {
            sequence += 1;
            let id = format!("{number}/{sequence}");
            ledger.begin(&id);
            let written = database.execute("INSERT INTO drill VALUES ($1)", &[&id]).await;
            if written.is_err() {
                // Nobody knows whether it was done.
                break;
            }
            ledger.settle(&id, Outcome::Acknowledged);
            acknowledged.push(Clock.now() - began);
        }
    }
    acknowledged
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: make drill"]
async fn fifty_kills_of_the_primary_lose_and_double_nothing() {
    let mut installation = Installation::new(proxied(&["replicas = 1", "durability = \"sync\""]));
    installation.up().await;
    let (_, pid) = installation.instances().await.into_iter().next().unwrap();
    let url = banyan_e2e::site::database_url(pid);
    let database = postgres::connect(&url).await.unwrap();
    database
        .batch_execute("CREATE TABLE drill (id text)")
        .await
        .unwrap();
    let (ledger, until, began) = (
        Arc::new(Ledger::default()),
        Arc::new(AtomicBool::new(false)),
        Clock.now(),
    );
    let (trigger, _shutdown) = shutdown::channel();
    let tasks = Tasks::new(trigger);
    let writer = |number| {
        write(
            url.clone(),
            number,
            Arc::clone(&ledger),
            began,
            Arc::clone(&until),
        )
    };
    let writers: Vec<_> = (0..8)
        .map(|number| tasks.spawn(TaskKind::Background, "writer", writer(number)))
        .collect();
    let mut kills = Vec::new();
    while kills.len() < 50 && Clock.now() - began < crate::drill::duration() {
        let old = kill_primary(&installation).await;
        kills.push(Clock.now() - began);
        another_primary(&installation, &old).await;
    }
    until.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap().unwrap_or_default());
    }
    acknowledged.sort_unstable();
    let outage = |kill: &Duration| acknowledged.iter().find(|at| *at > kill).map(|at| *at - *kill);
    let mut outages: Vec<Duration> = kills.iter().filter_map(outage).collect();
    outages.sort_unstable();
    let database = postgres::connect(&url).await.unwrap();
    let rows = database.query("SELECT id FROM drill", &[]).await.unwrap();
    let verdict = ledger.judge(rows.iter().map(|row| row.get::<_, String>(0)));
    println!(
        "{} kills, {} acknowledged: outage p50 {:?}, p99 {:?}, max {:?}; {verdict}",
        kills.len(),
        acknowledged.len(),
        percentile(&outages, 50),
        percentile(&outages, 99),
        outages.last()
    );
    assert!(verdict.lost.is_empty() && verdict.twice.is_empty(), "{verdict:?}");
    println!("{}", mended(&installation));
    installation.down().await;
}
