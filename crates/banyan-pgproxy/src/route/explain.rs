//! The answer to EXPLAIN ROUTE.

use std::fmt;

use super::{Freshness, Plan, Route, Target, Why};
use crate::catalog::{Catalog, Reason, Tables};

/// (name, value) rows, in order.
pub fn explain(plan: &Plan, route: &Route, catalog: Option<&Catalog>) -> Vec<(&'static str, String)> {
    let mut rows = vec![("class", class(plan).to_owned())];
    match &route.target {
        Target::Replica { tables, freshness } => {
            rows.push(("reads", tables_text(tables, catalog)));
            rows.push(("freshness", freshness.to_string()));
            rows.push((
                "node",
                "a replica that is fresh enough, else the primary".to_owned(),
            ));
        }
        Target::Primary(why) => {
            rows.push(("node", "the primary".to_owned()));
            rows.push(("because", why.to_string()));
        }
    }
    if !route.effect.is_none() {
        rows.push(("may change", tables_text(&route.effect.tables, catalog)));
    }
    if route.effect.definitions {
        rows.push((
            "definitions",
            "may change: the catalog is read again after it".to_owned(),
        ));
    }
    rows
}

fn class(plan: &Plan) -> &'static str {
    match &plan.read {
        Ok(_) => "proven read",
        Err(Why::Control) => "transaction control",
        Err(Why::NotProven(Reason::Doubt(_))) => "not understood",
        Err(_) if plan.effect.is_none() => "not a proven read",
        Err(_) => "write",
    }
}

fn tables_text(tables: &Tables, catalog: Option<&Catalog>) -> String {
    let Tables::Some(tables) = tables else {
        return "all tables".to_owned();
    };
    let name = |table: &crate::catalog::TableId| {
        let known = catalog.and_then(|catalog| catalog.table_name(*table));
        known.map_or_else(|| table.oid().to_string(), |name| name.to_string())
    };
    let names: Vec<String> = tables.iter().map(name).collect();
    if names.is_empty() {
        "no table".to_owned()
    } else {
        names.join(", ")
    }
}

impl fmt::Display for Freshness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index => write!(out, "index: all that was committed before it arrived"),
            Self::Tables => write!(out, "fresh: all that was acknowledged on these tables"),
            Self::Session => write!(out, "session: all that this client wrote or saw"),
            Self::Bounded(lag) => write!(out, "bounded: at most {lag:?} behind"),
            Self::Off => write!(out, "off"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotProven(reason) => write!(out, "{reason}"),
            Self::InTransaction => write!(out, "inside a transaction"),
            Self::Pinned => write!(out, "the session keeps its backend"),
            Self::NotLexable => write!(
                out,
                "client_encoding or standard_conforming_strings makes the text ambiguous"
            ),
            Self::NoCatalog => write!(out, "definitions are being read"),
            Self::Configured => write!(out, "reads = \"primary\""),
            Self::Hint => write!(out, "its hint says so"),
            Self::Control => write!(out, "transaction control, or nothing to run"),
            Self::Messages => write!(out, "its messages need answers before Sync, or are no queries"),
        }
    }
}
