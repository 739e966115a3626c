//! What no log may show: values of keys that name a secret or a person, and passwords in URLs. Pure.
//!
//! A key counts by its words: `card_last4`, `accessToken` and `User-Email` are covered, `discarded` is not. In free text a
//! value is what follows `key=` or `key:`.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::{Map, Value};

/// What stands where the value was.
pub const MASK: &str = "***";

const WORDS: [&str; 8] = [
    "authorization",
    "cookie",
    "password",
    "passwd",
    "token",
    "card",
    "creditcard",
    "email",
];

/// A key and what is between it and its value, or the beginning of a URL with a password in it.
static SUSPECT: LazyLock<Regex> = LazyLock::new(|| {
    let words = WORDS.join("|");
    let key = format!(r#"(?P<key>[\w.-]*(?:{words})[\w.-]*)\\?["']?\s*[:=]\s*"#);
    let url = r"(?P<url>[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+@";
    Regex::new(&format!("(?i){key}|{url}")).expect("the expression is constant")
});

/// Whether values of this key are never shown.
pub fn is_secret(key: &str) -> bool {
    words(key).any(|word| WORDS.contains(&word.strip_suffix('s').unwrap_or(&word)))
}

/// The words of `snake_case`, `kebab-case` and `camelCase`, in lower case.
fn words(key: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for c in key.chars() {
        let begins = c.is_uppercase() && before.is_lowercase();
        if begins || !c.is_alphanumeric() {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.into_iter()
}

/// All values below, at any depth, of keys that are secret; in other texts as [`text`] does.
pub fn fields(fields: &mut Map<String, Value>) {
    for (key, value) in fields {
        if is_secret(key) && !matches!(value, Value::Null | Value::Bool(_)) {
            *value = Value::from(MASK);
        } else {
            inside(value);
        }
    }
}

fn inside(value: &mut Value) {
    match value {
        Value::Object(all) => fields(all),
        Value::Array(all) => all.iter_mut().for_each(inside),
        Value::String(said) => {
            if let Cow::Owned(masked) = text(said) {
                *said = masked;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A line of a log: a JSON object by its keys, all else as [`text`].
pub fn line(line: &str) -> Cow<'_, str> {
    if line.starts_with('{')
        && SUSPECT.is_match(line)
        && let Ok(mut all) = serde_json::from_str::<Map<String, Value>>(line)
    {
        fields(&mut all);
        return Cow::Owned(Value::Object(all).to_string());
    }
    text(line)
}

/// Free text.
pub fn text(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut done = 0;
    while let Some(found) = SUSPECT.captures_at(text, done) {
        let (kept, end) = masked(text, &found);
        out.push_str(&text[done..kept]);
        if end > kept {
            out.push_str(MASK);
        }
        // A match is never empty: this goes on.
        done = end;
    }
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// Up to where the text stays, and where it goes on.
fn masked(text: &str, found: &Captures<'_>) -> (usize, usize) {
    let all = found.get(0).map_or(0..0, |whole| whole.range());
    if let Some(before) = found.name("url") {
        return (before.end(), all.end - 1);
    }
    match found.name("key") {
        Some(key) if is_secret(key.as_str()) => {
            let (skipped, length) = value(key.as_str(), &text[all.end..]);
            (all.end + skipped, all.end + skipped + length)
        }
        _ => (all.end, all.end),
    }
}

/// Where a value begins, and its length: what is quoted whole, a cookie to the end of its line, a credential with its scheme.
fn value(key: &str, rest: &str) -> (usize, usize) {
    for quote in ["\\\"", "\"", "'"] {
        if let Some(inner) = rest.strip_prefix(quote) {
            return (quote.len(), inner.find(quote).unwrap_or(inner.len()));
        }
    }
    let lower = key.to_ascii_lowercase();
    if lower.ends_with("cookie") {
        return (0, rest.find(['"', '\n']).unwrap_or(rest.len()));
    }
    let ends = |text: &str| {
        text.find([' ', '\t', '\n', ',', ';', '&', '"', '\'', ')', '}', ']'])
            .unwrap_or(text.len())
    };
    let first = ends(rest);
    let scheme = ["bearer", "basic", "digest", "token"]
        .iter()
        .any(|scheme| rest[..first].eq_ignore_ascii_case(scheme));
    if lower.ends_with("authorization") && scheme && rest[first..].starts_with(' ') {
        return (0, first + 1 + ends(&rest[first + 1..]));
    }
    (0, first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_counts_by_its_words() {
        for key in [
            "password",
            "Authorization",
            "Set-Cookie",
            "card_last4",
            "accessToken",
            "user.email",
            "emails",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in ["discarded", "tokenizer", "emailed_by", "cardinality", "user", ""] {
            assert!(!is_secret(key), "{key}");
        }
    }

    #[test]
    fn values_in_text_are_masked_and_the_rest_stays() {
        for (said, shown) in [
            ("login user=5 password=hunter2 ok", "login user=5 password=*** ok"),
            ("Authorization: Bearer abc.def next", "Authorization: *** next"),
            ("GET /?token=abc&page=2", "GET /?token=***&page=2"),
            ("cookie: a=b; c=d", "cookie: ***"),
            (
                r#"sent {"email":"a b@c.d","n":1}"#,
                r#"sent {"email":"***","n":1}"#,
            ),
            (r#"{\"password\":\"x\"} bad"#, r#"{\"password\":\"***\"} bad"#),
            (
                "to postgres://app:s3cret@db:5432/x",
                "to postgres://app:***@db:5432/x",
            ),
            ("discarded: 5 lines", "discarded: 5 lines"),
            ("a card was declined", "a card was declined"),
        ] {
            assert_eq!(text(said), shown);
        }
    }

    #[test]
    fn the_specifications_example_keeps_all_but_the_card() {
        let said = r#"{"level":"error","trace_id":"abc123","user_id":456789,"message":"Payment declined","error":{"code":"insufficient_funds","card_last4":"4242"}}"#;
        let shown: Value = serde_json::from_str(&line(said)).unwrap();
        assert_eq!(
            shown,
            json!({"level": "error", "trace_id": "abc123", "user_id": 456789, "message": "Payment declined",
                "error": {"code": "insufficient_funds", "card_last4": "***"}})
        );
        assert!(matches!(line(r#"{"level":"info"}"#), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn no_secret_is_left(secret in "[A-Z]{12}", before in "[a-z =:\"{}é]{0,20}", key in "(password|x-token|cardNumber|email)") {
            for said in [
                format!("{before} {key}={secret}"),
                format!("{before} \"{key}\": \"{secret}\""),
                format!("{before} {key}: '{secret}' more"),
                json!({"a": [{key: {"deep": secret}}]}).to_string(),
            ] {
                let shown = line(&said);
                prop_assert!(!shown.contains(&secret), "{} -> {}", said, shown);
            }
        }

        #[test]
        fn masking_what_is_masked_changes_nothing(said in "\\PC{0,60}") {
            let once = text(&said).into_owned();
            prop_assert_eq!(text(&once).into_owned(), once);
        }
    }
}
