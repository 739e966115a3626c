//! RFC 9111 §3: storing responses.

use banyan_httpcache::{Policy, SetCookie};

use crate::world::{answer_to, head, kept, rfc, stored_as, verdict};

fn check(policy: &Policy, table: &[(u16, &str, &str, &str)]) {
    for (status, request, response, wanted) in table {
        let found = verdict(&answer_to(policy, request, *status, response));
        assert_eq!(found, *wanted, "{status} / {request} / {response}");
    }
}

#[test]
fn section_3_says_what_may_be_stored() {
    check(
        &rfc(),
        &[
            (200, "", "Cache-Control: max-age=60", "stored"),
            (200, "", "Cache-Control: s-maxage=60", "stored"),
            (200, "", "Expires: Sat, 21 Nov 2026 13:00:00 GMT", "stored"),
            (200, "", "Cache-Control: public\nETag: \"a\"", "stored"),
            (200, "", "ETag: \"a\"", "stored"),
            (200, "", "", "no-lifetime"),
            (200, "", "Cache-Control: no-store, max-age=60", "no-store"),
            (200, "", "Cache-Control: No-Store, max-age=60", "no-store"),
            (200, "", "Cache-Control: private, max-age=60", "private"),
            (200, "", "Cache-Control: private=\"x-a\", max-age=60", "stored"),
            (200, "", "Cache-Control: private=\"\", max-age=60", "private"),
            (
                200,
                "Cache-Control: no-store",
                "Cache-Control: max-age=60",
                "request-no-store",
            ),
            (200, "", "Cache-Control: max-age=60\nVary: *", "vary-any"),
            (200, "", "Cache-Control: max-age=60\nVary: a, *", "vary-any"),
            (
                200,
                "",
                "Cache-Control: extension=\"no-store\", max-age=60",
                "stored",
            ),
            (
                200,
                "",
                "Cache-Control: x=\"a, no-store, b\", max-age=60",
                "stored",
            ),
        ],
    );
}

#[test]
fn section_3_any_final_status_with_explicit_freshness_is_stored() {
    let explicit = "Cache-Control: max-age=60";
    for status in [
        200, 201, 202, 204, 299, 302, 307, 400, 403, 404, 410, 418, 499, 500, 503, 599,
    ] {
        assert_eq!(
            verdict(&stored_as(&rfc(), status, explicit)),
            "stored",
            "{status}"
        );
    }
    assert_eq!(verdict(&stored_as(&rfc(), 304, explicit)), "status");
}

#[test]
fn what_is_wrong_with_one_request_is_never_stored() {
    for status in [407, 408, 411, 412, 413, 416, 417, 425, 426, 428, 429, 431, 511] {
        let admit = stored_as(&rfc(), status, "Cache-Control: public, max-age=60");
        assert_eq!(verdict(&admit), "status", "{status}");
    }
}

#[test]
fn codings_that_requests_are_not_told_apart_by_are_not_stored_where_they_vary() {
    let varies = "Cache-Control: max-age=60\nVary: Accept-Encoding\nContent-Encoding: ";
    for (coding, wanted) in [
        ("gzip", "stored"),
        ("X-GZIP", "stored"),
        ("br, zstd", "stored"),
        ("identity", "stored"),
        ("deflate", "coding"),
        ("gzip, aes128gcm", "coding"),
    ] {
        let admit = stored_as(&rfc(), 200, &format!("{varies}{coding}"));
        assert_eq!(verdict(&admit), wanted, "{coding}");
    }
    let alone = stored_as(
        &rfc(),
        200,
        "Cache-Control: max-age=60\nContent-Encoding: deflate",
    );
    assert_eq!(verdict(&alone), "stored");
}

#[test]
fn with_a_cookie_silence_is_no_permission() {
    let old = "Content-Type: image/png\nLast-Modified: Sat, 01 Jan 2022 00:00:00 GMT\nETag: \"a\"\n";
    for (lines, wanted) in [
        ("", "cookie"),
        ("Cache-Control: max-age=0", "cookie"),
        ("Expires: 0", "cookie"),
        ("Cache-Control: must-revalidate", "cookie"),
        ("Cache-Control: max-age=0, must-revalidate", "stored"),
        ("Cache-Control: max-age=0, stale-while-revalidate=9", "stored"),
        ("Cache-Control: no-cache", "stored"),
        ("Cache-Control: public", "stored"),
        ("Cache-Control: max-age=60", "stored"),
        ("CDN-Cache-Control: max-age=60", "stored"),
    ] {
        let response = format!("{old}{lines}");
        for (policy, wanted) in [(Policy::default(), wanted), (rfc(), "stored")] {
            let admit = answer_to(&policy, "Cookie: a=1", 200, &response);
            assert_eq!(verdict(&admit), wanted, "{lines}");
            assert_eq!(verdict(&stored_as(&policy, 200, &response)), "stored");
        }
    }
    let ruled = Policy {
        ttl: Some(std::time::Duration::from_secs(60)),
        ..Policy::default()
    };
    assert_eq!(verdict(&answer_to(&ruled, "Cookie: a=1", 200, "")), "stored");
    assert_eq!(verdict(&answer_to(&ruled, "Cookie: a=1", 404, "")), "cookie");
}

