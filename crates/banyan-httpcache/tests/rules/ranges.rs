//! RFC 9110 §14 and RFC 9111 §3.3, §3.4: ranges and parts.

use banyan_httpcache::range::{Requested, Span, content_range, gaps, joined, requested};
use banyan_httpcache::{Answer, Head, Lookup, Receiver};

use crate::world::{at, fields, get, head, kept, rfc, stored_as, verdict, word};

fn asked(range: &str, total: u64) -> String {
    match requested(&fields(&format!("Range: {range}")), total) {
        Requested::Whole => "whole".to_owned(),
        Requested::NotSatisfiable => "416".to_owned(),
        Requested::Spans(spans) => {
            let spans: Vec<String> = spans
                .iter()
                .map(|span| format!("{}-{}", span.first, span.last))
                .collect();
            spans.join(" ")
        }
    }
}

#[test]
fn rfc_9110_section_14_2_what_a_range_asks() {
    let table = [
        ("bytes=0-9", "0-9"),
        ("bytes=90-", "90-99"),
        ("bytes=-5", "95-99"),
        ("bytes=-500", "0-99"),
        ("bytes=50-5000", "50-99"),
        ("bytes=0-99999999999999999999999", "0-99"),
        ("Bytes=0-9", "0-9"),
        ("bytes=0-9, 20-29", "0-9 20-29"),
        ("bytes=20-29, 0-9", "20-29 0-9"),
        ("bytes=0-9, 5-14", "0-14"),
        ("bytes=0-9, 20-29, 10-19", "0-29"),
        ("bytes=0-9, 500-", "0-9"),
        ("bytes=100-", "416"),
        ("bytes=-0", "416"),
        ("bytes=9-0", "whole"),
        ("bytes=", "whole"),
        ("bytes=-", "whole"),
        ("bytes=a-b", "whole"),
        ("bytes 0-9", "whole"),
        ("lines=0-9", "whole"),
        (
            "bytes=0-0,2-2,4-4,6-6,8-8,10-10,12-12,14-14,16-16,18-18,20-20,22-22,24-24,26-26,28-28,30-30,32-32",
            "whole",
        ),
    ];
    for (range, wanted) in table {
        assert_eq!(asked(range, 100), wanted, "{range}");
    }
    assert_eq!(asked("bytes=0-", 0), "416");
}

