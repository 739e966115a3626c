//! What comes next is told from what was measured, or refused.

use std::sync::Arc;
use std::time::Duration;

use banyan_e2e::{Installation, Manifest, judge};
use banyan_testkit::load::Load;
use banyan_testkit::wait;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(180);

/// One at once of 50 ms each is 20 a second: most of these find no instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_little_is_refused_and_requests_without_an_instance_ask_for_more_of_them() {
    let queue = "queue = { max_connections = 1, length = 1, wait = \"1s\" }";
    let mut installation = Installation::new(Manifest::misfit("--sleep-ms 50").edge(queue));
    installation.up().await;
    let refused = installation.try_verb(&["advise"]).await;
    assert_eq!(refused.code(), 1, "{}", refused.output());
    assert!(
        refused.stderr.contains("too little") || refused.stderr.contains("observe"),
        "{}",
        refused.stderr
    );

    let client = Arc::new(installation.client());
    let load = Load::start(150, move |_| {
        let client = Arc::clone(&client);
        async move { judge("read", "/", client.get("/").await) }
    });
    let advice = wait::until("an advice", LIMIT, async || {
        let told = installation
            .try_verb(&["advise", "--over", "20s", "--json"])
            .await;
        match serde_json::from_str::<Value>(&told.stdout) {
            Ok(advice) if matches!(told.code(), 0 | 2) => Ok(advice["advice"].clone()),
            _ => Err(told.output()),
        }
    });
    let advice = advice.await.unwrap();
    load.stop().await;
    // On a machine that is full it is not due: more processes would find no CPU.
    let open = advice["not_yet"].as_array().cloned().unwrap_or_default();
    let steps: Vec<Value> = std::iter::once(advice["next"].clone()).chain(open).collect();
    let more = steps.iter().find(|step| step["rung"] == "load-balancer");
    let reason = &more.unwrap_or_else(|| panic!("{advice}"))["evidence"][0];
    assert_eq!(reason["what"], "requests that found no instance");
    assert_eq!(reason["holds"], true, "{advice}");
    assert_eq!(advice["confidence"], "low");
    let page = installation.try_verb(&["advise", "--over", "20s"]).await;
    assert!(page.stdout.contains("load-balancer"), "{}", page.output());
    installation.down().await;
}
