//! What the standards require of every cache, asked of the edge as an outside suite would: an answer, then the same request
//! again, and what the origin heard of it.

use std::collections::HashSet;

use banyan_config::Cache;
use banyan_testkit::upstream::Message;

use super::both::{Cached, Tier, both};
use super::{answer, get, ok, origin, rfc, safe, said};

both!(
    statuses_are_kept_by_what_is_said_and_reused_while_fresh,
    statuses_that_say_nothing_are_kept_where_the_standard_allows_a_guess,
    vary_with_a_star_in_any_place_is_never_reused,
    ages_that_cannot_be_read_are_none,
    fields_of_one_connection_are_not_stored_and_all_others_are,
    a_304_updates_every_field_but_those_excepted,
    a_304_that_makes_a_file_a_page_ends_its_rule_for_files,
    a_head_updates_the_stored_get,
    every_unsafe_method_invalidates_and_a_failed_one_does_not,
    requests_are_heard_by_the_rfc_profile,
    an_answer_to_post_is_never_reused,
    a_part_without_a_validator_answers_what_lies_in_it,
    times_are_read_as_they_are_written_and_doubt_is_stale,
    a_field_for_caches_that_cannot_be_read_is_none,
);

/// Asks for each row's path twice, and tells for which the origin was not asked again. `more`: of the second request.
async fn reused(
    tier: Tier,
    cache: Cache,
    rows: &[(&'static str, String)],
    more: &str,
) -> HashSet<&'static str> {
    let answers: Vec<String> = rows.iter().map(|(_, answer)| answer.clone()).collect();
    let (upstream, asked) = origin(move |_, request: &Message| {
        let n: usize = request.target().trim_start_matches('/').parse().unwrap();
        answers[n].clone()
    })
    .await;
    let world = tier.world(&upstream, cache).await;
    all(&world, rows.len(), "").await;
    let before = asked.count();
    all(&world, rows.len(), more).await;
    let again: HashSet<String> = asked.all()[before..]
        .iter()
        .map(|request| request.target().to_owned())
        .collect();
    let names = rows.iter().enumerate();
    names
        .filter(|(n, _)| !again.contains(&format!("/{n}")))
        .map(|(_, (name, _))| *name)
        .collect()
}

async fn all(world: &Cached, count: usize, more: &str) {
    let mut client = world.client().await;
    for n in 0..count {
        client.send(get(&format!("/{n}"), more)).await;
        client.message().await.expect("an answer");
    }
}

fn names(rows: &[(&'static str, String)]) -> HashSet<&'static str> {
    rows.iter().map(|(name, _)| *name).collect()
}

const STATUSES: [&str; 21] = [
    "200 OK",
    "203 Non-Authoritative Information",
    "204 No Content",
    "299 Whatever",
    "300 Multiple Choices",
    "301 Moved Permanently",
    "302 Found",
    "303 See Other",
    "307 Temporary Redirect",
    "308 Permanent Redirect",
    "400 Bad Request",
    "403 Forbidden",
    "404 Not Found",
    "410 Gone",
    "414 URI Too Long",
    "499 Whatever",
    "500 Internal Server Error",
    "502 Bad Gateway",
    "503 Service Unavailable",
    "504 Gateway Timeout",
    "599 Whatever",
];

/// An answer of this status, with a body where it may have one.
fn of_status(status: &str, lines: &str) -> String {
    if status.starts_with("204") {
        return format!("HTTP/1.1 {status}\r\n{lines}\r\n");
    }
    answer(status, lines, "body")
}

/// RFC 9111 §3, §4.2: with a stated lifetime every final status.
async fn statuses_are_kept_by_what_is_said_and_reused_while_fresh(tier: Tier) {
    let fresh = STATUSES.map(|status| (status, of_status(status, "Cache-Control: max-age=3600\r\n")));
    assert_eq!(reused(tier, rfc(), &fresh, "").await, names(&fresh));
    let lines = "Cache-Control: max-age=3600, must-revalidate\r\nAge: 7200\r\n";
    let stale = STATUSES.map(|status| (status, of_status(status, lines)));
    assert_eq!(reused(tier, rfc(), &stale, "").await, HashSet::new());
}

/// RFC 9111 §4.2.2; RFC 9110 §15.1.
async fn statuses_that_say_nothing_are_kept_where_the_standard_allows_a_guess(tier: Tier) {
    let date = "Last-Modified: Tue, 01 Jan 2019 00:00:00 GMT\r\n";
    let mut rows = STATUSES.map(|status| (status, of_status(status, date))).to_vec();
    rows.push((
        "599 public",
        of_status("599 X", &format!("{date}Cache-Control: public\r\n")),
    ));
    rows.push(("200 without a date", of_status("200 OK", "")));
    let kept = reused(tier, rfc(), &rows, "").await;
    let mut kept: Vec<_> = kept.iter().map(|name| name.split(' ').next().unwrap()).collect();
    kept.sort_unstable();
    assert_eq!(
        kept,
        [
            "200", "203", "204", "300", "301", "308", "404", "410", "414", "599"
        ]
    );
}

/// RFC 9111 §4.1.
async fn vary_with_a_star_in_any_place_is_never_reused(tier: Tier) {
    let stars = ["*", "*, *", ", *", "*, Foo", "Foo, *", "Foo\r\nVary: *"];
    let row = |vary: &'static str| {
        (
            vary,
            ok(&format!("Cache-Control: max-age=3600\r\nVary: {vary}\r\n"), "x"),
        )
    };
    let mut rows: Vec<_> = stars.map(row).to_vec();
    rows.extend(["Foo", ",", "foo, FOO"].map(row));
    assert_eq!(
        reused(tier, rfc(), &rows, "").await,
        HashSet::from(["Foo", ",", "foo, FOO"])
    );
}

/// Rows of fields, by those of which a second request is answered without the origin.
async fn assert_reused(tier: Tier, rows: &[(&'static str, bool)]) {
    let answers: Vec<_> = rows
        .iter()
        .map(|(lines, _)| (*lines, ok(&format!("{lines}\r\n"), "x")))
        .collect();
    let expected = rows.iter().filter(|(_, fresh)| *fresh);
    let expected: HashSet<_> = expected.map(|(lines, _)| *lines).collect();
    assert_eq!(reused(tier, rfc(), &answers, "").await, expected);
}

/// RFC 9111 §4.2.1, §5.2, §5.3; RFC 9110 §5.6.7.
async fn times_are_read_as_they_are_written_and_doubt_is_stale(tier: Tier) {
    let rows = [
        ("Cache-Control: MAX-AGE=3600", true),
        ("Cache-Control: max-age=\"3600\"", true),
        ("Cache-Control: max-age=0003600", true),
        ("Cache-Control: max-age=99999999999", true),
        ("Cache-Control: a=\"b, max-age=0, c\", max-age=3600", true),
        ("Cache-Control: a=\"b, max-age=3600, c\", max-age=0", false),
        ("Cache-Control: foo\r\nCache-Control: max-age=3600", true),
        ("Cache-Control: max-age=3600.0", false),
        ("Cache-Control: max-age=-3600", false),
        ("Cache-Control: s-maxage=3600, max-age=0", true),
        ("Cache-Control: s-maxage=0, max-age=3600", false),
        (
            "Cache-Control: max-age=0\r\nExpires: Thu, 01 Jan 2099 00:00:00 GMT",
            false,
        ),
        ("Cache-Control: max-age=3600\r\nExpires: 0", true),
        ("Expires: Thu, 01 Jan 2099 00:00:00 GMT", true),
        ("Expires: thu, 01 jan 2099 00:00:00 gmt", true),
        ("Expires: Thu Jan  1 00:00:00 2099", true),
        ("Expires: Thu, 01 Jan 2099 00:00:00 UTC", false),
        ("Expires: Thu, 01 Jan 2099 0:00:00 GMT", false),
        ("Expires: Thu, 01 Jan 2099", false),
        ("Expires: 0", false),
    ];
    assert_reused(tier, &rows).await;
}

/// RFC 9213 §2.1, §2.2.
async fn a_field_for_caches_that_cannot_be_read_is_none(tier: Tier) {
    let rows = [
        ("CDN-Cache-Control: max-age=3600\r\nCache-Control: no-store", true),
        (
            "CDN-Cache-Control: max-age=3600;foo=bar\r\nCache-Control: max-age=0",
            true,
        ),
        ("CDN-Cache-Control: max-age=3600\r\nExpires: 0", true),
        (
            "CDN-Cache-Control: max-age=0\r\nCache-Control: max-age=3600",
            false,
        ),
        (
            "CDN-Cache-Control: no-store\r\nCache-Control: max-age=3600",
            false,
        ),
        ("CDN-Cache-Control: private\r\nCache-Control: max-age=3600", false),
        ("CDN-Cache-Control: &&&\r\nCache-Control: max-age=3600", true),
        (
            "CDN-Cache-Control: max-age=\"3600\"\r\nCache-Control: max-age=0",
            false,
        ),
        (
            "CDN-Cache-Control: MAX-AGE=3600\r\nCache-Control: max-age=0",
            false,
        ),
        (
            "CDN-Cache-Control: max-age=0, max-age=3600\r\nCache-Control: no-store",
            true,
        ),
    ];
    assert_reused(tier, &rows).await;
}

/// RFC 9111 §5.1: the first member counts; what is no number is ignored.
async fn ages_that_cannot_be_read_are_none(tier: Tier) {
    let row = |age: &'static str| {
        (
            age,
            ok(&format!("Cache-Control: max-age=3600\r\nAge: {age}\r\n"), "x"),
        )
    };
    let rows = [
        "7200",
        "7200, 0",
        "7200\r\nAge: 0",
        "0, 7200",
        "abc",
        "-7200",
        "7200.0",
        "0\r\nAge: 7200",
    ]
    .map(row);
    let young = HashSet::from(["0, 7200", "abc", "-7200", "7200.0", "0\r\nAge: 7200"]);
    assert_eq!(reused(tier, rfc(), &rows, "").await, young);
}

/// RFC 9111 §3.1.
async fn fields_of_one_connection_are_not_stored_and_all_others_are(tier: Tier) {
    const STORED: [&str; 9] = [
        "test-header: a",
        "content-foo: b",
        "clear-site-data: \"cookies\"",
        "content-security-policy: default-src 'self'",
        "public-key-pins: x",
        "set-cookie: a=b",
        "strict-transport-security: max-age=1",
        "www-authenticate: Basic",
        "x-frame-options: deny",
    ];
    const NOT: [&str; 8] = [
        "connection: hop",
        "hop: 1",
        "keep-alive: timeout=5",
        "proxy-authenticate: Basic",
        "proxy-authentication-info: x",
        "proxy-authorization: x",
        "proxy-connection: keep-alive",
        "te: trailers",
    ];
    let (upstream, asked) = origin(|_, _| {
        let lines: String = STORED
            .iter()
            .chain(&NOT)
            .map(|line| format!("{line}\r\n"))
            .collect();
        ok(&format!("Cache-Control: max-age=3600\r\n{lines}"), "x")
    })
    .await;
    let world = tier.world(&upstream, rfc()).await;
    world.get("/").await;
    let stored = world.get("/").await;
    let field = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (stored.header(name), value.to_owned())
    };
    for (found, sent) in STORED.map(field) {
        assert_eq!(found, sent);
    }
    for line in NOT {
        let (found, sent) = field(line);
        assert_ne!(found, sent, "{line}");
    }
    assert_eq!(asked.count(), 1);
}

/// RFC 9111 §3.2, §4.3.4: in the answer that was validated, and in the next one from the store.
async fn a_304_updates_every_field_but_those_excepted(tier: Tier) {
    const FIELDS: [(&str, &str, &str); 9] = [
        ("test-header", "a", "b"),
        ("content-type", "text/plain", "text/plain;charset=utf-8"),
        ("content-encoding", "x-one", "x-two"),
        ("content-location", "/foo", "/bar"),
        (
            "content-md5",
            "rL0Y20zC+Fzt72VPzMSk2A==",
            "N7UdGUp1E+RbVvZSTy1R8g==",
        ),
        (
            "content-security-policy",
            "default-src 'self'",
            "default-src 'none'",
        ),
        (
            "expires",
            "Fri, 01 Jan 2038 01:01:01 GMT",
            "Mon, 11 Jan 2038 11:11:11 GMT",
        ),
        ("set-cookie", "a=b", "a=c"),
        ("x-frame-options", "deny", "sameorigin"),
    ];
    let validators = [
        "ETag: \"a\"\r\n",
        "Last-Modified: Tue, 01 Jan 2019 00:00:00 GMT\r\n",
    ];
    for validator in validators {
        let (upstream, asked) = origin(move |n, _| {
            let line = |(name, old, new): &(&str, &str, &str)| {
                format!("{name}: {}\r\n", if n == 1 { old } else { new })
            };
            let lines: String = FIELDS.iter().map(line).collect();
            if n == 1 {
                return ok(
                    &format!("{lines}{validator}Cache-Control: max-age=1\r\nAge: 5\r\n"),
                    "hello",
                );
            }
            let excepted = "Content-Range: bytes 0-1/9\r\nConnection: hop\r\nHop: 1\r\n";
            format!("HTTP/1.1 304 X\r\n{lines}{validator}{excepted}Cache-Control: max-age=3600\r\n\r\n")
        })
        .await;
        let world = tier.world(&upstream, rfc()).await;
        world.get("/").await;
        for how in ["fwd=stale; fwd-status=304", "hit"] {
            let got = world.get("/").await;
            assert!(said(&got).starts_with(how), "{}", said(&got));
            for (name, _, new) in FIELDS {
                assert_eq!(got.header(name), new, "{name} of {how}");
            }
            assert_eq!(
                (got.text().as_str(), got.header("content-length").as_str()),
                ("hello", "5")
            );
            assert_eq!(
                (got.header("content-range"), got.header("hop")),
                (String::new(), String::new())
            );
        }
        assert_eq!(asked.count(), 2, "{validator}");
    }
}

/// RFC 9111 §3.2, §7.1: rules for files are about what they are now.
async fn a_304_that_makes_a_file_a_page_ends_its_rule_for_files(tier: Tier) {
    let (upstream, _asked) = origin(|n, _| match n {
        1 => ok(
            "ETag: \"a\"\r\nContent-Type: text/css\r\nCache-Control: no-cache\r\n",
            "x",
        ),
        _ => "HTTP/1.1 304 X\r\nETag: \"a\"\r\nContent-Type: text/html\r\nCache-Control: no-cache\r\n\r\n"
            .to_owned(),
    })
    .await;
    let ruled = Cache {
        rules: vec![banyan_config::CacheRule {
            class: Some(banyan_config::CacheClass::Versioned),
            ..super::rule("/*.css")
        }],
        ..safe()
    };
    let world = tier.world(&upstream, ruled).await;
    let first = world.get("/app.1234abcd.css").await;
    assert!(first.header("cache-control").contains("immutable"), "{first:?}");
    assert_eq!(
        world.get("/app.1234abcd.css").await.header("cache-control"),
        "no-cache"
    );
}

/// RFC 9111 §4.3.5.
async fn a_head_updates_the_stored_get(tier: Tier) {
    let (upstream, asked) = origin(|n, request| {
        let lines = format!("ETag: \"a\"\r\nTemplate: {n}\r\n");
        if request.start.starts_with("HEAD") {
            return format!(
                "HTTP/1.1 200 OK\r\n{lines}Cache-Control: max-age=1000\r\nContent-Length: 4\r\n\r\n"
            );
        }
        ok(
            &format!("{lines}Cache-Control: max-age=1\r\nAge: 5\r\nKeep: 1\r\n"),
            "body",
        )
    })
    .await;
    let world = tier.world(&upstream, rfc()).await;
    world.get("/").await;
    let mut client = world.client().await;
    client.send(get("/", "").replace("GET", "HEAD")).await;
    assert_eq!(client.head().await.unwrap().header("template"), "2");
    let stored = world.get("/").await;
    assert!(said(&stored).starts_with("hit"), "{}", said(&stored));
    assert_eq!(
        (stored.header("template"), stored.header("keep"), stored.text()),
        ("2".to_owned(), "1".to_owned(), "body".to_owned())
    );
    assert_eq!(asked.count(), 2);
}

/// RFC 9111 §4.4: unknown methods count as unsafe.
async fn every_unsafe_method_invalidates_and_a_failed_one_does_not(tier: Tier) {
    let (upstream, _asked) = origin(|n, request| {
        let reads = request.start.starts_with("GET");
        match request.target().contains("failing") && !reads {
            true => answer("500 Oops", "", ""),
            false => ok("Cache-Control: max-age=3600\r\n", &n.to_string()),
        }
    })
    .await;
    let world = tier.world(&upstream, rfc()).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "FOO"] {
        for (path, second) in [(format!("/{method}"), "3"), (format!("/failing/{method}"), "1")] {
            assert_eq!(world.get(&path).await.text(), "1");
            world
                .ask(&format!(
                    "{method} {path} HTTP/1.1\r\nHost: app.example\r\nContent-Length: 3\r\n\r\nabc"
                ))
                .await;
            assert_eq!(world.get(&path).await.text(), second, "{path}");
        }
    }
}

/// RFC 9111 §5.2.1, §5.4.
async fn requests_are_heard_by_the_rfc_profile(tier: Tier) {
    let fresh = ok("Cache-Control: max-age=3600\r\nAge: 1000\r\n", "x");
    let stale = ok("Cache-Control: max-age=3600\r\nAge: 4000\r\n", "x");
    let tagged = ok("Cache-Control: max-age=3600\r\nAge: 1000\r\nETag: \"a\"\r\n", "x");
    let rows = [("fresh", fresh), ("stale", stale), ("tagged", tagged)];
    let (all_fresh, with_stale) = (
        ["fresh", "tagged"].as_slice(),
        ["fresh", "stale", "tagged"].as_slice(),
    );
    for (field, kept) in [
        ("", all_fresh),
        ("Cache-Control: max-age=2000", all_fresh),
        ("Cache-Control: max-age=1", &[]),
        ("Cache-Control: max-age=1, max-stale=10000", with_stale),
        ("Cache-Control: max-stale=10000", with_stale),
        ("Cache-Control: max-stale", with_stale),
        ("Cache-Control: max-stale=10", all_fresh),
        ("Cache-Control: min-fresh=100", all_fresh),
        ("Cache-Control: min-fresh=3000", &[]),
        ("Cache-Control: no-cache", &[]),
        ("Pragma: no-cache", &[]),
        ("Pragma: unknown", all_fresh),
        ("Cache-Control: only-if-cached", with_stale),
    ] {
        let line = if field.is_empty() {
            String::new()
        } else {
            format!("{field}\r\n")
        };
        let found = reused(tier, rfc(), &rows, &line).await;
        assert_eq!(found, kept.iter().copied().collect(), "{field}");
    }
}

/// RFC 9110 §9.3.3: a cache may leave it be.
async fn an_answer_to_post_is_never_reused(tier: Tier) {
    let (upstream, asked) = origin(|n, _| {
        ok(
            "Cache-Control: max-age=3600\r\nContent-Location: /\r\n",
            &n.to_string(),
        )
    })
    .await;
    let world = tier.world(&upstream, rfc()).await;
    for count in 1..=2 {
        let post = "POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 1\r\n\r\nx";
        assert_eq!(world.ask(post).await.text(), count.to_string());
    }
    assert_eq!(world.get("/").await.text(), "3");
    assert_eq!(asked.count(), 3);
}

/// RFC 9111 §3.3: and nothing else.
async fn a_part_without_a_validator_answers_what_lies_in_it(tier: Tier) {
    let (upstream, asked) = origin(|_, request| match request.header("range").as_str() {
        "" => ok("Cache-Control: max-age=3600\r\n", "0123456789"),
        _ => answer(
            "206 X",
            "Cache-Control: max-age=3600\r\nContent-Range: bytes 5-9/10\r\n",
            "56789",
        ),
    })
    .await;
    let world = tier.world(&upstream, rfc()).await;
    let part = async |range: &str| {
        let got = world.ask(&get("/", &format!("Range: bytes={range}\r\n"))).await;
        (got.status(), got.text(), asked.count())
    };
    for (range, text) in [
        ("-5", "56789"),
        ("-5", "56789"),
        ("6-8", "678"),
        ("6-", "6789"),
        ("-1", "9"),
    ] {
        assert_eq!(part(range).await, (206, text.to_owned(), 1), "{range}");
    }
    assert_eq!(world.get("/").await.text(), "0123456789");
    assert_eq!(asked.count(), 2);
}
