//! RFC 9111 §4.2 and §5: lifetimes and ages.

use std::time::Duration;

use banyan_httpcache::{Policy, Precedence};

use crate::world::{answer_to, at, get, head, kept, received, rfc, stored_as, word};

/// Lifetime of a 200 in seconds under `rfc`.
fn lifetime(response: &str) -> u64 {
    let with_tag = format!("{response}\nETag: \"a\"");
    head(&rfc(), &with_tag).lifetime.as_secs()
}

#[test]
fn section_4_2_1_the_most_specific_statement_counts() {
    let table = [
        ("Cache-Control: max-age=60", 60),
        ("Cache-Control: s-maxage=30, max-age=60", 30),
        ("Cache-Control: max-age=60, s-maxage=90", 90),
        (
            "Cache-Control: max-age=60\nExpires: Sat, 21 Nov 2026 11:00:00 GMT",
            60,
        ),
        ("Expires: Sat, 21 Nov 2026 12:01:40 GMT", 100),
        (
            "Date: Sat, 21 Nov 2026 12:01:00 GMT\nExpires: Sat, 21 Nov 2026 12:01:40 GMT",
            40,
        ),
        ("Expires: 0", 0),
        ("Expires: Sat, 21 Nov 2026 12:01:40 UTC", 0),
        (
            "Expires: Sat, 21 Nov 2026 12:01:40 GMT\nExpires: Sat, 21 Nov 2026 12:01:40 GMT",
            0,
        ),
        ("Expires: 0\nLast-Modified: Sat, 21 Nov 2020 12:00:00 GMT", 0),
    ];
    for (response, seconds) in table {
        assert_eq!(lifetime(response), seconds, "{response}");
    }
}

#[test]
fn section_1_2_2_and_5_2_ages_are_digits_and_doubt_is_stale() {
    let table = [
        ("max-age=0060", 60),
        ("max-age=\"60\"", 60),
        ("MAX-AGE=60", 60),
        ("max-age=99999999999999999999", 365 * 86_400),
        ("max-age=-60", 0),
        ("max-age=60.5", 0),
        ("max-age=a60", 0),
        ("max-age=60a", 0),
        ("max-age='60'", 0),
        ("max-age", 0),
        ("max-age=", 0),
        ("max-age =60", 0),
        ("max-age= 60", 0),
        ("max-age=60, s-maxage=x", 0),
        ("x=\"max-age=60\"", 0),
        ("foo=\", max-age=10, \", max-age=60", 60),
        (",,max-age=60,,", 60),
    ];
    for (directives, seconds) in table {
        assert_eq!(
            lifetime(&format!("Cache-Control: {directives}")),
            seconds,
            "{directives}"
        );
    }
}

#[test]
fn section_4_2_1_of_several_ages_the_first_counts_on_one_line_and_on_several() {
    let table = [
        ("max-age=60, max-age=30", 60),
        ("max-age=30, max-age=60", 30),
        ("max-age=x, max-age=60", 0),
        ("s-maxage=10, max-age=60, s-maxage=90", 10),
    ];
    for (directives, seconds) in table {
        assert_eq!(
            lifetime(&format!("Cache-Control: {directives}")),
            seconds,
            "{directives}"
        );
        let lines = directives.replace(", ", "\nCache-Control: ");
        assert_eq!(lifetime(&format!("Cache-Control: {lines}")), seconds, "{lines}");
    }
    // What contradicts is read strictly, whatever comes first.
    let stored = [head(&rfc(), "Cache-Control: max-age=60, no-cache\nETag: \"a\"")];
    assert_eq!(word(&get(&rfc(), &stored, "", 1)), "validate 0: no-cache");
}

#[test]
fn section_5_2_lines_are_one_list() {
    assert_eq!(lifetime("Cache-Control: public\nCache-Control: max-age=60"), 60);
}

#[test]
fn section_4_2_2_heuristics_are_a_tenth_of_the_age_and_a_day_at_most() {
    assert_eq!(lifetime("Last-Modified: Sat, 21 Nov 2026 11:43:20 GMT"), 100);
    assert_eq!(lifetime("Last-Modified: Sat, 21 Nov 2020 12:00:00 GMT"), 86_400);
    assert_eq!(lifetime("Last-Modified: Sat, 21 Nov 2026 13:00:00 GMT"), 0);
}

