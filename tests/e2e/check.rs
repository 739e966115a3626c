//! `banyan check` where nothing runs: one instance is tried in a scratch folder.

use banyan_e2e::{Installation, Manifest};
use serde_json::Value;

fn findings(checked: &str) -> Vec<(String, String)> {
    let groups: Value = serde_json::from_str(checked).unwrap();
    let trial = groups.as_array().unwrap().last().unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    trial["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| (text(finding, "level"), text(finding, "name")))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_has_grown_is_tried_alone_and_its_backups_are_left_alone() {
    let mut manifest = Manifest::photos(3).edge("cache = { memory = \"16MiB\" }");
    manifest
        .database_keys
        .extend(["replicas = 1".to_owned(), "durability = \"sync\"".to_owned()]);
    let installation = Installation::new(manifest);
    let backups = installation.dir().join("backups");
    let mut keeping = std::fs::read_to_string(installation.manifest_path()).unwrap();
    keeping.push_str(&format!("[database.backup]\npath = \"{}\"\n", backups.display()));
    std::fs::write(installation.manifest_path(), keeping).unwrap();

    let checked = installation.try_verb(&["check", "--json"]).await;
    let findings = findings(&checked.stdout);
    assert!(
        findings.iter().all(|(level, _)| level == "good"),
        "{findings:?}\n{}",
        checked.stderr
    );
    assert!(!backups.exists(), "a trial has nothing to keep");
    installation.assert_nothing_runs();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_cannot_start_is_a_finding() {
    let mut manifest = Manifest::misfit("");
    manifest.command = "./is-not-there".to_owned();
    let installation = Installation::new(manifest);
    let checked = installation.try_verb(&["check", "--json"]).await;
    let found = findings(&checked.stdout);
    assert_eq!(
        found,
        [("problem".to_owned(), "start".to_owned())],
        "{}",
        checked.stderr
    );
    assert_eq!(checked.code(), 2, "{}", checked.stderr);
    installation.assert_nothing_runs();
}
