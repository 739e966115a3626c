//! `{{database.host}}` and friends in commands, environments and files; `$NAME` in commands.
//!
//! Parsed once, so an unknown name is an error of banyan.toml with a line, never a surprise at launch.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Text with placeholders, kept as written; [`Template::parse`] has proven every placeholder known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(pub(crate) String);

impl Template {
    /// Text without placeholders, or with ones that are known to be valid.
    pub fn literal(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
