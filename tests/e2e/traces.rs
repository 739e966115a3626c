//! One request, seen from the edge to the database: its tree, its log lines, and what a slow or failed one leaves behind.

use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::wait;
use bytes::Bytes;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(60);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn who(step: &Value, into: &mut Vec<String>) {
    into.push(step["who"].as_str().unwrap_or_default().to_owned());
    for child in step["children"].as_array().into_iter().flatten() {
        who(child, into);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_seen_from_the_edge_through_the_app_to_the_database() {
    let mut installation = Installation::new(Manifest::photos(1).edge("trace = \"clients\""));
    installation.up().await;
    let client = installation.client();
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    // Until the edge and the proxy have seen that somebody listens, and the spans have arrived.
    let tree = wait::until("the trace to be whole", LIMIT, async || {
        let request = http::Request::get("/api/tags").header("traceparent", &parent);
        let answer = client.send(request.body(Bytes::new()).unwrap()).await;
        assert!(answer.is_ok(), "{answer:?}");
        let shown = installation.try_verb(&["trace", &TRACE[..12], "--json"]).await;
        let Ok(tree) = serde_json::from_str::<Value>(&shown.stdout) else {
            return Err(shown.stderr);
        };
        let mut seen = Vec::new();
        tree["roots"]
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|root| who(root, &mut seen));
        match seen.iter().any(|who| who == "pgproxy") {
            true => Ok(tree),
            false => Err(tree.to_string()),
        }
    })
    .await
    .unwrap();
    let root = tree["roots"]
        .as_array()
        .unwrap()
        .iter()
        .find(|root| root["children"][0]["children"][0]["who"] == "pgproxy")
        .unwrap_or_else(|| panic!("no way from the edge to the proxy: {tree:#}"));
    assert_eq!(
        (&root["who"], &root["name"]),
        (&"edge".into(), &"GET /api/tags".into())
    );
    let app = root["children"][0]["who"].as_str().unwrap();
    assert!(app.starts_with("web.1@"), "{app}");

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
