//! Stale answers are validated; what a 304 says is kept; clients' own conditions are answered here.

use super::both::{Tier, both};
use super::{answer, get, ok, origin, rfc, safe, said};

both!(
    what_must_be_validated_is_and_a_304_renews_it,
    a_changed_answer_replaces_the_stale_one,
    clients_conditions_are_answered_from_what_is_stored,
    a_304_for_what_only_the_client_has_is_passed_on,
    a_304_that_names_nothing_known_is_followed_by_a_plain_request,
    a_head_that_tells_of_another_body_outdates_the_stored_one,
    conditions_on_what_is_not_stored_are_the_origins,
);

/// RFC 9111 §5.2.2.4, §4.3.4.
async fn what_must_be_validated_is_and_a_304_renews_it(tier: Tier) {
    let (upstream, asked) = origin(|n, request| {
        if request.header("if-none-match") == "\"v1\"" {
            return format!(
                "HTTP/1.1 304 Not Modified\r\nETag: \"v1\"\r\nX-Count: {n}\r\nCache-Control: no-cache\r\n\r\n"
            );
        }
        ok(
            "ETag: \"v1\"\r\nCache-Control: no-cache\r\nContent-Type: text/plain\r\n",
            "body",
        )
    })
    .await;
    let world = tier.world(&upstream, safe()).await;
    assert_eq!(world.get("/").await.text(), "body");
    let second = world.get("/").await;
    assert_eq!((second.status(), second.text()), (200, "body".to_owned()));
    assert_eq!(second.header("x-count"), "2", "the new field is passed on");
    assert_eq!(
        said(&second),
        "fwd=stale; fwd-status=304; stored; ttl=0; detail=no-cache"
    );
    assert_eq!(asked.last().header("if-none-match"), "\"v1\"");
}

/// RFC 9111 §4.3.3.
async fn a_changed_answer_replaces_the_stale_one(tier: Tier) {
    let (upstream, asked) = origin(|n, _| {
        let lines = format!("ETag: \"v{n}\"\r\nCache-Control: max-age={}\r\n", (n - 1) * 60);
        ok(&lines, &n.to_string())
    })
    .await;
    let world = tier.world(&upstream, safe()).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(world.get("/").await.text());
    }
    assert_eq!(
        (seen, asked.count()),
        (vec!["1".into(), "2".into(), "2".to_owned()], 2)
    );
}

/// RFC 9111 §4.3.2; RFC 9110 §13.1.2, §13.1.3, §15.4.5.
async fn clients_conditions_are_answered_from_what_is_stored(tier: Tier) {
    let (upstream, asked) = origin(|_, _| {
        ok(
            "ETag: \"a\"\r\nLast-Modified: Tue, 01 Jan 2019 00:00:00 GMT\r\nCache-Control: max-age=60\r\nX-Other: 1\r\n",
            "body",
        )
    })
    .await;
    let world = tier.world(&upstream, safe()).await;
    world.get("/").await;
    for (line, status) in [
        ("If-None-Match: \"a\"", 304),
        ("If-None-Match: W/\"a\", \"b\"", 304),
        ("If-None-Match: *", 304),
        ("If-None-Match: \"b\"", 200),
        ("If-Modified-Since: Tue, 01 Jan 2019 00:00:00 GMT", 304),
        ("If-Modified-Since: Tue, 01 Jan 2018 00:00:00 GMT", 200),
    ] {
        let answer = world.ask(&get("/", &format!("{line}\r\n"))).await;
        assert_eq!(answer.status(), status, "{line}");
        if status == 304 {
            assert_eq!(answer.header("etag"), "\"a\"");
            assert_eq!(
                (answer.header("x-other").as_str(), answer.text().as_str()),
                ("", "")
            );
        }
    }
    assert_eq!(asked.count(), 1);
}

/// RFC 9111 §4.3.3.
async fn a_304_for_what_only_the_client_has_is_passed_on(tier: Tier) {
    let (upstream, asked) = origin(|n, request| match n {
        1 => ok("ETag: \"old\"\r\nCache-Control: max-age=0\r\n", "old"),
        _ => {
            assert_eq!(request.header("if-none-match"), "\"old\", \"new\"");
            "HTTP/1.1 304 Not Modified\r\nETag: \"new\"\r\n\r\n".to_owned()
        }
    })
    .await;
    let world = tier.world(&upstream, safe()).await;
    world.get("/").await;
    let answer = world.ask(&get("/", "If-None-Match: \"new\"\r\n")).await;
    assert_eq!((answer.status(), asked.count()), (304, 2));
}

/// RFC 9111 §4.3.3, §4.3.4.
async fn a_304_that_names_nothing_known_is_followed_by_a_plain_request(tier: Tier) {
    let (upstream, asked) = origin(|n, _| match n {
        1 => ok("ETag: \"old\"\r\nCache-Control: max-age=0\r\n", "old"),
        2 => "HTTP/1.1 304 Not Modified\r\nETag: \"strange\"\r\n\r\n".to_owned(),
        _ => ok("ETag: \"new\"\r\nCache-Control: max-age=60\r\n", "new"),
    })
    .await;
    let world = tier.world(&upstream, safe()).await;
    world.get("/").await;
    assert_eq!(world.get("/").await.text(), "new");
    assert_eq!(
        (asked.count(), asked.last().header("if-none-match").as_str()),
        (3, "")
    );
}

/// RFC 9111 §4.3.5.
async fn a_head_that_tells_of_another_body_outdates_the_stored_one(tier: Tier) {
    let (upstream, asked) = origin(|n, request| {
        if request.start.starts_with("HEAD") {
            return "HTTP/1.1 200 OK\r\nETag: \"b\"\r\nContent-Length: 9\r\n\r\n".to_owned();
        }
        let lines = "ETag: \"a\"\r\nCache-Control: max-age=60, must-revalidate\r\nVary: X-Same\r\n";
        ok(lines, &n.to_string())
    })
    .await;
    let world = tier.world(&upstream, rfc()).await;
    world.get("/").await;
    assert_eq!(world.get("/").await.text(), "1");
    let mut client = world.client().await;
    client
        .send(get("/", "Cache-Control: no-cache\r\n").replace("GET", "HEAD"))
        .await;
    client.head().await.unwrap();
    assert_eq!(world.get("/").await.text(), "3");
    assert_eq!(asked.count(), 3);
}

/// RFC 9111 §4.3.2.
async fn conditions_on_what_is_not_stored_are_the_origins(tier: Tier) {
    let (upstream, asked) = origin(|_, request| {
        if request.header("if-none-match").is_empty() && request.header("if-match").is_empty() {
            return ok("ETag: \"a\"\r\nCache-Control: max-age=60\r\n", "body");
        }
        answer("412 Precondition Failed", "", "")
    })
    .await;
    let world = tier.world(&upstream, safe()).await;
    let answer = world.ask(&get("/", "If-None-Match: \"x\"\r\n")).await;
    assert_eq!(
        (answer.status(), asked.last().header("if-none-match")),
        (412, "\"x\"".to_owned())
    );
    world.get("/").await;
    let answer = world.ask(&get("/", "If-Match: \"x\"\r\n")).await;
    assert_eq!((answer.status(), asked.count()), (412, 3));
}
