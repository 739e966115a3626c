//! Servers elsewhere, from banyan.toml by apply on a running system: a backup answers while the first is down, and what was
//! wrongly written is refused before anything changes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::upstream::{Upstream, Wire};
use banyan_testkit::wait;

const LIMIT: Duration = Duration::from_secs(90);
const SECRET: &str = "0123456789abcdef-of-the-edge";

/// Answers whom it was told the secret by.
async fn origin(name: &'static str) -> Upstream {
    Upstream::start(move |mut wire: Wire| async move {
        while let Some(request) = wire.message().await {
            let known = request.header("x-origin-verify") == SECRET;
            wire.answer(if known { 200 } else { 403 }, name).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_leads_elsewhere_and_its_backup_answers_while_the_first_is_down() {
    let (first, second) = (origin("first").await, origin("second").await);
    let mut installation = Installation::new(Manifest::misfit(""));
    installation.up().await;
    let file = installation.dir().join("media.secret");
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let lines = [
        "[origin.media]".to_owned(),
        format!("url = \"http://{}\"", first.address),
        format!("backup = [\"http://{}\"]", second.address),
        "secret_file = \"media.secret\"".to_owned(),
        "ready = \"/\"".to_owned(),
        "interval = \"200ms\"".to_owned(),
        "[[route]]".to_owned(),
        "name = \"media\"".to_owned(),
        "prefix = \"/media\"".to_owned(),
        "origin = \"media\"".to_owned(),
    ];
    installation.manifest.more = lines.to_vec();
    installation.write_manifest();
    let refused = installation.try_verb(&["plan"]).await;
    assert_eq!(refused.code(), 1, "{}", refused.output());
    assert!(
        refused.output().contains("media.secret (mode 644)"),
        "{}",
        refused.output()
    );
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    installation.apply(|_| {}).await;
    let client = installation.client();
    let media = async || client.get("/media/a").await.unwrap();
    assert_eq!(media().await.body(), "first");
    assert_eq!(client.get("/other").await.unwrap().status(), 200);
    first.kill().await;
    assert_eq!(media().await.body(), "second");
    let told = async || {
        let status = installation.verb(&["status"]).await;
        if status.stdout.contains("origin.media: http://") && status.stdout.contains("others are asked first")
        {
            Ok(())
        } else {
            Err(status.stdout)
        }
    };
    wait::until("status to tell of it", LIMIT, told).await.unwrap();
    let snapshot = fs::read_to_string(installation.state().join("snapshots/edge.json")).unwrap();
    assert!(snapshot.contains("media.secret") && !snapshot.contains(SECRET));
    assert!(!installation.logs().contains(SECRET));
    installation.apply(|manifest| manifest.more.clear()).await;
    assert_ne!(
        installation.client().get("/media/a").await.unwrap().body(),
        "second"
    );
    installation.down().await;
}
