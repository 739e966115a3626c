//! What the fields of a request must be. All problems of a request are answered at once.

use super::body::Given;
use crate::error::ApiError;

const BLANK: &str = "can't be blank";

/// Collects problems; [`Problems::none`] at the end.
#[derive(Default)]
pub(super) struct Problems(Vec<(&'static str, String)>);

impl Problems {
    pub(super) fn add(&mut self, field: &'static str, problem: impl Into<String>) {
        self.0.push((field, problem.into()));
    }

    pub(super) fn none(self) -> Result<(), ApiError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ApiError::Invalid(self.0))
        }
    }

    /// A required text.
    pub(super) fn text(&mut self, field: &'static str, value: Option<String>, rule: Rule) -> String {
        let value = value.unwrap_or_default();
        if let Err(problem) = rule.check(&value) {
            self.add(field, problem);
        }
        value
    }

    /// A text that may be left out, but not emptied.
    pub(super) fn change(&mut self, field: &'static str, value: Given<String>, rule: Rule) -> Option<String> {
        value.map(|value| self.text(field, value, rule))
    }

    /// A text that may be left out or emptied: "" and null are the same.
    pub(super) fn optional(
        &mut self,
        field: &'static str,
        value: Given<String>,
        rule: Rule,
    ) -> Option<Option<String>> {
        let value = value.map(|value| value.filter(|text| !text.is_empty()))?;
        if let Some(text) = &value
            && let Err(problem) = rule.check(text)
        {
            self.add(field, problem);
        }
        Some(value)
    }

    /// Tags without blanks and repetitions, in their order.
    pub(super) fn tags(&mut self, given: Vec<String>) -> Vec<String> {
        let mut tags: Vec<String> = Vec::new();
        for tag in given {
            let tag = tag.trim().to_owned();
            if tag.is_empty() || tags.contains(&tag) {
                continue;
            }
            if let Err(problem) = Rule::Tag.check(&tag) {
                self.add("tagList", problem);
            }
            tags.push(tag);
        }
        if tags.len() > 20 {
            self.add("tagList", "has more than 20 tags");
        }
        tags
    }
}

#[derive(Clone, Copy)]
pub(super) enum Rule {
    Username,
    Email,
    /// NIST 800-63B: a length, no composition.
    Password,
    /// Any password may be tried.
    PasswordTried,
    Title,
    Description,
    Text,
    Comment,
    Tag,
    Bio,
    Url,
}

impl Rule {
    fn longest(self) -> usize {
        match self {
            Self::Username | Self::Tag => 64,
            Self::Email => 254,
            Self::Password | Self::PasswordTried => 256,
            Self::Title => 200,
            Self::Description | Self::Bio => 1_000,
            Self::Url => 2_000,
            Self::Text => 65_536,
            Self::Comment => 8_192,
        }
    }

    fn check(self, value: &str) -> Result<(), String> {
        if value.trim().is_empty() {
            return Err(BLANK.to_owned());
        }
        let length = value.chars().count();
        if length > self.longest() {
            return Err(format!("is too long (maximum is {} characters)", self.longest()));
        }
        if value.contains('\0') {
            return Err("contains a character that cannot be stored".to_owned());
        }
        match self {
            Self::Password if length < 8 => Err("is too short (minimum is 8 characters)".to_owned()),
            Self::Username
                if value
                    .chars()
                    .any(|c| c.is_whitespace() || c.is_control() || c == '/') =>
            {
                Err("may not contain spaces or slashes".to_owned())
            }
            Self::Email if !looks_like_email(value) => Err("is not an e-mail address".to_owned()),
            _ => Ok(()),
        }
    }
}

fn looks_like_email(text: &str) -> bool {
    let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    plain
        && text
            .split_once('@')
            .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_accept_and_refuse() {
        let accepted = [
            (Rule::Username, "art_1.x-ü"),
            (Rule::Email, "a@b"),
            (Rule::Password, "bonjour1"),
            (Rule::PasswordTried, "x"),
        ];
        for (rule, value) in accepted {
            assert_eq!(rule.check(value), Ok(()), "{value}");
        }
        let refused = [
            (Rule::Username, "a b"),
            (Rule::Username, "a/b"),
            (Rule::Email, "a"),
            (Rule::Email, "@b"),
            (Rule::Email, "a@b@c"),
            (Rule::Password, "short7c"),
            (Rule::Title, "  "),
            (Rule::Text, "a\0b"),
        ];
        for (rule, value) in refused {
            assert!(rule.check(value).is_err(), "{value:?}");
        }
        assert!(Rule::Title.check(&"x".repeat(201)).is_err());
        assert!(Rule::Password.check(&"é".repeat(64)).is_ok());
    }

    #[test]
    fn tags_keep_their_order_without_repetitions() {
        let mut problems = Problems::default();
        let tags = problems.tags(["b", " a ", "", "b"].map(str::to_owned).to_vec());
        assert_eq!(tags, ["b", "a"]);
        assert!(problems.none().is_ok());
    }
}
