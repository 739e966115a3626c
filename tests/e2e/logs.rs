//! Logs of everything that runs: kept as banyan.toml says, changed on the running system, found again by what is asked for.

use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::wait;
use bytes::Bytes;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

async fn found(installation: &Installation, arguments: &[&str]) -> Vec<Value> {
    let answer = installation
        .verb(&[&["logs", "--json"], arguments].concat())
        .await;
    let lines = answer.stdout.lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_kept_as_configured_and_found_again_in_packed_files() {
    let mut installation = Installation::new(Manifest::misfit("").edge("trace = \"clients\""));
    installation.up().await;
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let client = installation.client();
    let request = http::Request::get("/first").header("traceparent", parent);
    let answer = client.send(request.body(Bytes::new()).unwrap()).await;
    assert!(answer.is_ok(), "{answer:?}");

    let plan = installation
        .apply(|manifest| {
            manifest.more = ["[logs]", "file = \"64KiB\"", "size = \"10MiB\"", "keep = \"1h\""]
                .map(str::to_owned)
                .to_vec();
        })
        .await;
    assert!(
        plan.stderr.contains("keep logs") || plan.stdout.contains("keep logs"),
        "{plan:?}"
    );
    let logs = installation.state().join("logs");
    wait::until("lines to be packed", LIMIT, async || {
        for _ in 0..200 {
            client.get("/more").await.ok();
        }
        let names = std::fs::read_dir(&logs).unwrap().flatten();
        let packed = names
            .map(|entry| entry.file_name().into_string().unwrap())
            .any(|name| name.starts_with("edge.log.") && name.ends_with(".zst"));
        if packed { Ok(()) } else { Err("none is") }
    })
    .await
    .unwrap();

    // The first line went into the first file that was packed.
    let lines = found(&installation, &["--since", "1h", "--trace", &TRACE[..8]]).await;
    let line = lines
        .iter()
        .find(|line| line["who"] == "edge")
        .expect("the edge's line");
    assert_eq!(line["trace_id"], TRACE);
    assert_eq!(
        (&line["level"], &line["message"]),
        (&"info".into(), &"GET /first 200".into())
    );
    let none = found(&installation, &["--until", "2020-01-01"]).await;
    assert_eq!(none, Vec::<Value>::new());
    let more = found(&installation, &["-p", "edge", "--grep", "/mor[e]", "-n", "3"]).await;
    assert_eq!(more.len(), 3, "{more:?}");
    installation.down().await;
}
