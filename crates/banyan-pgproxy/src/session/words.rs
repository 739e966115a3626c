//! A search for the few words by which a harmless kind of statement may still change its session.
//!
//! On every statement's path: each word is looked for by a letter that few statements hold, so that most texts are passed over sixteen
//! bytes at a time.

/// Is one of the words anywhere in it, in any case? It may be part of a longer one.
pub(super) fn holds_any(text: &[u8]) -> bool {
    memchr::memchr2_iter(b'v', b'V', text).any(|at| value_or_lock(text, at))
        || memchr::memchr_iter(b'_', text).any(|at| {
            around(text, at, b"set", b"_config")
                || around(text, at, b"query", b"_to_xml")
                || around(text, at, b"ts", b"_stat")
        })
        || memchr::memchr2_iter(b'm', b'M', text).any(|at| around(text, at, b"te", b"mp"))
}

/// At the letter v.
fn value_or_lock(text: &[u8], at: usize) -> bool {
    let before: [&[u8]; 4] = [b"last", b"curr", b"next", b"set"];
    starts(&text[at..], b"val") && before.iter().any(|word| ends(&text[..at], word))
        || around(text, at, b"ad", b"visory")
}

fn around(text: &[u8], at: usize, before: &[u8], after: &[u8]) -> bool {
    starts(&text[at..], after) && ends(&text[..at], before)
}

fn starts(text: &[u8], word: &[u8]) -> bool {
    text.get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word))
}

fn ends(text: &[u8], word: &[u8]) -> bool {
    let from = text.len().checked_sub(word.len());
    from.is_some_and(|from| text[from..].eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WORDS: [&str; 9] = [
        "set_config",
        "query_to_xml",
        "ts_stat",
        "advisory",
        "temp",
        "lastval",
        "currval",
        "nextval",
        "setval",
    ];

    proptest! {
        #[test]
        fn the_same_is_found_as_by_looking_everywhere(
            pieces in prop::collection::vec(
                prop_oneof![prop::sample::select(&WORDS[..]).prop_map(str::to_owned), "[a-zA-Z_ ]{0,3}", "(val|te|_config|_stat|_to_xml|mp|ad)"],
                0..4,
            ),
            upper in any::<bool>(),
        ) {
            let text = pieces.concat();
            let text = if upper { text.to_uppercase() } else { text };
            let expected = WORDS.iter().any(|word| text.to_lowercase().contains(word));
            prop_assert_eq!(holds_any(text.as_bytes()), expected, "{}", text);
        }
    }

    #[test]
    fn each_word_is_found_at_both_ends_of_a_text() {
        for word in WORDS {
            assert!(holds_any(word.as_bytes()), "{word}");
            assert!(holds_any(format!("SELECT {word}").as_bytes()), "{word}");
            assert!(!holds_any(&word.as_bytes()[1..]), "{word}");
            assert!(!holds_any(&word.as_bytes()[..word.len() - 1]), "{word}");
        }
    }
}
