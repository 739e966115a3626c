//! Why a request takes the route it takes: every candidate, in the order in which they are asked.

use serde::Serialize;

use super::matcher::{Asked, Decision, Mismatch, Seen, Table};

/// The answer of `banyan route explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The route that answers; `None`: no route does.
    pub route: Option<String>,
    /// Two readers could read the path differently; only routes with `as_received` may take it.
    pub ambiguous: bool,
    pub candidates: Vec<Candidate>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    pub route: String,
    pub domain: Option<String>,
    pub fate: Fate,
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    Wins,
    /// It matches too, and stands behind the winner.
    Loses,
    DoesNotMatch,
}

impl Table {
    pub fn explain(&self, asked: &Asked<'_>) -> Explained {
        let seen = Seen::new(asked);
        let decision = self.decide(asked);
        let winner = self
            .entries()
            .iter()
            .find(|entry| entry.mismatch(self.route(entry.route), &seen).is_none());
        let candidate = |entry: &super::matcher::Entry| {
            let route = self.route(entry.route);
            let (fate, why) = match (entry.mismatch(route, &seen), winner) {
                (Some(mismatch), _) => (Fate::DoesNotMatch, words(&mismatch, asked)),
                (None, Some(first)) if std::ptr::eq(first, entry) => {
                    (Fate::Wins, "everything that it asks for holds".to_owned())
                }
                (None, Some(first)) => {
                    let name = &self.route(first.route).name;
                    let why = first.rank.why_before(entry.rank);
                    (Fate::Loses, format!("`{name}` comes first: {why}"))
                }
                (None, None) => (Fate::Loses, String::new()),
            };
            Candidate {
                route: route.name.clone(),
                domain: entry.domain().map(str::to_owned),
                fate,
                why,
            }
        };
        Explained {
            route: match decision {
                Decision::Route(index) => Some(self.route(index).name.clone()),
                Decision::Default | Decision::Ambiguous => None,
            },
            ambiguous: seen.is_ambiguous(),
            candidates: self.entries().iter().map(candidate).collect(),
        }
    }
}

fn words(mismatch: &Mismatch, asked: &Asked<'_>) -> String {
    match mismatch {
        Mismatch::Domain => format!("its domain is not {}", super::matcher::name_of(asked.host)),
        Mismatch::Method => format!("it does not take {}", asked.method),
        Mismatch::Ambiguous => "the path is ambiguous and it has no as_received = true".to_owned(),
        Mismatch::Path => "its path is another".to_owned(),
        Mismatch::Header(name) => format!("header {name} is missing or another"),
        Mismatch::Cookie(name) => format!("cookie {name} is missing or another"),
        Mismatch::Query(name) => format!("query parameter {name} is missing or another"),
    }
}
