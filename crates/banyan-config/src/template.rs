//! `{{database.host}}` and friends in commands, environments and files.
//!
//! Parsed once, so an unknown name is an error of banyan.toml with a line, never a surprise at launch.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::redis::Purpose;

/// Text with placeholders, kept as written; [`Template::parse`] has proven every placeholder known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(pub(crate) String);

/// What a `{{name}}` stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Placeholder {
    /// Address to listen on.
    Host,
    /// Port to listen on.
    Port,
    /// `web`
    Process,
    /// `web.1`
    Instance,
    /// Number of the release.
    Release,
    /// Folder that survives deploys.
    Data,
    DatabaseHost,
    DatabasePort,
    DatabaseUser,
    DatabasePassword,
    DatabaseName,
    /// `postgres://user:password@host:port/name`, the parts URL-encoded.
    DatabaseUrl,
    /// The same, but always to the server itself (session mode), also when a pool comes between later.
    DatabaseDirectUrl,
    /// `sessions.url`, `cache.password` …
    Redis(Purpose, RedisPart),
    Secret(String),
}

/// Of where a Redis is and how to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RedisPart {
    /// `redis://user:password@host:port/0`, the parts URL-encoded.
    Url,
    /// Of one server; Sentinels and Clusters have several.
    Host,
    Port,
    User,
    Password,
}

impl Placeholder {
    /// All but `Secret`.
    pub const FIXED: [Self; 23] = [
        Self::Host,
        Self::Port,
        Self::Process,
        Self::Instance,
        Self::Release,
        Self::Data,
        Self::DatabaseHost,
        Self::DatabasePort,
        Self::DatabaseUser,
        Self::DatabasePassword,
        Self::DatabaseName,
        Self::DatabaseUrl,
        Self::DatabaseDirectUrl,
        Self::Redis(Purpose::Sessions, RedisPart::Url),
        Self::Redis(Purpose::Sessions, RedisPart::Host),
        Self::Redis(Purpose::Sessions, RedisPart::Port),
        Self::Redis(Purpose::Sessions, RedisPart::User),
        Self::Redis(Purpose::Sessions, RedisPart::Password),
        Self::Redis(Purpose::Cache, RedisPart::Url),
        Self::Redis(Purpose::Cache, RedisPart::Host),
        Self::Redis(Purpose::Cache, RedisPart::Port),
        Self::Redis(Purpose::Cache, RedisPart::User),
        Self::Redis(Purpose::Cache, RedisPart::Password),
    ];

    /// The text between the braces.
    pub fn parse(name: &str) -> Option<Self> {
        if let Some(secret) = name.strip_prefix("secret.") {
            return crate::secrets::is_variable_name(secret).then(|| Self::Secret(secret.to_owned()));
        }
        Self::FIXED
            .into_iter()
            .find(|placeholder| placeholder.name() == name)
    }

    fn name(&self) -> &str {
        match self {
            Self::Host => "host",
            Self::Port => "port",
            Self::Process => "process",
            Self::Instance => "instance",
            Self::Release => "release",
            Self::Data => "data",
            Self::DatabaseHost => "database.host",
            Self::DatabasePort => "database.port",
            Self::DatabaseUser => "database.user",
            Self::DatabasePassword => "database.password",
            Self::DatabaseName => "database.name",
            Self::DatabaseUrl => "database.url",
            Self::DatabaseDirectUrl => "database.direct.url",
            Self::Redis(Purpose::Sessions, part) => part.names().0,
            Self::Redis(Purpose::Cache, part) => part.names().1,
            Self::Secret(name) => name,
        }
    }

    /// Needs `[sessions]` or `[cache]`.
    pub fn redis(&self) -> Option<Purpose> {
        match self {
            Self::Redis(purpose, _) => Some(*purpose),
            _ => None,
        }
    }

    /// Needs a `[database]`.
    pub fn is_database(&self) -> bool {
        self.name().starts_with("database.") && !matches!(self, Self::Secret(_))
    }

