//! Numbers of instances follow the load, by apply and on a running system; people can stop that.

use std::sync::Arc;
use std::time::Duration;

use banyan_e2e::{Installation, Manifest, judge};
use banyan_testkit::load::Load;
use banyan_testkit::wait;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(90);
/// Requests per second: two at once of 50 ms each are 40 a second for an instance, so this needs at least four.
const RATE: u32 = 120;

fn scaled(max: u32) -> impl FnOnce(&mut Manifest) {
    move |manifest| {
        manifest.edge = vec!["queue = { max_connections = 2 }".to_owned()];
        manifest.more = vec!["[scale.web]".to_owned(), format!("max = {max}")];
    }
}

async fn count(installation: &Installation) -> usize {
    let instances = installation.instances().await;
    instances.iter().filter(|(id, _)| id.starts_with("web.")).count()
}

async fn reaches(installation: &Installation, what: &str, wanted: impl Fn(usize) -> bool) {
    wait::until(what, LIMIT, async || {
        let count = count(installation).await;
        if wanted(count) { Ok(()) } else { Err(count) }
    })
    .await
    .unwrap();
}

async fn shown(installation: &Installation, verb: &str) -> Value {
    let answer = installation.verb(&["autoscale", verb, "--json"]).await;
    serde_json::from_str(&answer.stdout).expect("JSON")
}

fn load(installation: &Installation) -> Load {
    let client = Arc::new(installation.client());
    Load::start(RATE, move |_| {
        let client = Arc::clone(&client);
        async move { judge("read", "/", client.get("/").await) }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_follow_the_load_until_somebody_says_stop() {
    let mut installation = Installation::new(Manifest::misfit("--sleep-ms 50"));
    installation.up().await;
    installation.apply(scaled(6)).await;
    assert_eq!(count(&installation).await, 1);

    let load = load(&installation);
    reaches(&installation, "four instances", |count| count >= 4).await;
    // It is noted when all that it wanted are there.
    let change = wait::until("the change to be noted", LIMIT, async || {
        let autoscale = shown(&installation, "status").await;
        let first = autoscale["changes"][0].clone();
        if first.is_null() {
            Err(autoscale)
        } else {
            Ok(first)
        }
    });
    let change = change.await.unwrap();
    assert_eq!((&change["process"], &change["from"]), (&"web".into(), &1.into()));
    assert!(
        change["why"].as_str().is_some_and(|why| why.contains("requests")),
        "{change}"
    );

    // A smaller maximum holds at once, whatever the load says; and it says so.
    installation.settled().await;
    installation.apply(scaled(2)).await;
    assert_eq!(count(&installation).await, 2);
    wait::until("the maximum to be named", LIMIT, async || {
        let page = installation.verb(&["status"]).await.stdout;
        if page.contains("more are needed than `max` allows") {
            Ok(())
        } else {
            Err(page)
        }
    })
    .await
    .unwrap();

    let paused = shown(&installation, "pause").await;
    assert!(paused["paused_ms"].is_u64(), "{paused}");
    installation.apply(scaled(6)).await;
    assert_eq!(count(&installation).await, 2, "a pause holds");
    let resumed = shown(&installation, "resume").await;
    assert!(resumed["paused_ms"].is_null(), "{resumed}");
    reaches(&installation, "more instances", |count| count >= 4).await;
    load.stop().await;

    installation.settled().await;
    installation.apply(|manifest| manifest.more.clear()).await;
    assert_eq!(count(&installation).await, 1, "without the table it is `count`");
    let refused = installation.try_verb(&["autoscale"]).await;
    assert!(refused.stderr.contains("[scale.web]"), "{}", refused.stderr);
    installation.down().await;
}
