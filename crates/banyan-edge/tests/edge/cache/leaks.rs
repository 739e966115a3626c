//! What nobody else may get, and what nobody may put in for others.

use banyan_config::Sticky;
use banyan_testkit::upstream::Message;

use super::both::{Tier, both};
use super::{get, ok, origin, rfc, rule, safe};
use crate::world::World;

both!(
    authorised_answers_are_shared_only_where_the_app_says_so,
    an_answer_with_a_cookie_is_not_kept_by_the_safe_profile_and_stripped_by_a_rule,
    fields_that_are_qualified_private_are_not_kept,
    fields_that_no_key_holds_cannot_poison_what_others_get,
    hosts_are_kept_apart,
    a_page_behind_an_address_like_a_files_is_not_kept_by_a_rule_for_files,
);

fn who(request: &Message) -> String {
    format!(
        "for {}{}",
        request.header("authorization"),
        request.header("cookie")
    )
}

/// Two users ask after each other; whether the second got what was the first one's.
async fn leaks(tier: Tier, cache: banyan_config::Cache, lines: &'static str, field: &str) -> bool {
    let (upstream, _asked) = origin(move |_, request| ok(lines, &who(request))).await;
    let world = tier.world(&upstream, cache).await;
    let mut answers = Vec::new();
    for user in ["alice", "bob"] {
        let answer = world.ask(&get("/", &format!("{field}: {user}\r\n"))).await;
        answers.push((answer.text(), answer.header("set-cookie")));
    }
    answers[1].0 == "for alice"
}

/// RFC 9111 §3.5.
async fn authorised_answers_are_shared_only_where_the_app_says_so(tier: Tier) {
    for (lines, shared) in [
        ("Cache-Control: max-age=60\r\n", false),
        ("ETag: \"a\"\r\n", false),
        ("Expires: Fri, 01 Jan 2100 00:00:00 GMT\r\n", false),
        ("Cache-Control: private, max-age=60\r\n", false),
        ("Cache-Control: no-store\r\n", false),
        ("Cache-Control: public, max-age=60\r\n", true),
        ("Cache-Control: s-maxage=60\r\n", true),
    ] {
        for cache in [safe(), rfc()] {
            assert_eq!(
                leaks(tier, cache, lines, "Authorization").await,
                shared,
                "{lines}"
            );
        }
    }
}

/// RFC 9111 §7.3.
async fn an_answer_with_a_cookie_is_not_kept_by_the_safe_profile_and_stripped_by_a_rule(tier: Tier) {
    let lines = "Cache-Control: max-age=60\r\nSet-Cookie: session=secret\r\n";
    assert!(!leaks(tier, safe(), lines, "Cookie").await);
    let ruled = banyan_config::Cache {
        rules: vec![banyan_config::CacheRule {
            strip_cookies: true,
            ..rule("/*")
        }],
        ..safe()
    };
    let (upstream, asked) = origin(move |_, _| ok(lines, "picture")).await;
    let world = tier.world(&upstream, ruled).await;
    for _ in 0..2 {
        let answer = world.get("/a.png").await;
        assert_eq!(
            (answer.text(), answer.header("set-cookie")),
            ("picture".to_owned(), String::new())
        );
    }
    assert_eq!(asked.count(), 1);
}

/// RFC 9111 §5.2.2.7.
async fn fields_that_are_qualified_private_are_not_kept(tier: Tier) {
    let lines = "Cache-Control: max-age=60, private=\"x-user\"\r\nX-User: alice\r\n";
    let (upstream, _asked) = origin(move |_, _| ok(lines, "page")).await;
    let world = tier.world(&upstream, rfc()).await;
    assert_eq!(world.get("/").await.header("x-user"), "alice");
    assert_eq!(world.get("/").await.header("x-user"), "");
}

/// RFC 9111 §7.1.
async fn fields_that_no_key_holds_cannot_poison_what_others_get(tier: Tier) {
    let (upstream, _asked) = origin(|_, request| {
        let told: Vec<_> = [
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-real-ip",
            "forwarded",
            "x-original-url",
        ]
        .iter()
        .map(|name| request.header(name))
        .filter(|value| value.contains("evil"))
        .collect();
        ok("Cache-Control: max-age=60\r\n", &told.join(","))
    })
    .await;
    let world = tier.world(&upstream, safe()).await;
    let evil = "X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: evil\r\nX-Real-IP: evil\r\nForwarded: host=evil\r\n";
    assert_eq!(world.ask(&get("/", evil)).await.text(), "");
}

/// RFC 9111 §2.
async fn hosts_are_kept_apart(tier: Tier) {
    let (upstream, _asked) = origin(|_, request| {
        let lines = "Cache-Control: max-age=60\r\n";
        ok(lines, &request.header("host"))
    })
    .await;
    let world = tier.world(&upstream, safe()).await;
    for (host, body) in [
        ("one.example", "one.example"),
        ("two.example", "two.example"),
        ("ONE.example:80", "one.example"),
    ] {
        let answer = world
            .ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        assert_eq!(answer.text(), body);
    }
}

/// RFC 9111 §7.1.
async fn a_page_behind_an_address_like_a_files_is_not_kept_by_a_rule_for_files(tier: Tier) {
    let ruled = banyan_config::Cache {
        rules: vec![banyan_config::CacheRule {
            class: Some(banyan_config::CacheClass::Versioned),
            ..rule("/*.css")
        }],
        ..safe()
    };
    let (upstream, asked) = origin(|_, request| {
        let kind = if request.target().contains("account") {
            "Text/HTML; charset=utf-8"
        } else {
            "text/css"
        };
        ok(&format!("Content-Type: {kind}\r\n"), &who(request))
    })
    .await;
    let world = tier.world(&upstream, ruled).await;
    for _ in 0..2 {
        world.ask(&get("/account/x.css", "Cookie: alice\r\n")).await;
        let answer = world.get("/app.1234abcd.css").await;
        assert!(answer.header("cache-control").contains("immutable"));
    }
    assert_eq!(asked.count(), 3);
    let answer = world.get("/account/x.css").await;
    assert_eq!(
        (answer.text(), answer.header("cache-control")),
        ("for ".to_owned(), String::new())
    );
}

#[tokio::test]
async fn the_edges_own_cookie_goes_to_one_client_and_never_into_the_store() {
    let (upstream, asked) = origin(|_, request| match request.target() {
        "/page" => ok("Cache-Control: private\r\n", "page"),
        _ => ok("Cache-Control: max-age=60\r\n", "picture"),
    })
    .await;
    let world = World::with(&[upstream.address], |snapshot| {
        snapshot.settings.cache = Some(Box::new(rfc()));
        snapshot.settings.sticky = Some(Sticky::Cookie("shop_i".to_owned()));
    })
    .await;
    for _ in 0..2 {
        let page = world.get("/page").await;
        assert!(page.header("set-cookie").starts_with("shop_i="), "{page:?}");
        let picture = world.get("/picture").await;
        assert_eq!(
            (picture.text(), picture.header("set-cookie")),
            ("picture".to_owned(), String::new())
        );
    }
    assert_eq!(asked.count(), 3);
}
