//! Backups while people use the site, and the way back: after a mistake, after the loss of everything, after a failover.

use std::fs;
use std::time::Duration;

use banyan_e2e::site::database_url;
use banyan_e2e::{Installation, Manifest};
use banyan_runtime::Clock;
use banyan_testkit::{postgres, wait};
use serde_json::Value;

use crate::failover::{another_primary, kill_primary};
use crate::scenario::Loaded;

const RATE: u32 = 50;
const LIMIT: Duration = Duration::from_secs(180);

fn keys(installation: &Installation) -> String {
    let path = installation.dir().join("backups");
    format!(
        "backup = {{ path = \"{}\", archive_timeout = \"5s\" }}",
        path.display()
    )
}

/// What `status` says of backups, once it fits.
async fn backups(installation: &Installation, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let waited = wait::until(what, LIMIT, async || {
        let state = installation.status().await["backup"].clone();
        if fits(&state) { Ok(state) } else { Err(state) }
    });
    waited.await.unwrap_or_else(|timed_out| {
        panic!(
            "{timed_out}\n{}\n{}",
            installation.controller_output(),
            installation.logs()
        )
    })
}

async fn sql(installation: &Installation, statement: &str) -> Vec<String> {
    let (_, pid) = installation.instances().await.into_iter().next().unwrap();
    let database = postgres::connect(&database_url(pid)).await.unwrap();
    let rows = database.query(statement, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// By PostgreSQL's clock, as people write it.
async fn moment(installation: &Installation) -> String {
    let statement =
        "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') || 'Z'";
    sql(installation, statement).await.remove(0)
}

async fn json(installation: &Installation, verb: &[&str]) -> Value {
    let finished = installation.verb(&[verb, &["--json"]].concat()).await;
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {}", finished.stdout))
}

/// Writes under load around a backup; then a mistake, and the loss of everything; then back to before the mistake.
pub(crate) async fn restored_after(writes: Duration) {
    let mut loaded = Loaded::of(Manifest::photos(2).process("stop_grace = \"5s\""), RATE).await;
    loaded
        .during("backups begin", async |it| {
            let keys = keys(it);
            it.apply(|manifest| manifest.database_keys.push(keys)).await;
            backups(it, "the first backup", |state| state["last"].is_object()).await;
        })
        .await;
    loaded.carry_on(writes / 2).await;
    loaded
        .during("an incremental backup", async |it| {
            let made = json(it, &["backup", "now", "--kind", "incremental"]).await;
            assert_eq!(made["kind"], "incremental", "{made}");
        })
        .await;
    loaded.carry_on(writes / 2).await;
    let site = std::sync::Arc::clone(&loaded.site);
    let (mut installation, report) = loaded.judged().await;
    assert!(report.failures().is_empty(), "{report}\n{}", report.explain(20));

    let before_the_mistake = moment(&installation).await;
    sql(&installation, "UPDATE comments SET body = 'spoiled'").await;
    let verified = json(&installation, &["backup", "verify"]).await;
    println!("verified: {verified}");
    assert!(verified["verified"]["pages"].as_u64().unwrap() > 1000);
    let listed = json(&installation, &["backup", "list"]).await;
    assert_eq!(listed["backups"].as_array().unwrap().len(), 2, "{listed}");
    installation.down().await;
    installation
        .verb(&["destroy", "--yes-delete-data", "photos"])
        .await;

    // An empty database must not take the place of the one that is lost.
    let refused = installation.try_verb(&["up"]).await;
    assert_eq!(refused.code(), 1, "{}", refused.output());
    assert!(
        refused.output().contains("banyan restore --latest --in-place"),
        "{}",
        refused.output()
    );
    let early = installation
        .try_verb(&["restore", "--at", "2020-01-01 00:00", "--in-place"])
        .await;
    assert_eq!(early.code(), 1);
    assert!(
        early
            .output()
            .contains("the first moment that can be restored is"),
        "{}",
        early.output()
    );
    let began = Clock.now();
    let restored = json(
        &installation,
        &["restore", "--at", &before_the_mistake, "--in-place"],
    )
    .await;
    println!("restored in {:?}: {restored}", Clock.now() - began);
    let again = installation
        .try_verb(&["restore", "--latest", "--in-place"])
        .await;
    assert!(again.output().contains("is not empty"), "{}", again.output());

    installation.up().await;
    println!("back to the first answer after {:?}", Clock.now() - began);
    let verdict = site.verdict(&installation).await;
    println!("ledger: {verdict}");
    assert!(verdict.is_clean() && verdict.acknowledged > 0, "{verdict:?}");
    // It goes on in the same repository: what happens from now on can be restored, too.
    let made = json(&installation, &["backup", "now", "--kind", "full"]).await;
    assert_eq!(made["kind"], "full", "{made}");
    installation
        .apply(|manifest| manifest.database_keys.clear())
        .await;
    backups(&installation, "backups to end", Value::is_null).await;
    installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_is_whole_again_after_a_mistake_and_the_loss_of_everything_under_load() {
    restored_after(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_outlive_a_failover_and_a_controller_that_is_killed_in_one() {
    let mut manifest = Manifest::photos(1);
    manifest.database_keys = vec!["replicas = 1".to_owned(), "durability = \"sync\"".to_owned()];
    let mut installation = Installation::new(manifest);
    let keys = keys(&installation);
    installation.manifest.database_keys.push(keys);
    installation.write_manifest();
    installation.up().await;
    backups(&installation, "a backup to be under way or made", |state| {
        state["running"].is_object() || state["last"].is_object()
    })
    .await;
    installation.kill_controller();
    installation.start_controller();
    installation.settled().await;
    backups(&installation, "the first backup", |state| {
        state["last"].is_object()
    })
    .await;

    let old = kill_primary(&installation).await;
    another_primary(&installation, &old).await;
    sql(
        &installation,
        "CREATE TABLE after_failover AS SELECT 'here'::text AS word",
    )
    .await;
    // The log of the new primary's time is stored, and it can be backed up.
    let made = wait::until("a backup of the new primary", LIMIT, async || {
        let made = installation.try_verb(&["backup", "now"]).await;
        if made.code() == 0 {
            Ok(())
        } else {
            Err(made.output())
        }
    });
    made.await.unwrap();
    let into = installation.dir().join("restored");
    let restored = json(
        &installation,
        &["restore", "--latest", "--into", into.to_str().unwrap()],
    )
    .await;
    assert!(
        restored["restored"]["timeline"].as_u64().unwrap() >= 3,
        "{restored}"
    );
    assert!(into.join("PG_VERSION").exists());
    installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_that_cannot_be_written_is_seen_and_costs_no_request() {
    let mut installation = Installation::new(Manifest::photos(1));
    let keys = keys(&installation);
    installation.manifest.database_keys.push(keys);
    installation.write_manifest();
    installation.up().await;
    backups(&installation, "the first backup", |state| {
        state["last"].is_object()
    })
    .await;

    let (path, away) = (
        installation.dir().join("backups"),
        installation.dir().join("away"),
    );
    fs::rename(&path, &away).unwrap();
    fs::write(&path, "in the way").unwrap();
    sql(&installation, "CREATE TABLE more AS SELECT 'more'::text AS word").await;
    backups(&installation, "the log to be unstored", |state| {
        state["archiving"]["failed_ms"].as_u64() > state["archiving"]["stored_ms"].as_u64()
    })
    .await;
    let status = installation.verb(&["status"]).await.stdout;
    assert!(status.contains("the log cannot be stored"), "{status}");
    let doctor = installation.try_verb(&["doctor"]).await;
    assert_eq!(doctor.code(), 2, "{}", doctor.output());
    assert!(
        doctor.output().contains("the log cannot be stored"),
        "{}",
        doctor.output()
    );
    let refused = installation.try_verb(&["backup", "now"]).await;
    assert_eq!(refused.code(), 1, "{}", refused.output());
    assert_eq!(sql(&installation, "SELECT word FROM more").await, ["more"]);

    fs::remove_file(&path).unwrap();
    fs::rename(&away, &path).unwrap();
    backups(&installation, "the log to be stored again", |state| {
        state["archiving"]["failed_ms"].as_u64() < state["archiving"]["stored_ms"].as_u64()
    })
    .await;
    installation.verb(&["backup", "now"]).await;
    let status = installation.verb(&["status"]).await.stdout;
    assert!(!status.contains("no backup could be made"), "{status}");
    installation.down().await;
}
