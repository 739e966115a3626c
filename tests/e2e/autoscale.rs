//! Numbers of instances follow the load, by apply and on a running system; people can stop that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use banyan_e2e::{Installation, Manifest, judge};
use banyan_runtime::Clock;
use banyan_testkit::load::Load;
use banyan_testkit::wait;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(180);
/// Requests per second: two at once of 50 ms each are 40 a second for an instance, so this needs at least four.
const RATE: u32 = 120;
/// After this the trend is that of the load as it is now.
const SETTLES: Duration = Duration::from_secs(20);

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

/// What an instance that goes has accepted it answers; the policy's minutes are seconds here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_a_falling_load_lets_go_lose_no_request() {
    let mut installation = Installation::new(Manifest::misfit("--sleep-ms 50"));
    // Until there are enough, requests wait.
    let queue = "queue = { max_connections = 2, length = 100000, wait = \"60s\" }";
    installation.manifest.edge = vec![queue.to_owned()];
    installation.manifest.more = vec!["[scale.web]\nmax = 6\nspeed = 5".to_owned()];
    installation.write_manifest();
    installation.up().await;

    let rate = Arc::new(AtomicU32::new(RATE));
    let (now, client) = (Arc::clone(&rate), Arc::new(installation.client()));
    let load = Load::shaped(
        move |_| f64::from(now.load(Ordering::Relaxed)),
        move |_| {
            let client = Arc::clone(&client);
            async move { judge("read", "/", client.get("/").await) }
        },
    );
    reaches(&installation, "four instances", |count| count >= 4).await;
    let why = decided(&installation).await;
    assert_eq!(why["policy"], "headroom");
    assert!(
        why["measured"]["rate_15s"]
            .as_f64()
            .is_some_and(|rate| rate > 20.0),
        "{why}"
    );

    // By half, which is no collapse, and on by a fifth from time to time: on a busy machine requests take longer, so that half
    // of them may need all instances.
    let mut next = Clock.now();
    rate.store(RATE / 2 + 5, Ordering::Relaxed);
    let fewer = wait::until("a step down", LIMIT * 2, async || {
        if Clock.now() >= next + SETTLES {
            next = Clock.now();
            rate.store(rate.load(Ordering::Relaxed) * 4 / 5, Ordering::Relaxed);
        }
        let shown = shown(&installation, "status").await;
        let changes = shown["changes"].as_array().cloned().unwrap_or_default();
        let down = |change: &&Value| change["to"].as_u64() < change["from"].as_u64();
        match changes.iter().filter(down).count() {
            0 => Err(shown),
            count => Ok(count),
        }
    });
    let fewer = fewer.await.unwrap();
    let report = load.stop().await;
    println!("{fewer} steps down; {report}");
    assert!(report.failures().is_empty(), "{}", report.explain(20));
    installation.down().await;
}

/// The last decision on `web`.
async fn decided(installation: &Installation) -> Value {
    let answer = installation.verb(&["autoscale", "why", "--json"]).await;
    let all: Value = serde_json::from_str(&answer.stdout).expect("JSON");
    all[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_shadow_it_says_what_it_would_do_and_does_nothing() {
    let mut installation = Installation::new(Manifest::misfit("--sleep-ms 50"));
    let queue = "queue = { max_connections = 2, length = 100000, wait = \"60s\" }";
    installation.manifest.edge = vec![queue.to_owned()];
    installation.manifest.more = vec!["[scale.web]\nmax = 6\nspeed = 5\nshadow = true".to_owned()];
    installation.write_manifest();
    installation.up().await;
    let nothing = installation.try_verb(&["autoscale", "--shadow"]).await;
    assert!(
        nothing.code() == 0 || nothing.stderr.contains("shadow = true"),
        "{}",
        nothing.output()
    );

    let load = load(&installation);
    let told = wait::until("more than one to be wanted", LIMIT, async || {
        let told = installation.try_verb(&["autoscale", "--shadow", "--json"]).await;
        let all: Value = serde_json::from_str(&told.stdout).unwrap_or_default();
        let last = all
            .as_array()
            .and_then(|all| all.last().cloned())
            .unwrap_or_default();
        match last["want"].as_u64() {
            Some(2..) => Ok(last),
            _ => Err(told.output()),
        }
    });
    let told = told.await.unwrap();
    assert_eq!((&told["shadow"], &told["process"]), (&true.into(), &"web".into()));
    let why = installation.verb(&["autoscale", "why"]).await.stdout;
    assert!(
        why.contains("asked for") && why.contains("shadow = true"),
        "{why}"
    );
    assert_eq!(count(&installation).await, 1);
    assert_eq!(
        shown(&installation, "status").await["changes"],
        serde_json::json!([])
    );
    load.stop().await;
    installation.down().await;
}
