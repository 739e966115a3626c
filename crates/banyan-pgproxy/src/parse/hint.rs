//! `/* banyan: fresh=... */`: the one thing a comment may say to the proxy.

/// How fresh this statement's answer must be; overrides the database's `reads`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Hint {
    /// `fresh=off`: any replica that streams, however far behind.
    Off,
    /// `fresh=primary`
    Primary,
    /// `fresh=index`: the primary is asked for its WAL position after the read has arrived.
    Index,
}

impl Hint {
    /// Of a whole comment with its delimiters. Unknown words mean no hint: a comment never changes an answer by accident.
    pub fn of_comment(comment: &[u8]) -> Option<Self> {
        let inner = comment.strip_prefix(b"/*")?.strip_suffix(b"*/")?;
        let text = std::str::from_utf8(inner).ok()?.trim();
        let value = text.strip_prefix("banyan:")?.trim().strip_prefix("fresh=")?;
        match value.trim() {
            "off" => Some(Self::Off),
            "primary" => Some(Self::Primary),
            "index" => Some(Self::Index),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_words_are_a_hint() {
        assert_eq!(Hint::of_comment(b"/* banyan: fresh=off */"), Some(Hint::Off));
        assert_eq!(Hint::of_comment(b"/*banyan:fresh=primary*/"), Some(Hint::Primary));
        assert_eq!(Hint::of_comment(b"/* banyan: fresh=index */"), Some(Hint::Index));
        for none in [
            "/* fresh=off */",
            "-- banyan: fresh=off",
            "/* banyan: fresh=offf */",
            "/* banyan: */",
        ] {
            assert_eq!(Hint::of_comment(none.as_bytes()), None, "{none}");
        }
    }
}