fn hit(response: &str, request: &str) -> Answer {
    match get(&rfc(), &[head(&rfc(), response)], request, 1) {
        Lookup::Hit { answer, .. } => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn rfc_9110_section_13_1_5_if_range_is_strong() {
    let page = "Cache-Control: max-age=60\nETag: \"a\"\nLast-Modified: Sat, 21 Nov 2026 10:00:00 GMT";
    let part = Answer::Part(Span { first: 0, last: 1 });
    let table = [
        ("", part.clone()),
        ("If-Range: \"a\"", part.clone()),
        ("If-Range: W/\"a\"", Answer::Whole),
        ("If-Range: \"b\"", Answer::Whole),
        ("If-Range: Sat, 21 Nov 2026 10:00:00 GMT", part),
        ("If-Range: Sat, 21 Nov 2026 11:00:00 GMT", Answer::Whole),
    ];
    for (condition, wanted) in table {
        assert_eq!(
            hit(page, &format!("Range: bytes=0-1\n{condition}")),
            wanted,
            "{condition}"
        );
    }
    let weak = "Cache-Control: max-age=60\nETag: W/\"a\"";
    assert_eq!(hit(weak, "Range: bytes=0-1\nIf-Range: \"a\""), Answer::Whole);
}

#[test]
fn rfc_9110_section_15_3_7_a_part_says_which() {
    let stored = head(
        &rfc(),
        "Cache-Control: max-age=60\nContent-Length: 1000\nContent-Type: a/b",
    );
    let headers =
        Answer::Part(Span { first: 2, last: 5 }).headers(&stored, 1000, (&rfc(), Receiver::Client), at(1));
    assert_eq!(headers["content-range"], "bytes 2-5/1000");
    assert_eq!(headers["content-length"], "4");
    let headers = Answer::NotSatisfiable.headers(&stored, 1000, (&rfc(), Receiver::Client), at(1));
    assert_eq!(headers["content-range"], "bytes */1000");
}

#[test]
fn a_precondition_comes_before_the_range() {
    let page = "Cache-Control: max-age=60\nETag: \"a\"";
    assert_eq!(
        hit(page, "Range: bytes=0-1\nIf-None-Match: \"a\""),
        Answer::NotModified
    );
}

fn part(range: &str) -> Head {
    kept(stored_as(
        &rfc(),
        206,
        &format!("Cache-Control: max-age=60\nETag: \"a\"\nContent-Length: 9\nContent-Range: {range}"),
    ))
}

#[test]
fn rfc_9111_section_3_3_parts_answer_only_what_lies_within_them() {
    let stored = [part("bytes 10-19/100")];
    let table = [
        ("Range: bytes=10-19", "hit 0"),
        ("Range: bytes=12-13", "hit 0"),
        ("Range: bytes=0-19", "fill 0: 0-9"),
        ("Range: bytes=5-24", "fill 0: 5-9,20-24"),
        ("Range: bytes=-5", "fill 0: 95-99"),
        ("", "fill 0: 0-9,20-99"),
    ];
    for (request, wanted) in table {
        assert_eq!(word(&get(&rfc(), &stored, request, 1)), wanted, "{request}");
    }
    assert_eq!(stored[0].status, 200);
    assert!(!stored[0].headers.contains_key("content-range"));
}

#[test]
fn rfc_9111_section_3_3_a_part_needs_a_readable_range() {
    let why = |fields: &str| {
        verdict(&stored_as(
            &rfc(),
            206,
            &format!("Cache-Control: max-age=60\n{fields}"),
        ))
    };
    assert_eq!(why("ETag: \"a\"\nContent-Range: bytes 0-9/100"), "stored");
    assert_eq!(why("ETag: W/\"a\"\nContent-Range: bytes 0-9/100"), "stored");
    assert_eq!(why("Content-Range: bytes 0-9/100"), "stored");
    assert_eq!(why("ETag: \"a\""), "bad-part");
    for range in [
        "bytes 0-9/*",
        "bytes */100",
        "bytes 9-0/100",
        "bytes 0-100/100",
        "lines 0-9/100",
        "bytes 0-9",
    ] {
        assert_eq!(
            why(&format!("ETag: \"a\"\nContent-Range: {range}")),
            "bad-part",
            "{range}"
        );
    }
}

#[test]
fn rfc_9111_section_3_4_a_part_without_a_strong_validator_answers_for_itself_alone() {
    let part = "Cache-Control: max-age=60\nContent-Range: bytes 0-9/100";
    let stored = [kept(stored_as(&rfc(), 206, part))];
    assert_eq!(word(&get(&rfc(), &stored, "Range: bytes=2-5", 1)), "hit 0");
    assert_eq!(word(&get(&rfc(), &stored, "Range: bytes=5-15", 1)), "miss: gap");
    assert_eq!(word(&get(&rfc(), &stored, "", 1)), "miss: gap");
}

#[test]
fn parts_join_and_leave_gaps() {
    let span = |first, last| Span { first, last };
    let spans = joined(&[span(0, 9), span(30, 39)], span(10, 19));
    assert_eq!(spans, [span(0, 19), span(30, 39)]);
    assert_eq!(gaps(&spans, span(0, 99)), [span(20, 29), span(40, 99)]);
    assert_eq!(gaps(&spans, span(5, 15)), []);
    assert_eq!(joined(&spans, span(15, 35)), [span(0, 39)]);
    assert_eq!(
        content_range(&fields("Content-Range: bytes 0-9/10")),
        Some((span(0, 9), 10))
    );
}
