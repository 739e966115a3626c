//! What looks at everything is in nobody's way: it is killed, turned off and on again under load. What is broken it names.

use std::time::Duration;

use banyan_e2e::Installation;
use banyan_runtime::Clock;
use banyan_testkit::wait;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::alerts::world::Stopped;
use crate::failover::{another_primary, kill_primary};
use crate::scenario::Loaded;
use crate::servers::proxied;

fn pid(status: &serde_json::Value) -> Option<i32> {
    let children = status["children"].as_array()?;
    let observe = children.iter().find(|child| child["id"] == "observe")?;
    i32::try_from(observe["pid"].as_i64()?).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn observe_killed_stopped_and_started_again_costs_no_request_and_keeps_its_history() {
    let mut loaded = Loaded::start(2).await;
    let old = pid(&loaded.installation.status().await).expect("observe runs");
    loaded
        .during("kill -9 of observe", async |it| {
            kill_process(Pid::from_raw(old).unwrap(), Signal::KILL).unwrap();
            let back = async || match pid(&it.status().await) {
                Some(new) if new != old => Ok(()),
                other => Err(format!("{other:?}")),
            };
            wait::until("observe to come back", Duration::from_secs(30), back)
                .await
                .unwrap();
        })
        .await;
    let top = loaded.installation.verb(&["--json", "top"]).await;
    let view: serde_json::Value = serde_json::from_str(&top.stdout).unwrap();
    assert!(view["parts"].as_array().unwrap().len() >= 5, "{view}");
    loaded
        .during("no observe", async |it| {
            it.apply(|manifest| manifest.more.push("[observe]\nenabled = false".to_owned()))
                .await;
            assert_eq!(pid(&it.status().await), None);
        })
        .await;
    loaded
        .during("observe again", async |it| {
            it.apply(|manifest| manifest.more.clear()).await;
            assert!(pid(&it.status().await).is_some());
        })
        .await;
    assert!(loaded.installation.state().join("observe/series/10s").is_dir());
    let (mut installation, report) = loaded.judged().await;
    assert!(report.failures().is_empty(), "{}", report.explain(20));
    installation.down().await;
}

/// The view as `banyan top` gets it, once it is so; how long that took, in milliseconds.
async fn seen(installation: &Installation, what: &str, is_so: impl Fn(&Value) -> bool) -> u128 {
    let begin = Clock.now();
    let look = async || {
        let top = installation.try_verb(&["--json", "top"]).await;
        let view: Value = serde_json::from_str(&top.stdout).map_err(|error| error.to_string())?;
        if is_so(&view) {
            Ok(())
        } else {
            Err(format!("{} {}", view["troubles"], view["marks"]))
        }
    };
    wait::until(what, Duration::from_secs(60), look).await.unwrap();
    Clock.now().saturating_duration_since(begin).as_millis()
}

fn says(view: &Value, list: &str, what: &str) -> bool {
    let all = view[list].as_array();
    all.into_iter()
        .flatten()
        .any(|one| one["what"].as_str().is_some_and(|said| said.contains(what)))
}

/// No trouble but the machine's, which runs other tests, too.
fn quiet(view: &Value) -> bool {
    let machine = ["processors:", "memory:", "disk"];
    let of_machine = |one: &Value| {
        let what = one["what"].as_str().unwrap_or_default();
        machine.iter().any(|part| what.starts_with(part))
    };
    view["troubles"]
        .as_array()
        .is_some_and(|troubles| troubles.iter().all(of_machine))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_hangs_and_a_primary_that_dies_are_named_and_marked() {
    let mut installation = Installation::new(proxied(&["replicas = 1", "durability = \"sync\""]));
    installation.up().await;
    seen(&installation, "a system without troubles", |view| {
        view["at_ms"].is_u64() && quiet(view)
    })
    .await;

    let (name, pid) = installation.instances().await.into_iter().next().unwrap();
    let hangs = Stopped::new(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap());
    let took = seen(&installation, "the instance to be named", |view| {
        says(view, "troubles", &name)
    })
    .await;
    println!("an instance that hangs is named after {took} ms");
    drop(hangs);
    seen(&installation, "the end of it", quiet).await;

    let old = kill_primary(&installation).await;
    let took = seen(&installation, "the lost primary to be named", |view| {
        says(view, "troubles", "db1") || says(view, "marks", "leads")
    })
    .await;
    println!("a primary that was killed is named after {took} ms");
    another_primary(&installation, &old).await;
    seen(&installation, "the failover to be marked", |view| {
        says(view, "marks", "db2 leads")
    })
    .await;
    seen(&installation, "the end of it", quiet).await;
    installation.down().await;
}
