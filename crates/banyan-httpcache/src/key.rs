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

/// By any of the names that an app may read in it: it decodes them, may take `;` for `&`, and `page[]` for `page`. What counts
/// too much only has a place of its own; what counts too little decides what others get.
fn counts(pair: &str, names: &[String]) -> bool {
    pair.split(';').any(|part| {
        let name = part.split('=').next().unwrap_or_default();
        let name = decoded(name);
        let name = name.split(|byte| *byte == b'[').next().unwrap_or_default();
        names.iter().any(|known| known.as_bytes() == name)
    })
}

/// Escapes as what they stand for; what is none stays.
pub(crate) fn decoded(name: &str) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut rest = name.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (first, digit(behind.first()), digit(behind.get(1))) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high << 4 | low) as u8);
                rest = &behind[2..];
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

fn counted(query: &str, rule: &Query) -> Option<String> {
    match rule {
        Query::All => Some(query.to_owned()),
        Query::None => None,
        Query::Only(names) => {
            let kept: Vec<&str> = query.split('&').filter(|pair| counts(pair, names)).collect();
            (!kept.is_empty()).then(|| kept.join("&"))
        }
    }
}
