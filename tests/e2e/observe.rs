//! What looks at everything is in nobody's way: it is killed, turned off and on again under load.

use std::time::Duration;

use banyan_testkit::wait;
use rustix::process::{Pid, Signal, kill_process};

use crate::scenario::Loaded;

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
