//! What is fresh is given out again, with its age, in the same bytes.

use super::both::{Tier, both};
use super::{get, ok, origin, rfc, safe, said};

both!(
    a_fresh_answer_is_given_out_again_with_its_age_and_says_so,
    an_age_on_the_way_here_counts,
    head_is_answered_from_a_get_and_a_get_not_from_a_head,
    variants_are_kept_apart_and_requests_are_compared_as_the_standard_says,
    a_field_for_caches_overrides_the_one_for_all,
    the_rfc_profile_guesses_times_and_the_safe_one_only_those_of_assets,
    a_reload_reaches_the_origin_by_the_standard_and_not_by_the_safe_profile,
    a_client_that_wants_only_what_is_stored_gets_that_or_504,
    negative_answers_are_kept_for_seconds_and_errors_not_at_all,
);

/// RFC 9111 §4, §5.1; RFC 9211 §2.
async fn a_fresh_answer_is_given_out_again_with_its_age_and_says_so(tier: Tier) {
    let (upstream, asked) = origin(|n, _| {
        let lines = "Cache-Control: max-age=60\r\nX-Twice: 1\r\nX-Twice: 2\r\nDate: Sat, 21 Nov 2020 12:00:00 GMT\r\n";
        ok(&lines.replace("Date", "X-Then"), &format!("number {n}"))
    })
    .await;
    let world = tier.world(&upstream, safe()).await;
    let first = world.get("/a?b=c").await;
    assert_eq!(said(&first), "fwd=uri-miss; stored; ttl=60; detail=absent");
    assert_eq!(first.header("age"), "", "it comes from the origin itself");
    let second = world.get("/a?b=c").await;
    assert_eq!((second.text(), asked.count()), ("number 1".to_owned(), 1));
    assert!(said(&second).starts_with("hit; ttl="), "{}", said(&second));
    assert_eq!(second.header("x-twice"), "1|2");
    assert_eq!(second.header("content-length"), "8");
    assert!(second.header("age").parse::<u64>().unwrap() < 30);
    assert!(second.header("date").ends_with("GMT"));
    // Another query is another resource.
    assert_eq!(world.get("/a?b=d").await.text(), "number 1");
    assert_eq!(asked.count(), 2);
}

/// RFC 9111 §4.2.3.
async fn an_age_on_the_way_here_counts(tier: Tier) {
    let (upstream, asked) =
        origin(|n, _| ok("Cache-Control: max-age=60\r\nAge: 50\r\n", &n.to_string())).await;
    let world = tier.world(&upstream, safe()).await;
    world.get("/").await;
    let second = world.get("/").await;
    assert_eq!(asked.count(), 1);
    assert!(second.header("age").parse::<u64>().unwrap() >= 50);
    let (upstream, asked) =
        origin(|n, _| ok("Cache-Control: max-age=60\r\nAge: 61\r\n", &n.to_string())).await;
    let world = tier.world(&upstream, safe()).await;
    world.get("/").await;
    assert_eq!((world.get("/").await.text(), asked.count()), ("2".to_owned(), 2));
}

/// RFC 9110 §9.3.2.
async fn head_is_answered_from_a_get_and_a_get_not_from_a_head(tier: Tier) {
    let (upstream, asked) = origin(|_, request| {
        let body = if request.start.starts_with("HEAD") {
            ""
        } else {
            "body"
        };
        format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\n{body}")
    })
    .await;
    let world = tier.world(&upstream, safe()).await;
    let head = |path: &str| get(path, "").replace("GET", "HEAD");
    let mut client = world.client().await;
    client.send(head("/")).await;
    let answer = client.head().await.unwrap();
    assert_eq!(said(&answer), "fwd=method; detail=method");
    client.send(get("/", "")).await;
    assert_eq!(client.message().await.unwrap().text(), "body");
    client.send(head("/")).await;
    let answer = client.head().await.unwrap();
    assert!(said(&answer).starts_with("hit"), "{answer:?}");
    assert_eq!(
        (answer.header("content-length").as_str(), asked.count()),
        ("4", 2)
    );
    // The connection goes on.
    client.send(get("/", "")).await;
    assert_eq!(client.message().await.unwrap().text(), "body");
}

