//! Traces for the dashboard: `/api/traces` (with `?failed`, `?slow`), and `/api/trace/ID` where ID may be the beginning of one.
//! Blocking. A list looks at the newest 8 MiB: pages ask for it every few seconds.

use std::cmp::Reverse;
use std::io;
use std::path::Path;

use banyan_telemetry::span::TraceId;
use serde::Serialize;
use serde_json::Value;

use super::store;
use super::tree::Tree;

/// Of a list.
const LISTED: usize = 100;
const LOOKED_AT: u64 = 8 << 20;

/// A line of a list.
#[derive(Debug, PartialEq, Serialize)]
pub struct Summary {
    pub trace: TraceId,
    pub start_us: u64,
    pub took_us: u64,
    pub failed: bool,
    /// What its first step did.
    pub name: String,
    /// What is to blame.
    pub root_cause: Option<String>,
}

impl Summary {
    pub fn of(tree: &Tree) -> Self {
        let first = tree.roots.first();
        let cause = tree.root_cause();
        Self {
            trace: tree.trace,
            start_us: tree.start_us,
            took_us: tree.took_us,
            failed: tree.failed,
            name: first.map_or_else(String::new, |root| root.span.name.clone()),
            root_cause: cause.map(|step| step.span.name.clone()),
        }
    }
}

/// Which traces a list has, and in which order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Unix microseconds.
    pub since_us: u64,
    pub failed: bool,
    /// The longest first; else the newest.
    pub slow: bool,
    pub most: usize,
}

pub fn list(folder: &Path, wanted: Wanted) -> io::Result<Vec<Tree>> {
    let found = store::read(folder, wanted.since_us, |span| span.start_us >= wanted.since_us)?;
    let mut trees: Vec<Tree> = found.into_values().filter_map(Tree::of).collect();
    trees.retain(|tree| !wanted.failed || tree.failed);
    trees.sort_by_key(|tree| Reverse(if wanted.slow { tree.took_us } else { tree.start_us }));
    trees.truncate(wanted.most);
    Ok(trees)
}

/// `None`: there is no such thing.
pub(crate) fn answer(folder: &Path, path: &str, query: &str) -> io::Result<Option<Value>> {
    if path == "/api/traces" {
        let asked = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
        let wanted = Wanted {
            since_us: store::recent(folder, LOOKED_AT)?,
            failed: asked("failed"),
            slow: asked("slow"),
            most: LISTED,
        };
        let all: Vec<Summary> = list(folder, wanted)?.iter().map(Summary::of).collect();
        return Ok(Some(serde_json::to_value(all)?));
    }
    let Some(id) = path.strip_prefix("/api/trace/").filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    let mut found = store::find(folder, id)?.into_values();
    let tree = match (found.next().and_then(Tree::of), found.next()) {
        (Some(tree), None) => tree,
        _ => return Ok(None),
    };
    Ok(Some(serde_json::to_value(tree)?))
}

#[cfg(test)]
mod tests {
    use super::super::store::Store;
    use super::super::tree::tests::example;
    use super::*;

    #[test]
    fn a_page_gets_a_list_and_a_tree() {
        let folder = tempfile::tempdir().unwrap();
        let said = |path: &str, query: &str| answer(folder.path(), path, query).unwrap();
        Store::new(folder.path().to_owned()).write(&example(), 5).unwrap();
        let list = said("/api/traces", "slow").unwrap();
        assert_eq!(list[0]["took_us"], 450_000);
        assert_eq!(list[0]["root_cause"], "Stripe API call");
        assert_eq!(said("/api/traces", "failed=1"), Some(Value::Array(Vec::new())));
        let tree = said("/api/trace/00000000000000000000000000abc123", "").unwrap();
        assert_eq!(tree["roots"][0]["children"][3]["mark"], "slow");
        assert_eq!(
            tree["roots"][0]["children"][3]["children"][0]["mark"],
            "root_cause"
        );
        assert_eq!(said("/api/trace/ff", ""), None);
        assert_eq!(said("/api/trace/", ""), None);
    }
}
