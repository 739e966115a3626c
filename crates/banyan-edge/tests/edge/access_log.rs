//! Which requests have a line in the access log, and what it says.

use std::time::Duration;

use banyan_config::{EdgeLog, Fraction};
use banyan_testkit::upstream::{Message, Upstream, Wire};
use banyan_topology::snapshot::EdgeSnapshot;

use crate::world::{World, endpoint, get};

fn sampled(snapshot: &mut EdgeSnapshot, share: f64, slow: Duration) {
    snapshot.settings.log = EdgeLog {
        sample: Fraction::new(share).unwrap(),
        slow,
    };
}

/// Answers by what the path says, slowly if it says so.
async fn upstream() -> Upstream {
    Upstream::start(|mut wire| async move {
        while let Some(request) = wire.message().await {
            let status = if request.target().starts_with("/bad") {
                500
            } else {
                200
            };
            if request.target().starts_with("/slow") {
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
            wire.answer(status, "x").await;
        }
    })
    .await
}

#[tokio::test]
async fn with_a_sample_of_nothing_errors_and_slow_requests_have_a_line_and_others_none() {
    let upstream = upstream().await;
    let world = World::with(&[upstream.address], |snapshot| {
        sampled(snapshot, 0.0, Duration::from_millis(50));
    })
    .await;
    for path in ["/fine", "/bad", "/fine", "/slow", "/fine"] {
        world.get(path).await;
    }
    world
        .ask("GET /refused HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        .await;
    // Each core writes its own lines.
    let mut lines = world.logged(3).await;
    lines.sort_by_key(|line| line["path"].to_string());
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line["path"].as_str(), line["status"].as_u64()))
        .collect();
    assert_eq!(
        told,
        [
            (Some("-"), Some(400)),
            (Some("/bad"), Some(500)),
            (Some("/slow"), Some(200))
        ]
    );
    assert!(lines.iter().all(|line| line.get("sample").is_none()), "{lines:?}");
}

#[tokio::test]
async fn a_sample_takes_about_its_share_by_the_request_id_and_says_so() {
    let upstream = upstream().await;
    let world = World::with(&[upstream.address], |snapshot| {
        sampled(snapshot, 0.25, Duration::from_secs(60));
        snapshot.settings.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let mut client = world.client().await;
    let mut ask = async |id: String| -> Message {
        client
            .send(&format!(
                "GET /{id} HTTP/1.1\r\nHost: a\r\nX-Request-Id: {id}\r\n\r\n"
            ))
            .await;
        client.message().await.unwrap()
    };
    for number in 0..400 {
        ask(format!("id-{number}")).await;
    }
    // An error ends the row: everything before it has been decided.
    assert_eq!(ask("bad".to_owned()).await.status(), 500);
    let told = async || {
        let lines = world.logged(1).await;
        lines.iter().any(|line| line["path"] == "/bad").then_some(lines)
    };
    let lines = loop {
        if let Some(lines) = told().await {
            break lines;
        }
        tokio::task::yield_now().await;
    };
    let sampled: Vec<_> = lines.iter().filter(|line| line["status"] == 200).collect();
    assert!((60..140).contains(&sampled.len()), "{}", sampled.len());
    assert!(sampled.iter().all(|line| line["sample"] == 0.25));
    // The same ids again, on whatever core: the same choice.
    let ids: Vec<_> = sampled
        .iter()
        .map(|line| line["id"].as_str().unwrap().to_owned())
        .collect();
    for id in &ids {
        world
            .ask(&format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: {id}\r\n\r\n"
            ))
            .await;
    }
    world.logged(lines.len() + ids.len()).await;
}

#[tokio::test]
async fn a_line_says_how_it_came_and_how_long_it_waited() {
    let upstream = upstream().await;
    let mut world = World::launch(&[], |_| {}).await;
    let report = world.until(|report| !report.listening.is_empty()).await;
    let mut client = Wire::connect(report.listening[0]).await;
    client.send(&get("/patient")).await;
    world.until(|report| report.totals.in_flight == 1).await;
    world
        .publish(|snapshot| snapshot.upstream.endpoints = vec![endpoint(1, upstream.address)])
        .await;
    assert_eq!(client.message().await.unwrap().status(), 200);
    // Another core takes the next one: it must have heard, too.
    world.settled().await;
    world.ask("GET /old HTTP/1.0\r\n\r\n").await;
    let mut lines = world.logged(2).await;
    lines.sort_by_key(|line| std::cmp::Reverse(line["path"].to_string()));
    assert_eq!(lines[0]["protocol"], "1.1", "{lines:?}");
    assert!(lines[0]["waited_ms"].as_f64().unwrap() > 0.0, "{lines:?}");
    assert_eq!(lines[1]["protocol"], "1.0", "{lines:?}");
    assert!(
        lines[1].get("waited_ms").is_none() && lines[1].get("tls").is_none(),
        "{lines:?}"
    );
}
