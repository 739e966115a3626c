//! What one client's request does to what another gets: what an app says to one user, or because of how one asked, is not
//! for others.

use banyan_testkit::upstream::Message;

use super::both::{Tier, both};
use super::{answer, get, ok, origin, rfc, rule, safe};
use crate::world::post;

both!(
    files_of_a_session_are_not_given_to_strangers_by_a_guess,
    a_page_that_is_not_there_for_strangers_is_there_for_who_may_see_it,
    what_is_wrong_with_one_request_is_not_the_answer_to_others,
    a_rule_for_files_is_not_about_that_there_was_none,
    a_parameter_counts_however_it_is_written,
    what_a_trusted_proxy_says_of_the_host_is_another_address,
    what_was_purged_for_good_is_not_renewed_by_a_tag_that_another_has,
    a_coding_that_only_one_client_understands_is_not_given_to_others,
);

/// Of a hundred days ago: a guess would be a day.
const OLD: &str = "Last-Modified: Sat, 01 Jan 2022 00:00:00 GMT\r\nETag: \"a\"\r\n";

/// An app that knows its users by a cookie, and says nothing of caches.
fn invoice(request: &Message) -> String {
    match request.header("cookie").as_str() {
        "session=alice" if request.header("if-none-match") == "\"a\"" => {
            answer("304 Not Modified", "ETag: \"a\"\r\n", "")
        }
        "session=alice" => ok(&format!("Content-Type: application/pdf\r\n{OLD}"), "invoice"),
        _ => answer("403 Forbidden", "Cache-Control: no-store\r\n", "log in"),
    }
}

/// RFC 9111 §7.3: what a cookie opens is no more everybody's than what `Authorization` opens.
async fn files_of_a_session_are_not_given_to_strangers_by_a_guess(tier: Tier) {
    let (upstream, _asked) = origin(|_, request| invoice(request)).await;
    let world = tier.world(&upstream, safe()).await;
    for _ in 0..2 {
        let mine = world.ask(&get("/7.pdf", "Cookie: session=alice\r\n")).await;
        assert_eq!(mine.text(), "invoice");
        let theirs = world.get("/7.pdf").await;
        assert_eq!((theirs.status(), theirs.text()), (403, "log in".to_owned()));
    }
    // Without a session it may still be guessed.
    let (upstream, asked) = origin(|_, _| ok(&format!("Content-Type: text/css\r\n{OLD}"), "css")).await;
    let world = tier.world(&upstream, safe()).await;
    for more in ["", "", "Cookie: session=alice\r\n"] {
        assert_eq!(world.ask(&get("/a.css", more)).await.text(), "css");
    }
    assert_eq!(asked.count(), 1);
}

/// Many apps say 404 where they mean 403.
async fn a_page_that_is_not_there_for_strangers_is_there_for_who_may_see_it(tier: Tier) {
    let (upstream, asked) = origin(|_, request| match request.header("cookie").as_str() {
        "session=alice" => ok("Cache-Control: private\r\n", "secret plans"),
        _ => answer("404 Not Found", "", "nothing here"),
    })
    .await;
    let world = tier.world(&upstream, safe()).await;
    for _ in 0..2 {
        assert_eq!(world.get("/plans").await.status(), 404);
    }
    assert_eq!(asked.count(), 1, "strangers share it");
    let mine = world.ask(&get("/plans", "Cookie: session=alice\r\n")).await;
    assert_eq!((mine.status(), mine.text()), (200, "secret plans".to_owned()));
    assert_eq!(world.get("/plans").await.status(), 404);
}

/// RFC 6585 §§3-6 (428, 429, 431, 511 are never stored); RFC 9110 §15.5: what 416 and the like say is of one request.
async fn what_is_wrong_with_one_request_is_not_the_answer_to_others(tier: Tier) {
    for status in [407, 408, 411, 412, 413, 416, 417, 425, 426, 428, 429, 431, 511] {
        for cache in [safe(), rfc()] {
            let lines = "Cache-Control: public, max-age=60\r\n";
            let (upstream, _asked) = origin(move |count, _| match count {
                1 => answer(&format!("{status} Wrong"), lines, "wrong"),
                _ => ok(lines, "page"),
            })
            .await;
            let world = tier.world(&upstream, cache).await;
            world.ask(&get("/", "Range: bytes=99999-\r\n")).await;
            assert_eq!(world.get("/").await.text(), "page", "{status}");
        }
    }
}

/// A file that is not there yet, or an app that fails, is not that for a year; browsers are not told so either.
async fn a_rule_for_files_is_not_about_that_there_was_none(tier: Tier) {
    for (status, said) in [
        ("404 Not Found", ""),
        ("500 Oops", ""),
        ("503 Oops", "Cache-Control: max-age=0\r\n"),
    ] {
        let (upstream, _asked) = origin(move |count, _| match count {
            1 => answer(status, said, "wrong"),
            _ => ok("Content-Type: text/css\r\n", "css"),
        })
        .await;
        let mut cache = safe();
        cache.rules = vec![banyan_config::CacheRule {
            class: Some(banyan_config::CacheClass::Versioned),
            overrides: true,
            negative_ttl: std::time::Duration::ZERO,
            stale_if_error: std::time::Duration::ZERO,
            ..rule("/*.css")
        }];
        let world = tier.world(&upstream, cache).await;
        let first = world.get("/app.1234abcd.css").await;
        let told = first.header("cache-control");
        assert_eq!(
            format!("{told}\r\n"),
            said.replace("Cache-Control: ", "") + if said.is_empty() { "\r\n" } else { "" }
        );
        let then = world.get("/app.1234abcd.css").await;
        assert_eq!(then.text(), "css", "{status}");
        assert!(then.header("cache-control").contains("immutable"));
    }
}

