//! The disk of the cache when the disk fails: full under load, and changed behind the edge's back. Needs root, for a small tmpfs.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::ledger::Outcome;
use banyan_testkit::load::{Answer, Load};
use banyan_testkit::wait;
use bytes::Bytes;
use serde_json::Value;

use crate::edge_restarts::{assert_nothing_failed, carry_on};
use crate::small_disk;

const LIMIT: Duration = Duration::from_secs(120);
const PICTURES: usize = 12;
/// So many objects are asked for, more than the memory holds.
const OBJECTS: usize = 1200;

fn path(n: usize) -> String {
    format!("/media/demo/{}.svg?{n}", n % PICTURES + 1)
}

async fn originals(installation: &Installation) -> Arc<Vec<Bytes>> {
    let mut originals = Vec::new();
    for n in 0..PICTURES {
        originals.push(installation.client().get(&path(n)).await.unwrap().into_body());
    }
    Arc::new(originals)
}

/// Every answer is compared with what the app itself has sent.
fn load(installation: &Installation, originals: &Arc<Vec<Bytes>>) -> Load {
    let (client, originals) = (Arc::new(installation.client()), Arc::clone(originals));
    Load::bounded(200, 50, move |number| {
        let (client, originals) = (Arc::clone(&client), Arc::clone(&originals));
        async move {
            let n = usize::try_from(number).unwrap_or(0) % OBJECTS;
            let (outcome, detail) = match client.get(&path(n)).await {
                Ok(answer) if answer.status() == 200 && *answer.body() == originals[n % PICTURES] => {
                    (Outcome::Acknowledged, String::new())
                }
                Ok(answer) => (Outcome::Refused, format!("{} or a wrong body", answer.status())),
                Err(failure) => (Outcome::Unknown, failure.to_string()),
            };
            Answer {
                kind: "picture",
                outcome,
                detail,
            }
        }
    })
}

async fn cache(installation: &Installation, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    wait::until(what, LIMIT, async || {
        let status = installation.status().await;
        let cache = &status["edge_report"]["cache"];
        if is(cache) {
            Ok(cache.clone())
        } else {
            Err(cache.to_string())
        }
    })
    .await
    .unwrap_or_else(|late| panic!("{late}\n{}", installation.logs()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_under_load_costs_no_answer_is_named_and_serves_again_with_space() {
    let mut installation = Installation::new(Manifest::photos(1));
    installation.up().await;
    let originals = originals(&installation).await;
    let folder = installation.state().join("cache");
    if !small_disk::mounted(&folder, "size=1M,mode=0755").await {
        return;
    }
    installation
        .apply(|manifest| {
            let cache = "cache = { memory = \"1MiB\", disk = \"64MiB\" }";
            manifest.edge.push(cache.to_owned());
        })
        .await;
    let load = load(&installation, &originals);
    let full = cache(&installation, "the disk to be full", |cache| {
        !cache["problem"].is_null()
    })
    .await;
    let problem = full["problem"].as_str().unwrap();
    assert!(
        problem.starts_with("cannot write in ") && problem.contains("No space left"),
        "{problem}"
    );
    let told = installation.verb(&["status"]).await;
    assert!(told.output().contains("No space left"), "{}", told.output());
    carry_on(&load, 400).await;

    small_disk::grow(&folder, "64M").await;
    let before = full["disk_objects"].as_u64().unwrap();
    cache(&installation, "the disk to be used again", |cache| {
        cache["problem"].is_null() && cache["disk_objects"].as_u64() > Some(before + 20)
    })
    .await;
    carry_on(&load, 400).await;
    assert_nothing_failed(&load.stop().await, &installation);
    installation.down().await;
    small_disk::unmount(&folder).await;
}

fn files(installation: &Installation) -> Vec<PathBuf> {
    let list = |path: PathBuf| {
        let entries = fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().path())
    };
    let folders = list(installation.state().join("cache/edge"));
    folders.filter(|path| path.is_dir()).flat_map(list).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_change_on_the_disk_between_runs_reach_nobody() {
    let mut installation = Installation::new(Manifest::photos(1));
    installation.up().await;
    let originals = originals(&installation).await;
    installation
        .apply(|manifest| manifest.edge.push("cache = { disk = \"64MiB\" }".to_owned()))
        .await;
    for round in 0..3 {
        for n in 0..PICTURES {
            assert_eq!(installation.client().get(&path(n)).await.unwrap().status(), 200);
        }
        cache(&installation, "the pictures to lie there", |cache| {
            cache["disk_objects"].as_u64() >= Some(PICTURES as u64) && cache["under_way"] == 0
        })
        .await;
        installation.down().await;
        let files = files(&installation);
        // With those that `up` has asked for.
        assert!(files.len() >= PICTURES, "{files:?}");
        for (n, file) in files.iter().enumerate() {
            let mut bytes = fs::read(file).unwrap();
            // In the name, the head, the body; or all behind a place is gone.
            let at = bytes.len() * (3 * n + round + 1) / (3 * files.len() + 1);
            match n % 4 {
                0 => bytes.truncate(at),
                1 => bytes[at..].fill(0),
                _ => bytes[at] ^= 0x10,
            }
            fs::write(file, bytes).unwrap();
        }
        installation.up().await;
        for (n, original) in originals.iter().enumerate() {
            let answer = installation.client().get(&path(n)).await.unwrap();
            let said = answer.headers()["cache-status"].to_str().unwrap();
            assert!(!said.contains("; hit"), "{said}");
            assert!(answer.body() == original, "round {round}, {}", path(n));
        }
    }
    installation.down().await;
}