    /// Its value must not be seen by others.
    pub fn is_secret(&self) -> bool {
        matches!(
            self,
            Self::Secret(_)
                | Self::DatabasePassword
                | Self::DatabaseUrl
                | Self::DatabaseDirectUrl
                | Self::Redis(_, RedisPart::Url | RedisPart::Password)
        )
    }
}

impl RedisPart {
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Url => ("sessions.url", "cache.url"),
            Self::Host => ("sessions.host", "cache.host"),
            Self::Port => ("sessions.port", "cache.port"),
            Self::User => ("sessions.user", "cache.user"),
            Self::Password => ("sessions.password", "cache.password"),
        }
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(name) => write!(f, "secret.{name}"),
            fixed => f.write_str(fixed.name()),
        }
    }
}

/// What is wrong with a template, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct TemplateError {
    pub kind: TemplateErrorKind,
    pub range: Range<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateErrorKind {
    #[error("unknown placeholder `{{{{{0}}}}}`")]
    Unknown(String),
    #[error("`{{{{` without `}}}}`")]
    Unclosed,
}

/// Why a template could not be turned into text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("`{{{{{0}}}}}` has no value here")]
    NoValue(Placeholder),
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Unset(#[from] crate::expand::Unset),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Text(&'a str),
    Placeholder(Placeholder, Range<usize>),
}

impl Template {
    /// Text without placeholders, or with ones that are known to be valid.
    pub fn literal(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The first thing wrong is the error. `{{{{` stands for two literal braces.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        for piece in pieces(text) {
            piece?;
        }
        Ok(Self(text.to_owned()))
    }

    /// The text as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In order of appearance, with repetitions.
    pub fn placeholders(&self) -> impl Iterator<Item = Placeholder> + '_ {
        pieces(&self.0).filter_map(|piece| match piece {
            Ok(Piece::Placeholder(placeholder, _)) => Some(placeholder),
            _ => None,
        })
    }

    pub fn render(&self, value: &dyn Fn(&Placeholder) -> Option<String>) -> Result<String, RenderError> {
        let mut rendered = String::with_capacity(self.0.len());
        for piece in pieces(&self.0) {
            match piece? {
                Piece::Text(text) => rendered.push_str(text),
                Piece::Placeholder(placeholder, _) => {
                    rendered.push_str(&value(&placeholder).ok_or(RenderError::NoValue(placeholder))?);
                }
            }
        }
        Ok(rendered)
    }

    /// Like [`Template::render`], and `$NAME` in the template's own text (not in values) becomes `env(NAME)`.
    pub fn render_argument(
        &self,
        value: &dyn Fn(&Placeholder) -> Option<String>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<String, RenderError> {
        let mut rendered = String::with_capacity(self.0.len());
        for piece in pieces(&self.0) {
            match piece? {
                Piece::Text(text) => rendered.push_str(&crate::expand::expand(text, env)?),
                Piece::Placeholder(placeholder, _) => {
                    rendered.push_str(&value(&placeholder).ok_or(RenderError::NoValue(placeholder))?);
                }
            }
        }
        Ok(rendered)
    }
}

/// Goes on after an error, so that all of them can be told.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = Result<Piece<'_>, TemplateError>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &text[at..];
        if rest.is_empty() {
            return None;
        }
        let start = at;
        let Some(inner) = rest.strip_prefix("{{") else {
            at += rest.find("{{").unwrap_or(rest.len());
            return Some(Ok(Piece::Text(&text[start..at])));
        };
        if inner.starts_with("{{") {
            at += 4;
            return Some(Ok(Piece::Text("{{")));
        }
        // A placeholder ends on its line: otherwise one forgotten brace would swallow the file.
        let line = inner.lines().next().unwrap_or_default();
        let Some(length) = line.find("}}") else {
            at += 2;
            return Some(Err(TemplateError {
                kind: TemplateErrorKind::Unclosed,
                range: start..at,
            }));
        };
        at += length + 4;
        let name = line[..length].trim();
        Some(match Placeholder::parse(name) {
            Some(placeholder) => Ok(Piece::Placeholder(placeholder, start..at)),
            None => {
                let kind = TemplateErrorKind::Unknown(name.to_owned());
                Err(TemplateError {
                    kind,
                    range: start..at,
                })
            }
        })
    })
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