#[test]
fn section_4_2_3_age_is_the_larger_of_the_stated_and_the_apparent() {
    let age = |response: &str| {
        head(&rfc(), &format!("Cache-Control: max-age=60\n{response}"))
            .age
            .as_secs()
    };
    assert_eq!(age("Age: 7"), 7);
    assert_eq!(age("Age: 7, 9"), 7);
    assert_eq!(age("Age: 7\nAge: 9"), 7);
    assert_eq!(age("Age: -7"), 0);
    assert_eq!(age("Age: 7.5"), 0);
    assert_eq!(age("Age: x"), 0);
    assert_eq!(age("Date: Sat, 21 Nov 2026 11:59:00 GMT"), 60);
    assert_eq!(age("Date: Sat, 21 Nov 2026 11:59:00 GMT\nAge: 90"), 90);
    // The clock grain, and a clock that is ahead.
    assert_eq!(age("Date: Sat, 21 Nov 2026 11:59:56 GMT"), 0);
    assert_eq!(age("Date: Sat, 21 Nov 2026 12:01:00 GMT"), 0);
}

#[test]
fn section_4_2_fresh_means_lifetime_greater_than_age() {
    let stored = [head(&rfc(), "Cache-Control: max-age=60\nETag: \"a\"")];
    assert_eq!(word(&get(&rfc(), &stored, "", 59)), "hit 0");
    assert_eq!(word(&get(&rfc(), &stored, "", 60)), "validate 0: expired");
    assert_eq!(stored[0].ttl_at(at(70)), -10);
}

#[test]
fn a_rule_fills_silence_and_beats_the_origin_only_when_told() {
    let mut policy = Policy {
        ttl: Some(Duration::from_secs(300)),
        ..Policy::default()
    };
    let seconds = |policy: &Policy, response: &str| kept(stored_as(policy, 200, response)).lifetime.as_secs();
    assert_eq!(seconds(&policy, ""), 300);
    assert_eq!(seconds(&policy, "Cache-Control: max-age=60"), 60);
    policy.precedence = Precedence::Rule;
    assert_eq!(seconds(&policy, "Cache-Control: max-age=60"), 300);
    for never in ["no-store", "private"] {
        let response = format!("Cache-Control: {never}");
        let admit = answer_to(&policy, "", 200, &response);
        assert_eq!(crate::world::verdict(&admit), never);
    }
}

#[test]
fn the_newest_of_several_is_used() {
    let old = kept(received(
        &rfc(),
        "",
        200,
        "Cache-Control: max-age=600\nETag: \"a\"",
        at(0),
    ));
    let new = kept(received(
        &rfc(),
        "",
        200,
        "Cache-Control: max-age=600\nETag: \"b\"",
        at(10),
    ));
    assert_eq!(word(&get(&rfc(), &[old.clone(), new.clone()], "", 20)), "hit 1");
    assert_eq!(word(&get(&rfc(), &[new, old], "", 20)), "hit 0");
}

/// The clock of the host was set: what it says of the receipt is no measure of age any more.
#[test]
fn what_was_received_later_than_now_is_validated_and_never_used_stale() {
    let lines = "Cache-Control: max-age=60, stale-while-revalidate=600, stale-if-error=600\nETag: \"a\"";
    let mut one = head(&rfc(), lines);
    let then: i64 = 500 * 86_400;
    one.received = at(then.unsigned_abs());
    let stored = [one];
    for (seconds, expected) in [
        (-400 * 86_400, "validate 0: expired"),
        (-3600, "validate 0: expired"),
        (-2, "validate 0: expired"),
        // The grain of a moment that several have read.
        (-1, "hit 0"),
        (0, "hit 0"),
        (3600, "validate 0: expired"),
        (400 * 86_400, "validate 0: expired"),
    ] {
        let now = (then + seconds).unsigned_abs();
        assert_eq!(word(&get(&rfc(), &stored, "", now)), expected, "{seconds}");
    }
}
