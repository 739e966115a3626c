//! What is refused, in words: nothing was changed.

use super::Done;
use crate::proto::Outcome;

/// Why a wish is refused, in words.
pub(super) struct Refused(pub(super) String);

impl<E: std::error::Error> From<E> for Refused {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            text = format!("{text}: {next}");
            cause = next.source();
        }
        Self(text)
    }
}

impl From<Refused> for Done {
    fn from(refused: Refused) -> Self {
        Self {
            outcome: Outcome::Refused,
            error: Some(refused.0),
            notes: Vec::new(),
        }
    }
}
