//! A second process behind a path prefix: it comes, grows, is deployed and goes while people use the site.

use banyan_e2e::{Installation, Manifest};

use crate::scenario::Loaded;

/// All of the site's load goes to `/api`.
fn routed(manifest: &mut Manifest, count: u32) {
    manifest.more = vec![
        "[process.api]".to_owned(),
        "command = \"./photos serve\"".to_owned(),
        format!("count = {count}"),
        "ready = { path = \"/readyz\", interval = \"250ms\" }".to_owned(),
        "stop_grace = \"5s\"".to_owned(),
        "[[route]]".to_owned(),
        "name = \"api\"".to_owned(),
        "prefix = \"/api\"".to_owned(),
        "process = \"api\"".to_owned(),
        "response_headers = { set = { x-side = \"api\" } }".to_owned(),
    ];
}

async fn side(installation: &Installation, path: &str) -> Option<String> {
    let answer = installation.client().get(path).await.unwrap();
    let side = answer.headers().get("x-side");
    side.and_then(|side| side.to_str().ok()).map(str::to_owned)
}

/// Requests that the edge sent to the instances of `api` in all.
fn requests(installation: &Installation) -> usize {
    let log = installation.state().join("logs").join("edge.log");
    let text = std::fs::read_to_string(log).unwrap();
    text.lines()
        .filter(|line| line.contains("\"route\":\"api\"") && line.contains("\"upstream\":\"api."))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_behind_a_prefix_comes_scales_is_deployed_and_goes_under_load() {
    let mut loaded = Loaded::start(1).await;
    loaded
        .during("a route to a new process", async |it| {
            it.apply(|manifest| routed(manifest, 1)).await;
        })
        .await;
    assert_eq!(
        side(&loaded.installation, "/api/tags").await.as_deref(),
        Some("api")
    );
    assert_eq!(side(&loaded.installation, "/").await, None);
    loaded
        .during("api 1 → 3 instances", async |it| {
            it.apply(|manifest| routed(manifest, 3)).await;
        })
        .await;
    loaded
        .during("deploy of both", async |it| {
            it.manifest = it.manifest.clone().env("ROUND", "1");
            it.write_manifest();
            it.verb(&["deploy"]).await;
        })
        .await;
    let instances = loaded.installation.instances().await;
    let of = |process: &str| {
        instances
            .iter()
            .filter(|(name, _)| name.starts_with(process) && name.ends_with("@r3"))
            .count()
    };
    assert_eq!((of("web."), of("api.")), (1, 3), "{instances:?}");
    loaded
        .during("api 3 → 1 instances", async |it| {
            it.apply(|manifest| routed(manifest, 1)).await;
        })
        .await;
    assert!(requests(&loaded.installation) > 100);
    loaded
        .during("the route goes, and its process", async |it| {
            it.apply(|manifest| manifest.more.clear()).await;
        })
        .await;
    assert_eq!(side(&loaded.installation, "/api/tags").await, None);
    let (mut installation, report) = loaded.judged().await;
    assert!(
        report.failures().is_empty(),
        "{report}\n{}\n{}",
        report.explain(20),
        installation.logs()
    );
    installation.down().await;
}
