//! The one total order of routes: the more specific one first.
//!
//! 1. domain: a whole name, then `*.` names (more labels first), then any;
//! 2. path: exact, then regex, then prefix (longer first), then any;
//! 3. the number of other conditions (methods, headers, cookies, query parameters);
//! 4. the order in the file.

use std::cmp::Reverse;

use banyan_config::{PathMatch, RouteMatch};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    domain: Reverse<(u8, usize)>,
    path: Reverse<(u8, usize)>,
    conditions: Reverse<usize>,
    position: usize,
}

impl Rank {
    pub(super) fn of(when: &RouteMatch, domain: Option<&str>, position: usize) -> Self {
        let domain = match domain {
            None => (0, 0),
            Some(name) if name.starts_with("*.") => (1, name.split('.').count()),
            Some(_) => (2, 0),
        };
        let path = match &when.path {
            PathMatch::Any => (0, 0),
            PathMatch::Prefix(prefix) => (1, prefix.len()),
            PathMatch::Regex(_) => (2, 0),
            PathMatch::Exact(_) => (3, 0),
        };
        Self {
            domain: Reverse(domain),
            path: Reverse(path),
            conditions: Reverse(conditions(when)),
            position,
        }
    }

    /// In what the first differs from the second, in words for the second.
    pub(super) fn why_before(self, other: Self) -> &'static str {
        if self.domain != other.domain {
            "its domain is more specific"
        } else if self.path != other.path {
            match self.path.0.0 {
                3 => "its path is exact",
                2 => "a regex comes before a prefix",
                _ => "its prefix is longer",
            }
        } else if self.conditions != other.conditions {
            "it has more conditions"
        } else {
            "it comes first in the file"
        }
    }
}

fn conditions(when: &RouteMatch) -> usize {
    usize::from(!when.methods.is_empty()) + when.headers.len() + when.cookies.len() + when.query.len()
}
