//! RFC 9111 §4, §5.2.1 and RFC 5861: when a stored response answers.

use std::time::Duration;

use banyan_httpcache::{
    Answer, Failure, Lookup, OnError, Policy, Receiver, Standing, Stored, lookup, on_error,
};
use http::{HeaderMap, Method, StatusCode};

use crate::world::{ask, at, get, head, rfc, sound, word};

fn table(policy: &Policy, response: &str, rows: &[(&str, u64, &str)]) {
    let stored = [head(policy, response)];
    for (request, seconds, wanted) in rows {
        assert_eq!(
            word(&get(policy, &stored, request, *seconds)),
            *wanted,
            "{response} / {request} / {seconds} s"
        );
    }
}

#[test]
fn section_4_nothing_stored_goes_to_the_origin() {
    assert_eq!(word(&get(&rfc(), &[], "", 0)), "miss: absent");
    assert_eq!(word(&get(&rfc(), &[], "Cache-Control: only-if-cached", 0)), "504");
}

#[test]
fn section_5_2_2_4_no_cache_is_validated_every_time() {
    table(
        &rfc(),
        "Cache-Control: no-cache, max-age=60\nETag: \"a\"",
        &[("", 1, "validate 0: no-cache")],
    );
    table(
        &rfc(),
        "Cache-Control: no-cache=\"x\", max-age=60\nETag: \"a\"",
        &[("", 1, "hit 0")],
    );
}

#[test]
fn section_5_2_1_request_directives_are_honoured_under_rfc() {
    table(
        &rfc(),
        "Cache-Control: max-age=60\nETag: \"a\"",
        &[
            ("Cache-Control: no-cache", 1, "validate 0: request-no-cache"),
            ("Pragma: no-cache", 1, "validate 0: request-no-cache"),
            ("Pragma: no-cache\nCache-Control: max-age=600", 1, "hit 0"),
            ("Cache-Control: max-age=5", 5, "hit 0"),
            ("Cache-Control: max-age=5", 6, "validate 0: request-max-age"),
            ("Cache-Control: max-age=0", 1, "validate 0: request-max-age"),
            ("Cache-Control: min-fresh=30", 30, "hit 0"),
            ("Cache-Control: min-fresh=30", 31, "validate 0: request-min-fresh"),
            ("Cache-Control: max-stale", 4000, "stale 0 none"),
            ("Cache-Control: max-stale=10", 70, "stale 0 none"),
            ("Cache-Control: max-stale=10", 71, "validate 0: expired"),
            ("Cache-Control: only-if-cached", 1, "hit 0"),
            ("Cache-Control: only-if-cached", 61, "504"),
        ],
    );
}

#[test]
fn the_safe_profile_does_not_let_a_reload_reach_the_origin() {
    table(
        &Policy::default(),
        "Cache-Control: max-age=60\nETag: \"a\"",
        &[
            ("Cache-Control: no-cache", 1, "hit 0"),
            ("Cache-Control: max-age=0", 1, "hit 0"),
            ("Pragma: no-cache", 1, "hit 0"),
        ],
    );
}

#[test]
fn section_4_2_4_some_directives_forbid_stale_use() {
    for forbidding in ["must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"] {
        let response =
            format!("Cache-Control: max-age=60, stale-while-revalidate=600, {forbidding}\nETag: \"a\"");
        let stored = head(&rfc(), &response);
        let lookup = get(
            &rfc(),
            std::slice::from_ref(&stored),
            "Cache-Control: max-stale",
            70,
        );
        assert!(
            matches!(lookup, Lookup::Validate { .. }),
            "{forbidding}: {lookup:?}"
        );
        assert_eq!(
            on_error(sound(&stored), Failure::Unreachable, at(70)),
            OnError::Fail,
            "{forbidding}"
        );
    }
}

#[test]
fn rfc_5861_section_3_stale_while_revalidate_answers_at_once_within_its_window() {
    table(
        &Policy::default(),
        "Cache-Control: max-age=60, stale-while-revalidate=30\nETag: \"a\"",
        &[
            ("", 59, "hit 0"),
            ("", 60, "stale 0 background"),
            ("", 89, "stale 0 background"),
            ("", 90, "validate 0: expired"),
        ],
    );
}

