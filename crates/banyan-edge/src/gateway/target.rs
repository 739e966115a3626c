//! Targets of requests that the edge makes itself: a text with places for what the client asked for. Pure.

use regex::Regex;

/// `/users/{id}{query}`, taken apart.
#[derive(Debug)]
pub(crate) struct Target(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(String),
    Path,
    Rest,
    Query,
    /// Of the route's regular expression.
    Capture(String),
}

/// What a client asked for.
pub(crate) struct Asked<'a> {
    /// As received.
    pub path: &'a str,
    /// Decoded.
    pub decoded: &'a str,
    /// Of `path`: what is behind the route's prefix.
    pub rest: &'a str,
    pub query: Option<&'a str>,
    pub regex: Option<&'a Regex>,
}

impl Target {
    /// What the configuration has checked; a brace without its other half is text.
    pub(crate) fn new(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, name, after)) = next_place(rest) {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(match name {
                "path" => Piece::Path,
                "rest" => Piece::Rest,
                "query" => Piece::Query,
                name => Piece::Capture(name.to_owned()),
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Self(pieces)
    }

    /// `None`: it would not be one plain path, whatever the client tried with that.
    pub(crate) fn fill(&self, asked: &Asked<'_>) -> Option<String> {
        let captures = asked.regex.and_then(|regex| regex.captures(asked.decoded));
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Path => out.push_str(asked.path),
                Piece::Rest => out.push_str(asked.rest),
                Piece::Query => {
                    if let Some(query) = asked.query {
                        out.push(if out.contains('?') { '&' } else { '?' });
                        out.push_str(query);
                    }
                }
                Piece::Capture(name) => {
                    let found = captures.as_ref().and_then(|found| found.name(name));
                    encode(found.map_or("", |found| found.as_str()), &mut out);
                }
            }
        }
        let path = out.split('?').next().unwrap_or_default();
        let plain = path.starts_with('/') && crate::route::decode(path).is_some();
        plain.then_some(out)
    }
}

fn next_place(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}

/// All but letters, digits, `-._~` and the slashes that were slashes (RFC 3986 §2.3).
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_and_nothing_leads_elsewhere() {
        let regex = Regex::new("^/u/(?P<id>[^/]+)(/(?P<more>.*))?$").unwrap();
        let fill = |target: &str, decoded: &str, query: Option<&str>| {
            Target::new(target).fill(&Asked {
                path: "/u/a%20b",
                decoded,
                rest: "/a%20b",
                query,
                regex: Some(&regex),
            })
        };
        for (target, decoded, query, expected) in [
            ("/users/{id}", "/u/a b?&#", None, Some("/users/a%20b%3F%26%23")),
            (
                "/users/{id}/x{query}",
                "/u/7",
                Some("a=1&b=%20"),
                Some("/users/7/x?a=1&b=%20"),
            ),
            (
                "/users?id={id}{query}",
                "/u/7",
                Some("a=1"),
                Some("/users?id=7&a=1"),
            ),
            ("/users/{id}{query}", "/u/7", None, Some("/users/7")),
            ("{path}", "/u/7", None, Some("/u/a%20b")),
            ("/api{rest}", "/u/7", None, Some("/api/a%20b")),
            ("/x/{more}", "/u/7/a/b", None, Some("/x/a/b")),
            ("/x/{more}", "/u/7", None, Some("/x/")),
            ("/users/{id}/private", "/u/..", None, None),
            ("/users/{id}", "/u/.", None, None),
            ("/users/{more}", "/u/7/../admin", None, None),
            ("/{more}", "/u/7//evil", None, None),
            ("{more}", "/u/7", None, None),
        ] {
            assert_eq!(
                fill(target, decoded, query).as_deref(),
                expected,
                "{target} of {decoded}"
            );
        }
    }
}
