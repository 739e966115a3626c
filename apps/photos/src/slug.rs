//! Slugs: `words-of-the-title-<author in base 36>-<post in base 36>`.
//!
//! The two numbers are the row's key, so a lookup needs no index of slugs and later knows its shard; the words are for
//! people and may change with the title without breaking a link.

use std::fmt::{self, Write as _};

const WORDS_LIMIT: usize = 80;

/// The key of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PostKey {
    pub(crate) author_id: i64,
    pub(crate) id: i64,
}

impl PostKey {
    /// As two arrays, for `unnest`.
    pub(crate) fn columns(keys: &[Self]) -> (Vec<i64>, Vec<i64>) {
        keys.iter().map(|key| (key.author_id, key.id)).unzip()
    }
}

impl fmt::Display for PostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.author_id, self.id)
    }
}

pub(crate) fn slug(title: &str, key: PostKey) -> String {
    let mut slug = words(title);
    // Writing to a String cannot fail.
    write!(slug, "-{}-{}", base36(key.author_id), base36(key.id)).ok();
    slug
}

pub(crate) fn key(slug: &str) -> Option<PostKey> {
    let mut parts = slug.rsplit('-');
    let id = number(parts.next()?)?;
    let author_id = number(parts.next()?)?;
    parts.next()?;
    Some(PostKey { author_id, id })
}

/// Lower-case ASCII letters and digits with single hyphens between.
fn words(title: &str) -> String {
    let mut words = String::new();
    for c in title.chars() {
        if words.len() >= WORDS_LIMIT {
            break;
        }
        if c.is_ascii_alphanumeric() {
            words.push(c.to_ascii_lowercase());
        } else if !words.is_empty() && !words.ends_with('-') {
            words.push('-');
        }
    }
    let trimmed = words.trim_end_matches('-');
    if trimmed.is_empty() { "post" } else { trimmed }.to_owned()
}

fn base36(id: i64) -> String {
    let mut rest = id.unsigned_abs();
    let mut digits = Vec::new();
    while rest > 0 || digits.is_empty() {
        let digit = u32::try_from(rest % 36).unwrap_or(0);
        digits.push(char::from_digit(digit, 36).unwrap_or('0'));
        rest /= 36;
    }
    digits.iter().rev().collect()
}

fn number(digits: &str) -> Option<i64> {
    let plain = digits
        .bytes()
        .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
    (plain && !digits.is_empty())
        .then(|| i64::from_str_radix(digits, 36).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_leads_back_to_its_post() {
        for title in [
            "Hello, World!",
            "",
            "ünïcode ünd mehr",
            "--",
            "a-1-2",
            &"long ".repeat(60),
        ] {
            let post = PostKey {
                author_id: 251_658_240_001,
                id: i64::MAX,
            };
            assert_eq!(key(&slug(title, post)), Some(post), "{title}");
        }
    }

    #[test]
    fn words_are_plain() {
        let post = PostKey {
            author_id: 35,
            id: 36,
        };
        assert_eq!(slug("Hello,  World!", post), "hello-world-z-10");
        assert_eq!(slug("日本", post), "post-z-10");
    }

    #[test]
    fn what_is_no_slug_has_no_key() {
        for text in ["", "a", "a-b", "a-B-c", "a--b", "a-b-zzzzzzzzzzzzzzzz", "a-b-+1"] {
            assert_eq!(key(text), None, "{text}");
        }
    }
}
