//! RFC 9111 §4.3 and RFC 9110 §13: conditions in both directions.

use banyan_httpcache::{
    AfterHead, Answer, Answered, Asked, Conditions, Freshened, Head, Lookup, Receiver, Times, after_head,
    freshen,
};
use http::{Method, StatusCode};

use crate::world::{answer_to, ask, at, fields, get, head, kept, received, rfc, word};

const PAGE: &str = "Cache-Control: max-age=60
ETag: \"a\"
Last-Modified: Sat, 21 Nov 2026 10:00:00 GMT";

fn conditions(lookup: Lookup) -> Conditions {
    match lookup {
        Lookup::Validate { conditions, .. } => conditions,
        other => panic!("{other:?}"),
    }
}

#[test]
fn section_4_3_1_all_tags_of_the_key_and_the_clients_are_sent() {
    let stored = [
        head(&rfc(), PAGE),
        kept(answer_to(
            &rfc(),
            "Foo: 1",
            200,
            "Cache-Control: max-age=60\nETag: W/\"b\"",
        )),
    ];
    let sent = conditions(get(&rfc(), &stored, "If-None-Match: \"c\", \"a\", *", 70));
    assert_eq!(sent.if_none_match.unwrap(), "\"a\", W/\"b\", \"c\"");
    let mut request = fields("If-None-Match: \"c\"\nRange: bytes=0-1\nIf-Modified-Since: x\nAccept: y");
    conditions(get(&rfc(), &stored[..1], "", 70)).apply(&mut request);
    assert_eq!(
        request,
        fields("Accept: y\nIf-None-Match: \"a\"\nIf-Modified-Since: Sat, 21 Nov 2026 10:00:00 GMT")
    );
}

#[test]
fn a_stale_response_without_validator_is_fetched_anew() {
    let stored = [head(&rfc(), "Cache-Control: max-age=60")];
    assert_eq!(
        word(&get(&rfc(), &stored, "If-None-Match: \"c\"", 70)),
        "miss: expired"
    );
}

