//! One request, seen from the edge to the database: its tree, its log lines, and what a slow or failed one leaves behind.

use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::exposition::Page;
use banyan_testkit::http::Client;
use banyan_testkit::wait;
use bytes::Bytes;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// From the edge through the app to the proxy.
fn way(tree: &Value) -> Option<&Value> {
    let is_one = |root: &&Value| root["children"][0]["children"][0]["who"] == "pgproxy";
    tree["roots"].as_array()?.iter().find(is_one)
}

/// The histogram of the whole system leads to the trace, on a page that is OpenMetrics.
async fn exemplar_shown(installation: &Installation) {
    let status = installation.status().await;
    let address = status["observe_report"]["listening"]
        .as_str()
        .expect("observe listens");
    let client = Client::fresh_connections(address.parse().unwrap());
    let secret = installation.state().join("secrets/dashboard-token");
    let token = std::fs::read_to_string(secret).unwrap();
    let request = http::Request::get("/metrics")
        .header("accept", "application/openmetrics-text")
        .header("authorization", format!("Bearer {}", token.trim()));
    let page = client.send(request.body(Bytes::new()).unwrap()).await.unwrap();
    let page = String::from_utf8_lossy(page.body()).into_owned();
    Page::open_metrics(&page).unwrap_or_else(|why| panic!("{why}\n{page}"));
    let is_it = |line: &&str| line.starts_with("http_server_request_duration_seconds_bucket{http_route=\"");
    let mut lines = page.lines().filter(is_it);
    let exemplar = format!("# {{trace_id=\"{TRACE}\"}} ");
    assert!(lines.any(|line| line.contains(&exemplar)), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_seen_from_the_edge_through_the_app_to_the_database() {
    let mut installation = Installation::new(Manifest::photos(1).edge("trace = \"clients\""));
    installation.up().await;
    let client = installation.client();
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    // Until the edge and the proxy have seen that somebody listens, and the spans have arrived.
    let root = wait::until("the trace to be whole", LIMIT, async || {
        let request = http::Request::get("/api/tags").header("traceparent", &parent);
        let answer = client.send(request.body(Bytes::new()).unwrap()).await;
        assert!(answer.is_ok(), "{answer:?}");
        let shown = installation.try_verb(&["trace", &TRACE[..12], "--json"]).await;
        let Ok(tree) = serde_json::from_str::<Value>(&shown.stdout) else {
            return Err(shown.stderr);
        };
        // The first statements may have been told without the edge's steps.
        match way(&tree) {
            Some(root) => Ok(root.clone()),
            None => Err(tree.to_string()),
        }
    })
    .await
    .unwrap();
    assert_eq!(
        (&root["who"], &root["name"]),
        (&"edge".into(), &"GET /api/tags".into())
    );
    let app = root["children"][0]["who"].as_str().unwrap();
    assert!(app.starts_with("web.1@"), "{app}");

    exemplar_shown(&installation).await;

    let page = installation.verb(&["trace", TRACE]).await.stdout;
    assert!(
        page.contains("GET /api/tags") && page.contains("root cause"),
        "{page}"
    );
    let list = installation
        .verb(&["trace", "--since", "1h", "--slow"])
        .await
        .stdout;
    assert!(list.contains(TRACE), "{list}");
    let none = installation.verb(&["trace", "--failed", "--json"]).await.stdout;
    assert_eq!(none.trim(), "[]");
    let unknown = installation.try_verb(&["trace", "ffffffff"]).await;
    assert!(unknown.stderr.contains("was kept"), "{}", unknown.stderr);
    installation.down().await;
}