#[test]
fn rfc_5861_section_4_stale_if_error_stands_in_for_a_failing_origin() {
    let stated = head(
        &rfc(),
        "Cache-Control: max-age=60, stale-if-error=30\nETag: \"a\"",
    );
    let silent = head(&rfc(), "Cache-Control: max-age=60\nETag: \"a\"");
    let status = |code| Failure::Status(StatusCode::from_u16(code).unwrap());
    let rows = [
        (&stated, status(500), 89, OnError::ServeStale),
        (&stated, status(500), 90, OnError::Fail),
        (&stated, status(503), 70, OnError::ServeStale),
        (&stated, status(404), 70, OnError::Fail),
        (&stated, status(501), 70, OnError::Fail),
        (&stated, Failure::Unreachable, 70, OnError::ServeStale),
        (&silent, Failure::Unreachable, 60 + 3599, OnError::ServeStale),
        (&silent, Failure::Unreachable, 60 + 3600, OnError::Fail),
    ];
    for (stored, failure, seconds, wanted) in rows {
        assert_eq!(
            on_error(sound(stored), failure, at(seconds)),
            wanted,
            "{failure:?} {seconds}"
        );
    }
}

#[test]
fn section_4_methods_other_than_get_and_head_are_written_through() {
    let stored = [head(&rfc(), "Cache-Control: max-age=60")];
    for method in [
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::from_bytes(b"FOO").unwrap(),
    ] {
        assert_eq!(
            word(&ask(&rfc(), &method, &stored, "", 1)),
            "bypass: method",
            "{method}"
        );
    }
    assert_eq!(word(&ask(&rfc(), &Method::HEAD, &stored, "", 1)), "hit 0");
}

#[test]
fn soft_purge_lets_others_have_the_old_copy_while_one_validates() {
    let stored = head(&rfc(), "Cache-Control: max-age=600\nETag: \"a\"");
    let strict = head(&rfc(), "Cache-Control: max-age=600, must-revalidate\nETag: \"a\"");
    let verdict = |head, standing, seconds| {
        let headers = HeaderMap::new();
        let one = Stored {
            head,
            standing,
            length: 10,
        };
        let asked = banyan_httpcache::Asked {
            method: &Method::GET,
            headers: &headers,
        };
        word(&lookup(asked, &[one], &rfc(), at(seconds)))
    };
    let soft = Standing::SoftlyPurged(at(100));
    assert_eq!(verdict(&stored, soft, 110), "stale 0 background");
    assert_eq!(verdict(&stored, soft, 130), "validate 0: purged");
    assert_eq!(verdict(&strict, soft, 110), "validate 0: purged");
    assert_eq!(verdict(&stored, Standing::Purged, 110), "miss: purged");
}

#[test]
fn section_5_1_age_is_set_on_every_reuse_and_browsers_get_their_own_lifetime() {
    let stored = head(
        &rfc(),
        "Cache-Control: max-age=600\nAge: 5\nBanyan-Cache-Control: max-age=900",
    );
    let headers = Answer::Whole.headers(&stored, 1000, (&rfc(), Receiver::Client), at(30));
    assert_eq!(headers["age"], "35");
    assert!(!headers.contains_key("banyan-cache-control"));
    let policy = Policy {
        browser_ttl: Some(Duration::from_secs(60)),
        ..rfc()
    };
    let headers = Answer::Whole.headers(&stored, 1000, (&policy, Receiver::Client), at(30));
    assert_eq!(headers["cache-control"], "max-age=95");
    // Another edge keeps it by what the origin said.
    for answer in [Answer::Whole, Answer::NotModified] {
        let headers = answer.headers(&stored, 1000, (&policy, Receiver::Edge), at(30));
        assert_eq!(
            (&headers["age"], &headers["cache-control"]),
            (&"35".parse().unwrap(), &"max-age=600".parse().unwrap())
        );
        assert_eq!(headers["banyan-cache-control"], "max-age=900");
    }
}
