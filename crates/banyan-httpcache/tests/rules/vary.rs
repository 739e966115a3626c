//! RFC 9111 §4.1: which stored response a request selects.

use banyan_httpcache::{Head, Policy};

use crate::world::{answer_to, at, get, kept, received, rfc, word};

fn stored(policy: &Policy, request: &str, vary: &str) -> Head {
    kept(answer_to(
        policy,
        request,
        200,
        &format!("Cache-Control: max-age=60\nVary: {vary}"),
    ))
}

#[test]
fn section_4_1_all_named_fields_must_match() {
    let table = [
        ("Foo: 1", "Foo", "Foo: 1", "hit 0"),
        ("Foo: 1", "Foo", "Foo: 2", "miss: vary"),
        ("Foo: 1", "Foo", "", "miss: vary"),
        ("", "Foo", "", "hit 0"),
        ("", "Foo", "Foo: 1", "miss: vary"),
        ("Foo: 1", "FOO", "foo: 1", "hit 0"),
        ("Foo: 1", "Foo, Bar", "Foo: 1", "hit 0"),
        ("Foo: 1\nBar: a", "Foo, Bar", "Foo: 1", "miss: vary"),
        ("Foo: 1\nBar: a", "Bar, Foo", "Bar: a\nFoo: 1", "hit 0"),
        // Normalisation: lines joined, space around commas gone.
        ("Foo: 1, 2", "Foo", "Foo: 1,2", "hit 0"),
        ("Foo: 1\nFoo: 2", "Foo", "Foo: 1, 2", "hit 0"),
        ("Foo: 1, 2", "Foo", "Foo: 2, 1", "miss: vary"),
        ("Foo: a", "Foo", "Foo: A", "miss: vary"),
        (
            "Accept-Language: en, de",
            "Accept-Language",
            "Accept-Language: de, en",
            "miss: vary",
        ),
        // Languages have no case (RFC 9110 §8.5.1), other values have.
        (
            "Accept-Language: en, de-AT",
            "Accept-Language",
            "Accept-Language: EN, de-at",
            "hit 0",
        ),
        // Codings that we serve, in any order and weight.
        (
            "Accept-Encoding: gzip, br",
            "Accept-Encoding",
            "Accept-Encoding: br;q=0.5, deflate, gzip",
            "hit 0",
        ),
        (
            "Accept-Encoding: gzip",
            "Accept-Encoding",
            "Accept-Encoding: gzip;q=0",
            "miss: vary",
        ),
        ("Accept-Encoding: gzip", "Accept-Encoding", "", "miss: vary"),
    ];
    for (first, vary, second, wanted) in table {
        let kept = [stored(&rfc(), first, vary)];
        assert_eq!(
            word(&get(&rfc(), &kept, second, 1)),
            wanted,
            "{first} / {vary} / {second}"
        );
    }
}

#[test]
fn section_4_1_a_response_without_vary_does_not_hide_those_that_have_it() {
    let plain = kept(received(&rfc(), "", 200, "Cache-Control: max-age=60", at(5)));
    let varied = stored(&rfc(), "Foo: 1", "Foo");
    let both = [plain, varied];
    assert_eq!(word(&get(&rfc(), &both, "Foo: 1", 6)), "hit 1");
    assert_eq!(word(&get(&rfc(), &both, "Foo: 2", 6)), "miss: vary");
}

#[test]
fn variants_live_side_by_side() {
    let two = [stored(&rfc(), "Foo: 1", "Foo"), stored(&rfc(), "Foo: 2", "Foo")];
    assert_eq!(word(&get(&rfc(), &two, "Foo: 1", 1)), "hit 0");
    assert_eq!(word(&get(&rfc(), &two, "Foo: 2", 1)), "hit 1");
    assert_eq!(word(&get(&rfc(), &two, "Foo: 3", 1)), "miss: vary");
}
