//! `[auth.NAME]` as the edge reads it. Paths, never what is in the files.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::duration;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    pub by: AuthBy,
    /// In lower case; tells instances the name of the user or key.
    pub user_header: String,
    /// Whether instances get the credentials, too.
    pub forward: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthBy {
    /// Bearer tokens (RFC 6750, RFC 7519).
    Jwt(Box<Jwt>),
    Keys {
        /// As written, relative to banyan.toml; absolute once it is in a topology.
        file: PathBuf,
        /// In lower case.
        header: String,
    },
    /// Signed links, which name nobody.
    Links {
        /// As for `Keys`.
        file: PathBuf,
    },
    /// Basic (RFC 7617).
    Users {
        /// As for `Keys`.
        file: PathBuf,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwt {
    pub keys: JwtKeys,
    /// Names of RFC 7518 §3.1 and RFC 8037; at least one.
    pub algorithms: Vec<String>,
    pub issuer: Option<String>,
    /// Empty: not asked.
    pub audience: Vec<String>,
    #[serde(with = "duration")]
    pub leeway: Duration,
    /// By path of the claim: the value that it must have or contain.
    pub require: BTreeMap<String, String>,
    /// By header in lower case: the path of the claim that fills it.
    pub claims: BTreeMap<String, String>,
    /// The claim that names the user.
    pub user: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JwtKeys {
    File(PathBuf),
    Url {
        url: String,
        #[serde(with = "duration")]
        refresh: Duration,
        /// `None`: those of the system.
        ca: Option<PathBuf>,
    },
}

impl Auth {
    /// The files that it names.
    pub fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let path = match &mut self.by {
            AuthBy::Keys { file, .. } | AuthBy::Users { file } | AuthBy::Links { file } => Some(file),
            AuthBy::Jwt(jwt) => match &mut jwt.keys {
                JwtKeys::File(file) => Some(file),
                JwtKeys::Url { ca, .. } => ca.as_mut(),
            },
        };
        path.into_iter()
    }
}

impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.by {
            AuthBy::Jwt(jwt) => write!(f, "token signed by {}", jwt.keys),
            AuthBy::Keys { header, .. } => write!(f, "API key in {header}"),
            AuthBy::Users { .. } => f.write_str("user and password"),
            AuthBy::Links { .. } => f.write_str("signed link"),
        }
    }
}

impl fmt::Display for JwtKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "keys of {}", path.display()),
            Self::Url { url, .. } => write!(f, "keys of {url}"),
        }
    }
}
