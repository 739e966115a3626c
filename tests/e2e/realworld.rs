//! The RealWorld API suite at every rung of the ladder, and while the running system climbs from each to the next.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use banyan_e2e::{Installation, Manifest};
use banyan_runtime::{Clock, TaskKind, Tasks, shutdown};
use banyan_testkit::hurl;

use crate::moves::disk;
use crate::servers::set;

/// An installation on which the suite runs.
struct Ladder {
    installation: Installation,
    suite: PathBuf,
    runs: usize,
}

/// The whole suite, once. `Err`: what was not as its script says.
pub(crate) async fn run(suite: &Path, base: &str, number: usize) -> Result<(), String> {
    let uid = format!("{number}x{}", Clock.unix_ms());
    let report = hurl::run_folder(suite, base, &uid)
        .await
        .map_err(|error| error.to_string())?;
    match (report.files, report.requests) {
        (13, 154) => Ok(()),
        _ => Err(format!("not the whole suite: {report}")),
    }
}

/// Over and over, until told; how often.
async fn over_and_over(
    suite: PathBuf,
    base: String,
    first: usize,
    until: Arc<AtomicBool>,
) -> Result<usize, String> {
    for done in 1.. {
        run(&suite, &base, first + done).await?;
        if until.load(Ordering::Relaxed) {
            return Ok(done);
        }
    }
    Ok(0)
}

impl Ladder {
    /// `None`, said so: the suite is not on this machine.
    async fn begin() -> Option<Self> {
        let Some(suite) = hurl::realworld_suite() else {
            println!("SKIPPED: ../shared/spec/realworld is not on this machine");
            return None;
        };
        let manifest = Manifest::photos(1).process("stop_grace = \"5s\"");
        let mut installation = Installation::new(manifest);
        installation.up().await;
        let mut ladder = Self {
            installation,
            suite,
            runs: 0,
        };
        ladder.stands("single-server").await;
        Some(ladder)
    }

    fn base(&self) -> String {
        format!("http://{}", self.installation.edge_address())
    }

    async fn stands(&mut self, rung: &str) {
        self.runs += 1;
        let passed = run(&self.suite, &self.base(), self.runs).await;
        passed.unwrap_or_else(|error| panic!("at {rung}: {error}\n{}", self.installation.logs()));
        println!("  {rung}: passed");
    }

    /// The suite runs from before the change until after it, at least once.
    async fn during(&mut self, what: &str, change: impl AsyncFnOnce(&mut Installation)) {
        let (trigger, _shutdown) = shutdown::channel();
        let until = Arc::new(AtomicBool::new(false));
        let runs = over_and_over(self.suite.clone(), self.base(), self.runs, Arc::clone(&until));
        let runs = Tasks::new(trigger).spawn(TaskKind::Background, "suite", runs);
        let began = Clock.now();
        change(&mut self.installation).await;
        let took = Clock.now() - began;
        until.store(true, Ordering::Relaxed);
        let passed = runs.await.unwrap().expect("it ends by itself");
        let passed =
            passed.unwrap_or_else(|error| panic!("during {what}: {error}\n{}", self.installation.logs()));
        self.runs += passed;
        println!(
            "  during {what} ({:.1} s): passed {passed} times",
            took.as_secs_f64()
        );
    }

    async fn apply(&mut self, what: &str, count: u32, keys: &[&str]) {
        self.during(what, async |it| {
            it.manifest.count = count;
            set(&mut it.manifest, keys);
            it.write_manifest();
            it.verb(&["apply"]).await;
        })
        .await;
    }

    async fn tables(&mut self, what: &str, tables: &[&str]) {
        self.during(what, async |it| {
            let tables = tables.iter().map(|line| (*line).to_owned()).collect();
            drop(it.apply(|manifest| manifest.more = tables).await);
        })
        .await;
    }

    async fn climb(&mut self) {
        self.apply("1 → 3 instances", 3, &[]).await;
        self.stands("load-balancer").await;
        self.installation.move_database();
        self.apply("another place for the database", 3, &["pgproxy = { pool = 30 }"])
            .await;
        self.stands("separate-database").await;
        self.apply(
            "a synchronous replica",
            3,
            &["replicas = 1", "durability = \"sync\""],
        )
        .await;
        self.stands("replication").await;
        self.tables("sessions in Redis", &["[sessions]"]).await;
        self.stands("sessions").await;
        self.tables("a cache in Redis", &["[sessions]", "[cache]"]).await;
        self.stands("cache").await;
        self.during("a cache in the edge", async |it| {
            drop(
                it.apply(|manifest| manifest.edge.push("cache = {}".to_owned()))
                    .await,
            );
        })
        .await;
        self.stands("cdn").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_realworld_suite_passes_at_every_rung_and_on_the_way_to_the_next_under_load() {
    let Some(mut ladder) = Ladder::begin().await else {
        return;
    };
    ladder.climb().await;
    ladder.installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: make conformance"]
async fn the_realworld_suite_passes_during_every_move_up_and_down_under_load() {
    let Some(mut ladder) = Ladder::begin().await else {
        return;
    };
    ladder.climb().await;
    ladder.tables("no Redis", &[]).await;
    ladder.tables("and again", &["[sessions]", "[cache]"]).await;
    let sync = ["replicas = 1", "durability = \"sync\""];
    for what in ["a switchover", "a switchover back"] {
        ladder
            .during(what, async |it| drop(it.verb(&["database", "switchover"]).await))
            .await;
    }
    let restarted = [sync[0], sync[1], "max_connections = 150"];
    ladder.apply("a restart of PostgreSQL", 3, &restarted).await;
    let two = ["replicas = 2", "max_connections = 150"];
    ladder.apply("another replica, sync → async", 3, &two).await;
    let reloaded = [two[0], two[1], "settings = { work_mem = \"5MB\" }"];
    ladder.apply("a setting", 3, &reloaded).await;
    ladder
        .during("a deploy", async |it| drop(it.verb(&["deploy"]).await))
        .await;
    ladder
        .during("its rollback", async |it| drop(it.verb(&["rollback"]).await))
        .await;
    disk(&ladder.installation, "disk");
    ladder.installation.move_database();
    let moved = ["replicas = 1", "max_connections = 150", "dir = \"disk\""];
    ladder.apply("another disk", 3, &moved).await;
    ladder.installation.move_database();
    ladder
        .apply("and back, 1 → 0 replicas, 3 → 1 instances", 1, &[])
        .await;
    ladder.stands("single-server again").await;
    ladder.installation.down().await;
}