#[test]
fn rfc_9110_section_15_1_some_statuses_need_no_explicit_freshness() {
    let changed = "Last-Modified: Sat, 21 Nov 2026 02:00:00 GMT";
    let heuristic = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];
    for status in [
        200, 201, 202, 203, 204, 300, 301, 302, 303, 307, 308, 400, 404, 405, 410, 414, 500, 501, 503,
    ] {
        let wanted = if heuristic.contains(&status) {
            "stored"
        } else {
            "status"
        };
        assert_eq!(verdict(&stored_as(&rfc(), status, changed)), wanted, "{status}");
    }
}

#[test]
fn section_3_5_authorized_responses_need_permission() {
    let request = "Authorization: Basic eDp5";
    check(
        &rfc(),
        &[
            (200, request, "Cache-Control: max-age=60", "authorization"),
            (200, request, "Cache-Control: max-age=60, public", "stored"),
            (200, request, "Cache-Control: s-maxage=60", "stored"),
            (
                200,
                request,
                "Cache-Control: max-age=60, must-revalidate",
                "stored",
            ),
            (
                200,
                request,
                "Cache-Control: max-age=60, proxy-revalidate",
                "authorization",
            ),
        ],
    );
}

#[test]
fn section_5_2_2_3_must_understand_overrides_no_store_for_understood_statuses() {
    let response = "Cache-Control: must-understand, no-store, max-age=60";
    check(
        &rfc(),
        &[
            (200, "", response, "stored"),
            (404, "", response, "stored"),
            (599, "", response, "not-understood"),
            (
                418,
                "",
                "Cache-Control: must-understand, max-age=60",
                "not-understood",
            ),
        ],
    );
}

#[test]
fn section_3_1_connection_fields_are_not_kept_and_unknown_ones_are() {
    let head = head(
        &rfc(),
        "Cache-Control: max-age=60, private=\"x-mine\", no-cache=\"x-fresh\"
         Connection: close, x-hop
         X-Hop: 1
         Keep-Alive: timeout=5
         TE: trailers
         Proxy-Authenticate: Basic
         Proxy-Authentication-Info: x
         Upgrade: h2c
         X-Mine: 1
         X-Fresh: 1
         Two: a
         Two: b",
    );
    let mut names: Vec<&str> = head.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["cache-control", "date", "two"]);
    assert_eq!(head.headers.get_all("two").iter().count(), 2);
}

#[test]
fn a_connection_field_cannot_take_away_what_storing_rests_on() {
    let head = head(
        &rfc(),
        "Cache-Control: max-age=60\nVary: Accept\nConnection: cache-control, vary",
    );
    assert!(head.headers.contains_key("vary") && head.headers.contains_key("cache-control"));
}

#[test]
fn rfc_9110_section_6_6_1_a_missing_date_is_added_and_the_origins_is_kept() {
    let without = head(&rfc(), "Cache-Control: max-age=60");
    assert_eq!(without.headers["date"], "Sat, 21 Nov 2026 12:00:00 GMT");
    let with = head(
        &rfc(),
        "Cache-Control: max-age=60\nDate: Sat, 21 Nov 2026 11:59:59 GMT",
    );
    assert_eq!(with.headers["date"], "Sat, 21 Nov 2026 11:59:59 GMT");
}

#[test]
fn the_safe_profile_stores_no_cookie_and_guesses_for_assets_only() {
    let changed = "Last-Modified: Sat, 21 Nov 2026 02:00:00 GMT";
    let page = format!("Content-Type: text/html\n{changed}");
    let asset = format!("Content-Type: image/png; x=y\n{changed}");
    let safe = Policy::default();
    check(
        &safe,
        &[
            (
                200,
                "",
                "Cache-Control: max-age=60\nSet-Cookie: a=b",
                "set-cookie",
            ),
            (
                200,
                "",
                "Cache-Control: max-age=60, no-cache=\"Set-Cookie\"\nSet-Cookie: a=b",
                "stored",
            ),
        ],
    );
    assert!(kept(stored_as(&safe, 200, &page)).lifetime.is_zero());
    assert!(!kept(stored_as(&safe, 200, &asset)).lifetime.is_zero());
    assert_eq!(kept(stored_as(&safe, 404, "")).lifetime.as_secs(), 10);
    let strip = Policy {
        set_cookie: SetCookie::Strip,
        ..safe
    };
    let kept = kept(stored_as(
        &strip,
        200,
        "Cache-Control: max-age=60\nSet-Cookie: a=b",
    ));
    assert!(!kept.headers.contains_key("set-cookie"));
}