/// What is not in the key must not decide what is stored under it.
async fn a_parameter_counts_however_it_is_written(tier: Tier) {
    let (upstream, _asked) = origin(|_, request| ok("Cache-Control: max-age=60\r\n", request.target())).await;
    let mut cache = safe();
    cache.rules = vec![banyan_config::CacheRule {
        query: Some(vec!["page".to_owned()]),
        ..rule("/*")
    }];
    let world = tier.world(&upstream, cache).await;
    for other in [
        "/?%70age=2",
        "/?utm=1;page=2",
        "/?page%5B%5D=2",
        "/?page[]=2",
        "/?utm=1&%50age=2&p%61ge=3",
    ] {
        let got = world.get(other).await.text();
        assert_eq!(got, other, "it is another page than those before");
    }
    assert_eq!(world.get("/").await.text(), "/");
    assert_eq!(
        world.get("/?utm=2").await.text(),
        "/",
        "what does not count still does not"
    );
}

/// Sites behind one proxy may come under one name.
async fn what_a_trusted_proxy_says_of_the_host_is_another_address(tier: Tier) {
    let (upstream, _asked) = origin(|_, request| {
        let said = [
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-prefix",
            "forwarded",
        ];
        let said = said.map(|name| request.header(name)).join(" ");
        ok("Cache-Control: max-age=60\r\n", &said)
    })
    .await;
    let world = tier
        .world_with(&upstream, safe(), |snapshot| {
            snapshot.settings.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        })
        .await;
    for (said, body) in [
        ("X-Forwarded-Host: one.example\r\n", "one.example   "),
        ("X-Forwarded-Host: two.example\r\n", "two.example   "),
        (
            "X-Forwarded-Host: two.example\r\nX-Forwarded-Port: 8443\r\n",
            "two.example 8443  ",
        ),
        (
            "X-Forwarded-Host: two.example\r\nX-Forwarded-Prefix: /b\r\n",
            "two.example  /b ",
        ),
        (
            "Forwarded: host=three.example\r\n",
            "app.example   host=three.example",
        ),
        ("", "app.example   "),
    ] {
        for _ in 0..2 {
            assert_eq!(world.ask(&get("/", said)).await.text(), body);
        }
    }
}

/// One body in two languages, and only one answer belongs to the group.
async fn what_was_purged_for_good_is_not_renewed_by_a_tag_that_another_has(tier: Tier) {
    let (upstream, _asked) = origin(|count, request| {
        let language = request.header("accept-language");
        let lines = "ETag: \"a\"\r\nVary: Accept-Language\r\nCache-Control: max-age=";
        match (count, language.as_str()) {
            _ if request.start.starts_with("POST") => ok("Cache-Group-Invalidation: \"news\"\r\n", ""),
            (1 | 2, "de") => ok(&format!("{lines}60\r\nCache-Groups: \"news\"\r\n"), "old"),
            (1 | 2, _) => ok(&format!("{lines}0\r\n"), "old"),
            (_, "en") => answer("304 Not Modified", &format!("{lines}60\r\n"), ""),
            _ => ok(&format!("{lines}60\r\n"), "new"),
        }
    })
    .await;
    let world = tier.world(&upstream, rfc()).await;
    let speaks = |language: &str| get("/", &format!("Accept-Language: {language}\r\n"));
    for language in ["de", "en"] {
        assert_eq!(world.ask(&speaks(language)).await.text(), "old");
    }
    world.ask(&post("/write", "x")).await;
    let english = world.ask(&speaks("en")).await.text();
    assert_eq!(english, "old", "it is not of the group, and good again");
    assert_eq!(world.ask(&speaks("de")).await.text(), "new");
}

/// RFC 9110 §12.5.3: `deflate` is none of those that all are compared by.
async fn a_coding_that_only_one_client_understands_is_not_given_to_others(tier: Tier) {
    let (upstream, _asked) = origin(|_, request| {
        let lines = "Cache-Control: max-age=60\r\nVary: Accept-Encoding\r\n";
        match request.header("accept-encoding").contains("deflate") {
            true => ok(&format!("{lines}Content-Encoding: deflate\r\n"), "squeezed"),
            false => ok(lines, "plain"),
        }
    })
    .await;
    let world = tier.world(&upstream, safe()).await;
    for (accepts, body) in [
        ("gzip, deflate", "squeezed"),
        ("gzip", "plain"),
        ("gzip", "plain"),
    ] {
        let asked = format!("Accept-Encoding: {accepts}\r\n");
        assert_eq!(world.ask(&get("/", &asked)).await.text(), body, "{accepts}");
    }
}
