//! Rules against attacks by apply on the running system: off, logged, refused; the site's own visitors notice nothing.

use std::time::Duration;

use banyan_e2e::{Installation, Manifest, Site};
use banyan_testkit::{hurl, wait};

use crate::realworld;

const LIMIT: Duration = Duration::from_secs(90);
const TRAVERSAL: &str = "/api/tags?file=../../../boot/grub";
const INJECTION: &str = "/api/articles?author=x%27+or+%271%27%3D%271";
const LINE: &str = "a request looks like an attack";

async fn waf(installation: &mut Installation, value: &str) {
    let line = format!("waf = {value}");
    installation.apply(|manifest| manifest.edge = vec![line]).await;
}

async fn asked(installation: &Installation, path: &str) -> (u16, String) {
    let answer = installation.client().get(path).await.unwrap();
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    (answer.status().as_u16(), text)
}

async fn refused(installation: &Installation, path: &str, rule: &str) {
    let (status, text) = asked(installation, path).await;
    assert!(status == 403 && text.contains(rule), "{path}: {status} {text}");
}

async fn logged(installation: &Installation, rule: &str) {
    wait::until("the line of the rule", LIMIT, async || {
        let logs = installation.logs();
        let told = logs
            .lines()
            .any(|line| line.contains(LINE) && line.contains(rule));
        if told { Ok(()) } else { Err(logs) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_are_let_through_then_logged_then_refused_as_apply_says_and_visitors_notice_nothing() {
    let mut installation = Installation::new(Manifest::photos(1));
    installation.up().await;
    for path in [TRAVERSAL, INJECTION] {
        assert_eq!(asked(&installation, path).await.0, 200, "off by default: {path}");
    }
    assert!(!installation.logs().contains(LINE));
    waf(&mut installation, "\"log\"").await;
    for (path, rule) in [(TRAVERSAL, "W101"), (INJECTION, "W202")] {
        assert_eq!(asked(&installation, path).await.0, 200, "only logged: {path}");
        logged(&installation, rule).await;
    }
    waf(&mut installation, "\"block\"").await;
    refused(&installation, TRAVERSAL, "W101").await;
    refused(&installation, INJECTION, "W202").await;
    let site = Site::open(&installation).await;
    assert_eq!(site.read_post(&installation).await, 200);
    for path in [
        "/",
        "/media/demo/7.svg",
        "/api/articles?limit=20&offset=0&author=O%27Brien",
    ] {
        assert_eq!(asked(&installation, path).await.0, 200, "{path}");
    }
    if let Some(suite) = hurl::realworld_suite() {
        let base = format!("http://{}", installation.edge_address());
        realworld::run(&suite, &base, 1).await.unwrap();
    }
    waf(&mut installation, "{ mode = \"block\", except = [\"W202\"] }").await;
    assert_eq!(asked(&installation, INJECTION).await.0, 200, "excepted");
    refused(&installation, TRAVERSAL, "W101").await;
    installation.down().await;
}
