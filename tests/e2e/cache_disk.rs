//! The disk of the cache under kill -9: what a new edge finds there is whole, or nothing.

use std::sync::Arc;
use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::http::Client;
use banyan_testkit::ledger::Outcome;
use banyan_testkit::load::{Answer, Load};
use banyan_testkit::wait;
use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};

use crate::edge_restarts::carry_on;

const LIMIT: Duration = Duration::from_secs(120);
const PICTURES: usize = 12;

fn path(n: usize) -> String {
    format!("/media/demo/{}.svg", n + 1)
}

/// Every answer is compared with what the app itself has sent.
fn pictures(installation: &Installation, originals: Vec<Bytes>) -> Load {
    let client = Arc::new(Client::fresh_connections(installation.edge_address()));
    let originals = Arc::new(originals);
    Load::start(200, move |number| {
        let (client, originals) = (Arc::clone(&client), Arc::clone(&originals));
        async move {
            let n = usize::try_from(number).unwrap_or(0) % PICTURES;
            let (outcome, detail) = match client.get(&path(n)).await {
                Ok(answer) if answer.status() != 200 => (Outcome::Unknown, answer.status().to_string()),
                Ok(answer) if *answer.body() != originals[n] => (Outcome::Unknown, "wrong body".to_owned()),
                Ok(_) => (Outcome::Acknowledged, String::new()),
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

async fn edge(installation: &Installation) -> Option<u64> {
    let status = installation.status().await;
    let rows = status["children"].as_array()?;
    let edge = rows
        .iter()
        .find(|row| row["id"] == "edge" && row["state"] == "ready")?;
    edge["pid"].as_u64()
}

async fn kill(installation: &Installation) {
    let old = edge(installation).await.expect("the edge runs");
    let pid = Pid::from_raw(i32::try_from(old).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let back = async || match edge(installation).await {
        Some(new) if new != old => Ok(()),
        seen => Err(format!("{seen:?}")),
    };
    wait::until("another edge", LIMIT, back).await.unwrap();
}

pub(crate) async fn killed_over_and_over(kills: usize) {
    let mut installation = Installation::new(Manifest::photos(1));
    installation.up().await;
    let client = installation.client();
    let mut originals = Vec::new();
    for n in 0..PICTURES {
        originals.push(client.get(&path(n)).await.unwrap().into_body());
    }
    installation
        .apply(|manifest| manifest.edge.push("cache = { disk = \"64MiB\" }".to_owned()))
        .await;
    let load = pictures(&installation, originals);
    for _ in 0..kills {
        carry_on(&load, 50).await;
        kill(&installation).await;
    }
    let lie = async || {
        let status = installation.status().await;
        let cache = &status["edge_report"]["cache"];
        let objects = cache["disk_objects"].as_u64().unwrap_or(0);
        if objects >= PICTURES as u64 {
            Ok(())
        } else {
            Err(cache.to_string())
        }
    };
    wait::until("the disk to be warm", LIMIT, lie).await.unwrap();
    let report = load.stop().await;
    let wrong: Vec<_> = report
        .failures()
        .iter()
        .filter(|sample| sample.answer.detail == "wrong body")
        .map(|sample| sample.at)
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}\n{}", installation.logs());
    println!("{kills} kills\n{report}");
    installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_killed_over_and_over_gives_no_torn_and_no_wrong_body() {
    killed_over_and_over(5).await;
}
