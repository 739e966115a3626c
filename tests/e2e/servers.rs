//! PostgreSQL behind its proxy: replicas, settings, places and another primary, while people use the site.

use banyan_e2e::{Installation, Manifest};
use serde_json::Value;

use crate::scenario::Loaded;

/// Each new connection costs a login on both sides of the proxy, which an unoptimised build is slow at.
pub(crate) const RATE: u32 = 50;

/// The sample app with these keys in `[database]`.
pub(crate) fn proxied(keys: &[&str]) -> Manifest {
    let mut manifest = Manifest::photos(2).process("stop_grace = \"5s\"");
    set(&mut manifest, keys);
    manifest
}

/// The whole of `[database]` besides port and memory.
pub(crate) fn set(manifest: &mut Manifest, keys: &[&str]) {
    manifest.database_keys = keys.iter().map(|key| (*key).to_owned()).collect();
}

pub(crate) async fn row(installation: &Installation, kind: &str) -> Option<Value> {
    let status = installation.status().await;
    let rows = status["children"].as_array().unwrap();
    rows.iter()
        .find(|row| row["kind"].as_str().is_some_and(|found| found.starts_with(kind)))
        .cloned()
}

pub(crate) async fn kinds(installation: &Installation) -> Vec<String> {
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
        if what.starts_with("1 → 2") {
            for to in ["db3", "db1"] {
                switchover(&mut loaded, to).await;
            }
        }
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

/// By the verb; nothing is left to do afterwards.
async fn switchover(loaded: &mut Loaded, to: &str) {
    loaded
        .during(&format!("switchover to {to}"), async |it| {
            let switched = it.verb(&["database", "switchover", "--to", to]).await;
            assert!(
                switched.stderr.contains("switch over from"),
                "{}",
                switched.output()
            );
            let again = it.try_verb(&["database", "switchover", "--to", to]).await;
            assert!(
                again.stderr.contains("is the primary already"),
                "{}",
                again.output()
            );
            it.verb(&["plan"]).await;
        })
        .await;
    let primary = row(&loaded.installation, "postgres 15 primary").await.unwrap();
    let child = if to == "db1" {
        "postgres".to_owned()
    } else {
        format!("postgres-{to}")
    };
    assert_eq!(primary["id"], child);
}
