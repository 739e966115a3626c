//! Under which name a response is stored: scheme, host, port, path and query as they were sent (RFC 9111 §2).
//!
//! Never a header that is neither here nor in `Vary`: that is how caches are poisoned.

use std::fmt;

/// Which of the query's parameters count.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Query {
    /// As it was sent.
    #[default]
    All,
    /// None: `?v=2` is the same resource.
    None,
    /// These, in the order they were sent.
    Only(Vec<String>),
}

/// A normalised absolute URI, and what a rule adds.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Key(String);

impl Key {
    /// `authority` may carry a port; the scheme's own port is the same as none. `extras` are a rule's own parts, such as
    /// a picture's width.
    pub fn new(
        scheme: &str,
        authority: &str,
        path: &str,
        query: Option<&str>,
        rule: &Query,
        extras: &[&str],
    ) -> Self {
        let scheme = scheme.to_ascii_lowercase();
        let authority = authority.to_ascii_lowercase();
        let own = match scheme.as_str() {
            "https" => ":443",
            _ => ":80",
        };
        let authority = authority.strip_suffix(own).unwrap_or(&authority);
        let path = if path.is_empty() { "/" } else { path };
        let mut key = format!("{scheme}://{authority}{path}");
        if let Some(query) = query.and_then(|query| counted(query, rule)) {
            key.push('?');
            key.push_str(&query);
        }
        for extra in extras {
            // No URI contains a line feed: extras cannot be forged by a path.
            key.push('\n');
            key.push_str(extra);
        }
        Self(key)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URI without a rule's extras: what a purge by URL names.
    pub fn uri(&self) -> &str {
        self.0.split('\n').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri())
    }
}

fn counted(query: &str, rule: &Query) -> Option<String> {
    match rule {
        Query::All => Some(query.to_owned()),
        Query::None => None,
        Query::Only(names) => {
            let counts = |pair: &&str| {
                let name = pair.split('=').next().unwrap_or_default();
                names.iter().any(|known| known == name)
            };
            let kept: Vec<&str> = query.split('&').filter(counts).collect();
            (!kept.is_empty()).then(|| kept.join("&"))
        }
    }
}
