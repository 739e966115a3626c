//! A TCP listener and PROXY headers, by apply on a running system: they come, pass connections on over the replacement of
//! the edge, show in status, and go.

use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use banyan_testkit::Port;
use banyan_testkit::http::Client;
use banyan_testkit::upstream::Wire;

use crate::edge_restarts::edge_pid;

const ASK: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn with_listener(manifest: &mut Manifest, port: u16) {
    manifest.more = vec![
        "[[listener]]".to_owned(),
        "name = \"raw\"".to_owned(),
        format!("port = {port}"),
        "process = \"web\"".to_owned(),
    ];
}

/// The pids of the edges that run.
async fn edges(installation: &Installation) -> Vec<u64> {
    let status = installation.status().await;
    let rows = status["children"].as_array().cloned().unwrap_or_default();
    let edges = rows.iter().filter(|row| row["kind"] == "edge");
    edges.filter_map(|row| row["pid"].as_u64()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_listener_comes_by_apply_outlives_the_edge_process_and_goes() {
    let mut installation = Installation::new(Manifest::misfit(""));
    installation.up().await;
    let port = Port::free();
    let applied = installation
        .apply(|manifest| with_listener(manifest, port.number()))
        .await;
    let output = applied.output();
    assert!(output.contains("add listener raw on 127.0.0.1:"), "{output}");
    let raw = Client::fresh_connections(port.address());
    let answer = raw.get("/").await.unwrap();
    assert_eq!(answer.status(), 200);
    // The app's own answer: nobody looked into it.
    assert!(!answer.headers().contains_key("x-request-id"));
    // Of the old edge process, which serves it on while the new one takes what comes.
    let mut held = Wire::connect(port.address()).await;
    let before = edge_pid(&installation).await;
    installation.manifest.edge.push("workers = 3".to_owned());
    installation.write_manifest();
    let replaced = async {
        let new_one = async || edges(&installation).await.iter().any(|pid| *pid != before);
        while !new_one().await {}
        assert_eq!(raw.get("/").await.unwrap().status(), 200);
        held.send(ASK).await;
        assert_eq!(held.message().await.expect("it was kept").status(), 200);
        drop(held);
    };
    tokio::join!(installation.verb(&["apply"]), replaced);
    assert_eq!(raw.get("/").await.unwrap().status(), 200);
    let shown = installation.verb(&["status"]).await;
    assert!(shown.stdout.contains("raw"), "{}", shown.stdout);
    installation.apply(|manifest| manifest.more.clear()).await;
    assert!(tokio::net::TcpStream::connect(port.address()).await.is_err());
    installation.down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_refused_at_plan_and_proxies_must_say_who_asks() {
    let mut installation = Installation::new(Manifest::misfit(""));
    installation.up().await;
    let holder = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let taken = holder.local_addr().unwrap().port();
    with_listener(&mut installation.manifest, taken);
    installation.write_manifest();
    let plan = installation.try_verb(&["plan"]).await;
    assert_eq!(plan.code(), 1, "{}", plan.output());
    assert!(plan.output().contains("listener.port"), "{}", plan.output());
    installation
        .apply(|manifest| {
            manifest.more.clear();
            manifest
                .edge
                .push("trusted_proxies = [\"127.0.0.0/8\"]".to_owned());
            manifest.edge.push("proxy_protocol = true".to_owned());
        })
        .await;
    let mut proxied = Wire::connect(installation.edge_address()).await;
    proxied
        .send(format!("PROXY TCP4 203.0.113.7 198.51.100.2 50007 443\r\n{ASK}"))
        .await;
    assert_eq!(proxied.message().await.unwrap().status(), 200);
    let mut bare = Wire::connect(installation.edge_address()).await;
    bare.send(ASK).await;
    assert!(bare.rest().await.is_empty());
    let log = installation.state().join("logs").join("edge.log");
    let logged = async {
        while !std::fs::read_to_string(&log)
            .unwrap()
            .contains("\"client\":\"203.0.113.7\"")
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), logged)
        .await
        .expect("not logged");
    installation.down().await;
}