/// RFC 9111 §4.1.
async fn variants_are_kept_apart_and_requests_are_compared_as_the_standard_says(tier: Tier) {
    let (upstream, asked) = origin(|_, request| {
        let language = request.header("accept-language");
        ok(
            "Cache-Control: max-age=60\r\nVary: Accept-Language\r\n",
            &language,
        )
    })
    .await;
    let world = tier.world(&upstream, safe()).await;
    let ask = async |language: &str| {
        let line = format!("Accept-Language: {language}\r\n");
        world.ask(&get("/", &line)).await.text()
    };
    assert_eq!(
        (ask("de").await, ask("en").await, asked.count()),
        ("de".into(), "en".into(), 2)
    );
    assert_eq!(
        (ask("de").await, ask("en").await, asked.count()),
        ("de".into(), "en".into(), 2)
    );
    assert_eq!(
        (ask("de,fr").await, ask("de ,  fr").await),
        ("de,fr".into(), "de,fr".into())
    );
    assert_eq!(asked.count(), 3);
    assert_eq!(world.get("/").await.text(), "");
    assert_eq!(asked.count(), 4);
}

/// RFC 9213 §2.
async fn a_field_for_caches_overrides_the_one_for_all(tier: Tier) {
    let (upstream, asked) = origin(|n, request| {
        let lines = match request.target() {
            "/longer" => "Cache-Control: no-store\r\nCDN-Cache-Control: max-age=60\r\n",
            "/never" => "Cache-Control: max-age=60\r\nCDN-Cache-Control: no-store\r\n",
            "/ours" => "CDN-Cache-Control: no-store\r\nBanyan-Cache-Control: max-age=60\r\n",
            _ => "Cache-Control: max-age=60\r\nCDN-Cache-Control: max-age=\"broken\r\n",
        };
        ok(lines, &n.to_string())
    })
    .await;
    let world = tier.world(&upstream, rfc()).await;
    for (path, second) in [
        ("/longer", "1"),
        ("/never", "2"),
        ("/ours", "1"),
        ("/broken", "1"),
    ] {
        world.get(path).await;
        let answer = world.get(path).await;
        assert_eq!(answer.text(), second, "{path}");
        assert_eq!(answer.header("banyan-cache-control"), "", "ours goes no further");
    }
    assert_eq!(
        world.get("/longer").await.header("cdn-cache-control"),
        "max-age=60"
    );
    assert_eq!(asked.count(), 5);
}

/// RFC 9111 §4.2.2.
async fn the_rfc_profile_guesses_times_and_the_safe_one_only_those_of_assets(tier: Tier) {
    let script = |n: usize, request: &banyan_testkit::upstream::Message| {
        let kind = if request.target() == "/page" {
            "text/html"
        } else {
            "text/css"
        };
        let lines = format!("Last-Modified: Tue, 01 Jan 2019 00:00:00 GMT\r\nContent-Type: {kind}\r\n");
        ok(&lines, &n.to_string())
    };
    for (cache, page) in [(safe(), "2"), (rfc(), "1")] {
        let (upstream, _asked) = origin(script).await;
        let world = tier.world(&upstream, cache).await;
        for path in ["/page", "/style"] {
            world.get(path).await;
        }
        assert_eq!(world.get("/page").await.text(), page);
        assert_eq!(world.get("/style").await.text(), "1");
    }
}

/// RFC 9111 §5.2.1.4.
async fn a_reload_reaches_the_origin_by_the_standard_and_not_by_the_safe_profile(tier: Tier) {
    for (cache, second) in [(safe(), "1"), (rfc(), "2")] {
        let (upstream, _asked) = origin(|n, _| ok("Cache-Control: max-age=60\r\n", &n.to_string())).await;
        let world = tier.world(&upstream, cache).await;
        world.get("/").await;
        let reload = world.ask(&get("/", "Cache-Control: no-cache\r\n")).await;
        assert_eq!(reload.text(), second);
    }
}

/// RFC 9111 §5.2.1.7.
async fn a_client_that_wants_only_what_is_stored_gets_that_or_504(tier: Tier) {
    let (upstream, asked) = origin(|n, _| ok("Cache-Control: max-age=60\r\n", &n.to_string())).await;
    let world = tier.world(&upstream, safe()).await;
    let only = get("/", "Cache-Control: only-if-cached\r\n");
    assert_eq!((world.ask(&only).await.status(), asked.count()), (504, 0));
    world.get("/").await;
    assert_eq!(world.ask(&only).await.text(), "1");
}

/// RFC 9110 §15.1; the times of 404 and 410 are the safe profile's.
async fn negative_answers_are_kept_for_seconds_and_errors_not_at_all(tier: Tier) {
    let (upstream, asked) = origin(|n, request| match request.target() {
        "/gone" => answer("404 Not Found", n),
        _ => answer("500 Oops", n),
    })
    .await;
    fn answer(status: &str, n: usize) -> String {
        super::answer(status, "", &n.to_string())
    }
    let world = tier.world(&upstream, safe()).await;
    for _ in 0..2 {
        assert_eq!(world.get("/gone").await.text(), "1");
    }
    world.get("/broken").await;
    assert_eq!(world.get("/broken").await.text(), "2");
    assert_eq!(asked.count(), 3);
}
