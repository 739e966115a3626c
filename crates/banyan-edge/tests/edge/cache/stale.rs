//! Stale answers: while a new one is fetched, and while the origin fails (RFC 5861).

use std::time::Duration;

use super::both::{Tier, both};
use super::{answer, ok, origin, rule, safe, said};

both!(
    within_its_window_a_stale_answer_goes_out_at_once_and_one_request_renews_it,
    an_origin_that_answers_with_errors_is_covered_for_and_that_is_said,
    an_origin_that_is_gone_is_covered_for_unless_the_answer_forbids_it,
    a_rule_gives_times_to_an_app_that_says_none,
);

/// RFC 5861 §3.
async fn within_its_window_a_stale_answer_goes_out_at_once_and_one_request_renews_it(tier: Tier) {
    let (upstream, asked) = origin(|n, _| {
        let age = if n == 1 { 100 } else { 0 };
        let lines = format!("Cache-Control: max-age=60, stale-while-revalidate=1000\r\nAge: {age}\r\n");
        ok(&lines, &n.to_string())
    })
    .await;
    let world = tier.world(&upstream, safe()).await;
    world.get("/").await;
    let stale = world.get("/").await;
    assert_eq!(stale.text(), "1");
    assert!(said(&stale).starts_with("hit; ttl=-4"), "{}", said(&stale));
    let renewed = async {
        while world.get("/").await.text() == "1" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), renewed)
        .await
        .expect("never renewed");
    assert_eq!((world.get("/").await.text(), asked.count()), ("2".to_owned(), 2));
}

/// RFC 5861 §4; RFC 9111 §4.2.4.
async fn an_origin_that_answers_with_errors_is_covered_for_and_that_is_said(tier: Tier) {
    let (upstream, asked) = origin(|n, _| match n {
        1 => ok("Cache-Control: max-age=1\r\nAge: 5\r\n", "good"),
        _ => answer("503 Away", "", "bad"),
    })
    .await;
    let world = tier.world(&upstream, safe()).await;
    world.get("/").await;
    for _ in 0..3 {
        let covered = world.get("/").await;
        assert_eq!((covered.status(), covered.text().as_str()), (200, "good"));
        assert!(
            said(&covered).starts_with("fwd=stale; fwd-status=503; ttl=-4; detail=expired"),
            "{}",
            said(&covered)
        );
    }
    assert!(asked.count() >= 2);
}

/// RFC 9111 §4.2.4, §5.2.2.2, §5.2.2.8, §5.2.2.10.
async fn an_origin_that_is_gone_is_covered_for_unless_the_answer_forbids_it(tier: Tier) {
    let (upstream, _asked) = origin(|_, request| {
        let more = match request.target() {
            "/strict" => ", must-revalidate",
            "/shared" => ", s-maxage=1",
            "/never" => ", stale-if-error=0",
            _ => "",
        };
        ok(&format!("Cache-Control: max-age=1{more}\r\nAge: 5\r\n"), "good")
    })
    .await;
    let world = tier
        .world_with(&upstream, safe(), |snapshot| {
            snapshot.settings.timeouts.no_endpoint = Duration::from_millis(50);
        })
        .await;
    let paths = ["/free", "/strict", "/shared", "/never"];
    for path in paths {
        world.get(path).await;
    }
    upstream.kill().await;
    let mut statuses = Vec::new();
    for path in paths {
        statuses.push(world.get(path).await.status());
    }
    assert_eq!(statuses[0], 200);
    assert!(statuses[1..].iter().all(|status| *status >= 502), "{statuses:?}");
}

/// RFC 9111 §4.2.2: what nobody states, a cache may.
async fn a_rule_gives_times_to_an_app_that_says_none(tier: Tier) {
    let ruled = banyan_config::Cache {
        rules: vec![
            banyan_config::CacheRule {
                ttl: Some(Duration::from_secs(600)),
                browser_ttl: Some(Duration::from_secs(60)),
                query: Some(vec!["page".to_owned()]),
                ..rule("/api/*")
            },
            banyan_config::CacheRule {
                store: false,
                ..rule("/never/*")
            },
        ],
        ..safe()
    };
    let (upstream, asked) = origin(|n, request| {
        let lines = match request.target() {
            "/api/own?page=1" => "Cache-Control: max-age=0\r\n",
            "/api/secret" => "Cache-Control: private\r\n",
            "/never/x" => "Cache-Control: max-age=60\r\n",
            _ => "",
        };
        ok(lines, &n.to_string())
    })
    .await;
    let world = tier.world(&upstream, ruled).await;
    let first = world.get("/api/list?page=1&utm=a").await;
    assert_eq!(first.header("cache-control"), "max-age=60");
    let second = world.get("/api/list?utm=b&page=1").await;
    assert_eq!((second.text(), asked.count()), ("1".to_owned(), 1));
    assert_eq!(world.get("/api/list?page=2").await.text(), "1");
    for path in ["/api/own?page=1", "/api/secret", "/never/x"] {
        world.get(path).await;
        assert_eq!(world.get(path).await.text(), "2", "{path}");
    }
    assert_eq!(said(&world.get("/never/x").await), "fwd=bypass; detail=rule");
}
