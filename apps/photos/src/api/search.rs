//! What a person types to find something: words, `#tags`, or both.

use crate::error::ApiError;

const LONGEST: usize = 200;
const MOST_WORDS: usize = 10;

/// Of one search, all of it must fit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Search {
    /// The first `#tag`.
    pub(super) tag: Option<String>,
    /// The words as a `tsquery`: each may be the beginning of one.
    pub(super) words: Option<String>,
    /// The whole without `#tags`: it may be a tag that somebody did not mark.
    pub(super) plain: String,
}

impl Search {
    pub(super) fn parse(text: &str) -> Result<Self, ApiError> {
        if text.chars().count() > LONGEST {
            let problem = format!("is too long (maximum is {LONGEST} characters)");
            return Err(ApiError::invalid("search", problem));
        }
        let (tags, plain): (Vec<&str>, Vec<&str>) =
            text.split_whitespace().partition(|word| word.starts_with('#'));
        let tag = tags.iter().map(|tag| tag.trim_start_matches('#'));
        let plain = plain.join(" ");
        // What is neither letter nor digit would be an operator of the query.
        let words = plain.split(|c: char| !c.is_alphanumeric());
        let words: Vec<String> = words
            .filter(|word| !word.is_empty())
            .take(MOST_WORDS)
            .map(|word| format!("{word}:*"))
            .collect();
        Ok(Self {
            tag: tag.filter(|tag| !tag.is_empty()).map(str::to_owned).next(),
            words: (!words.is_empty()).then(|| words.join(" & ")),
            plain,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tag.is_none() && self.words.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        let found = Search::parse(text).unwrap();
        format!(
            "{} / {} / {}",
            found.tag.unwrap_or_default(),
            found.words.unwrap_or_default(),
            found.plain
        )
    }

    #[test]
    fn words_and_tags_are_told_apart_and_operators_are_none() {
        for (text, wanted) in [
            ("misty  mountains", " / misty:* & mountains:* / misty mountains"),
            ("#sea cliffs #dusk", "sea / cliffs:* / cliffs"),
            (
                "a & !b | (c) 'd':*",
                " / a:* & b:* & c:* & d:* / a & !b | (c) 'd':*",
            ),
            ("café 東京", " / café:* & 東京:* / café 東京"),
            ("#", " /  / "),
            ("?!", " /  / ?!"),
        ] {
            assert_eq!(told(text), wanted, "{text}");
        }
        assert!(Search::parse("?! #").unwrap().is_empty());
        assert!(Search::parse(&"x".repeat(201)).is_err());
        let many = "x ".repeat(50);
        assert_eq!(
            Search::parse(&many).unwrap().words.unwrap().matches('x').count(),
            10
        );
    }
}