fn answers(request: &str, response: &str) -> Answer {
    match get(&rfc(), &[head(&rfc(), response)], request, 1) {
        Lookup::Hit { answer, .. } => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rfc_9110_section_13_1_2_if_none_match_is_compared_weakly_and_comes_first() {
    let table = [
        ("If-None-Match: \"a\"", Answer::NotModified),
        ("If-None-Match: W/\"a\"", Answer::NotModified),
        ("If-None-Match: \"x\", \"a\"", Answer::NotModified),
        ("If-None-Match: \"x\"\nIf-None-Match: \"a\"", Answer::NotModified),
        ("If-None-Match: \"x, y\", \"a\"", Answer::NotModified),
        ("If-None-Match: *", Answer::NotModified),
        ("If-None-Match: \"x\"", Answer::Whole),
        ("If-None-Match: \"A\"", Answer::Whole),
        (
            "If-None-Match: \"x\"\nIf-Modified-Since: Sat, 21 Nov 2026 11:00:00 GMT",
            Answer::Whole,
        ),
    ];
    for (request, wanted) in table {
        assert_eq!(answers(request, PAGE), wanted, "{request}");
    }
}

#[test]
fn rfc_9110_section_13_1_3_if_modified_since_is_one_valid_date() {
    let since = |date: &str| answers(&format!("If-Modified-Since: {date}"), PAGE);
    assert_eq!(since("Sat, 21 Nov 2026 10:00:00 GMT"), Answer::NotModified);
    assert_eq!(since("Sat, 21 Nov 2026 11:00:00 GMT"), Answer::NotModified);
    assert_eq!(since("Sat, 21 Nov 2026 09:59:59 GMT"), Answer::Whole);
    assert_eq!(since("yesterday"), Answer::Whole);
    // RFC 9111 §4.3.2: without Last-Modified the Date counts.
    let dated = "Cache-Control: max-age=60\nDate: Sat, 21 Nov 2026 12:00:00 GMT";
    let since = |date: &str| answers(&format!("If-Modified-Since: {date}"), dated);
    assert_eq!(since("Sat, 21 Nov 2026 12:00:00 GMT"), Answer::NotModified);
    assert_eq!(since("Sat, 21 Nov 2026 11:59:59 GMT"), Answer::Whole);
}

#[test]
fn conditions_are_judged_on_successful_responses_only() {
    let gone = kept(crate::world::stored_as(&rfc(), 404, PAGE));
    let lookup = get(&rfc(), &[gone], "If-None-Match: \"a\"", 1);
    assert!(
        matches!(
            lookup,
            Lookup::Hit {
                answer: Answer::Whole,
                ..
            }
        ),
        "{lookup:?}"
    );
}

#[test]
fn rfc_9110_section_13_1_1_if_match_is_the_origins_to_judge() {
    let stored = [head(&rfc(), PAGE)];
    for request in [
        "If-Match: \"a\"",
        "If-Unmodified-Since: Sat, 21 Nov 2026 10:00:00 GMT",
    ] {
        assert_eq!(word(&get(&rfc(), &stored, request, 1)), "bypass: precondition");
    }
}

#[test]
fn rfc_9110_section_15_4_5_a_304_carries_what_describes_the_response() {
    let stored = head(
        &rfc(),
        &format!("{PAGE}\nX: y\nVary: Foo\nContent-Type: text/html"),
    );
    let headers = Answer::NotModified.headers(&stored, 10, (&rfc(), Receiver::Client), at(5));
    let mut names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["age", "cache-control", "date", "etag", "vary"]);
}

fn not_modified(stored: &[Head], fields_of_304: &str) -> Vec<Freshened> {
    let headers = fields("");
    let stored: Vec<&Head> = stored.iter().collect();
    let asked = Asked {
        method: &Method::GET,
        headers: &headers,
    };
    let times = Times {
        sent: at(100),
        received: at(100),
        ahead: std::time::Duration::ZERO,
    };
    freshen(asked, &stored, &fields(fields_of_304), &rfc(), times)
}

fn renewed(verdicts: &[Freshened]) -> Vec<bool> {
    let renewed = |verdict: &Freshened| matches!(verdict, Freshened::Renewed(_));
    verdicts.iter().map(renewed).collect()
}

#[test]
fn section_4_3_4_a_304_renews_what_its_validator_names() {
    let plain = |tag: &str, seconds| {
        kept(received(
            &rfc(),
            "",
            200,
            &format!("Cache-Control: max-age=60\n{tag}"),
            at(seconds),
        ))
    };
    let strong = [
        plain("ETag: \"a\"", 0),
        plain("ETag: \"b\"", 1),
        plain("ETag: \"a\"", 2),
    ];
    assert_eq!(
        renewed(&not_modified(&strong, "ETag: \"a\"")),
        [true, false, true]
    );
    let weak = [plain("ETag: W/\"a\"", 0), plain("ETag: W/\"a\"", 5)];
    assert_eq!(renewed(&not_modified(&weak, "ETag: W/\"a\"")), [false, true]);
    assert_eq!(renewed(&not_modified(&strong[..1], "")), [true]);
    assert_eq!(renewed(&not_modified(&strong, "")), [false, false, false]);
    assert_eq!(
        renewed(&not_modified(&strong, "ETag: \"z\"")),
        [false, false, false]
    );
}

#[test]
fn section_3_2_fields_of_the_304_replace_the_stored_ones() {
    let stored = head(
        &rfc(),
        "Cache-Control: max-age=60\nETag: \"a\"\nX: old\nX: older\nKeep: 1\nContent-Length: 5\nContent-Type: a/b\nAge: 9",
    );
    let verdicts = not_modified(
        &[stored],
        "ETag: \"a\"\nX: new\nContent-Length: 0\nContent-Range: bytes 0-1/5\nContent-Type: c/d\nContent-Encoding: gzip\n\
         Connection: hop\nHop: 1\nKeep-Alive: 1\nCache-Control: max-age=90",
    );
    let Freshened::Renewed(new) = &verdicts[0] else {
        panic!("{verdicts:?}")
    };
    assert_eq!(new.headers.get_all("x").iter().collect::<Vec<_>>(), ["new"]);
    assert_eq!(new.headers["keep"], "1");
    assert_eq!(new.headers["content-length"], "5");
    // The body is stored as it came: nothing rests on what the fields said then.
    assert_eq!(new.headers["content-type"], "c/d");
    assert_eq!(new.headers["content-encoding"], "gzip");
    for never in ["content-range", "connection", "hop", "keep-alive"] {
        assert!(!new.headers.contains_key(never), "{never}");
    }
    assert_eq!((new.lifetime.as_secs(), new.age_at(at(100)).as_secs()), (90, 0));
}

#[test]
fn a_304_that_forbids_storing_ends_the_stored_response() {
    let stored = head(&rfc(), "Cache-Control: max-age=60\nETag: \"a\"");
    for forbids in [
        "Cache-Control: no-store",
        "Vary: *",
        "Vary: Foo",
        "Cache-Control: private",
    ] {
        let verdicts = not_modified(std::slice::from_ref(&stored), &format!("ETag: \"a\"\n{forbids}"));
        assert_eq!(verdicts, [Freshened::Dropped], "{forbids}");
    }
}

#[test]
fn section_4_3_5_a_head_renews_or_outdates_the_stored_get() {
    let stored = head(&rfc(), PAGE);
    let told = |text: &str| {
        let (request, response) = (fields(""), fields(text));
        let asked = Asked {
            method: &Method::HEAD,
            headers: &request,
        };
        let answered = Answered {
            status: StatusCode::OK,
            headers: &response,
        };
        let times = Times {
            sent: at(100),
            received: at(100),
            ahead: std::time::Duration::ZERO,
        };
        after_head(asked, &stored, 1000, answered, &rfc(), times)
    };
    assert!(matches!(
        told("ETag: \"a\"\nContent-Length: 1000\nX: new"),
        AfterHead::Renewed(_)
    ));
    assert!(matches!(told("X: new"), AfterHead::Renewed(_)));
    assert_eq!(told("ETag: \"b\""), AfterHead::Outdated);
    assert_eq!(told("ETag: \"a\"\nContent-Length: 999"), AfterHead::Outdated);
    assert_eq!(
        told("Last-Modified: Sat, 21 Nov 2026 11:00:00 GMT"),
        AfterHead::Outdated
    );
}

#[test]
fn a_head_is_answered_from_a_stored_get_ranges_apart() {
    let stored = [head(&rfc(), PAGE)];
    let lookup = ask(&rfc(), &Method::HEAD, &stored, "Range: bytes=0-1", 1);
    assert!(
        matches!(
            lookup,
            Lookup::Hit {
                answer: Answer::Whole,
                ..
            }
        ),
        "{lookup:?}"
    );
}
