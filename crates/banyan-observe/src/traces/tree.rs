//! The spans of a trace as a tree, and what took its time. Pure.

use std::collections::{BTreeMap, BTreeSet};

use banyan_telemetry::span::{Span, SpanId, TraceId};
use serde::Serialize;

/// A step that takes this share of the one around it is where its time went.
const MOST: f64 = 0.5;

/// A whole trace, as far as it is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tree {
    pub trace: TraceId,
    pub start_us: u64,
    pub took_us: u64,
    pub failed: bool,
    /// Steps whose parent is not known, the earliest first: one, where everybody told of theirs.
    pub roots: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    #[serde(flatten)]
    pub span: Span,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    pub children: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Most of the time of the one around it went here, and most of its own further in.
    Slow,
    /// Here most of the time went, or the failure began.
    RootCause,
}

impl Tree {
    /// `None` of nothing. A span that came twice counts once; one whose ancestors lead back to itself is a root.
    pub fn of(spans: impl IntoIterator<Item = Span>) -> Option<Self> {
        let mut all: BTreeMap<SpanId, Span> = BTreeMap::new();
        for span in spans {
            all.entry(span.id).or_insert(span);
        }
        let trace = all.values().next()?.trace;
        let start_us = all.values().map(|span| span.start_us).min()?;
        let mut children: BTreeMap<SpanId, Vec<SpanId>> = BTreeMap::new();
        let mut roots = Vec::new();
        for span in all.values() {
            match span
                .parent
                .filter(|parent| all.contains_key(parent) && !leads_back(&all, span.id))
            {
                Some(parent) => children.entry(parent).or_default().push(span.id),
                None => roots.push(span.id),
            }
        }
        let mut roots = steps(&mut all, &children, roots);
        // What a client waited for: the longest of those that nobody is around.
        let longest = roots.iter().map(|root| root.span.took_us).max()?;
        if let Some(root) = roots.iter_mut().find(|root| root.span.took_us == longest) {
            root.blame();
        }
        Some(Self {
            trace,
            start_us,
            took_us: longest,
            failed: roots.iter().any(|root| root.span.failed),
            roots,
        })
    }

    /// The step that is to blame, and the way to it.
    pub fn root_cause(&self) -> Option<&Step> {
        self.roots.iter().find_map(Step::root_cause)
    }
}

fn leads_back(all: &BTreeMap<SpanId, Span>, from: SpanId) -> bool {
    let mut seen = BTreeSet::new();
    let mut at = from;
    while let Some(parent) = all.get(&at).and_then(|span| span.parent) {
        if parent == from {
            return true;
        }
        if !seen.insert(parent) {
            return false;
        }
        at = parent;
    }
    false
}

fn steps(
    all: &mut BTreeMap<SpanId, Span>,
    children: &BTreeMap<SpanId, Vec<SpanId>>,
    ids: Vec<SpanId>,
) -> Vec<Step> {
    let mut found: Vec<Step> = ids
        .into_iter()
        .filter_map(|id| {
            let span = all.remove(&id)?;
            let inner = children.get(&id).cloned().unwrap_or_default();
            Some(Step {
                children: steps(all, children, inner),
                span,
                mark: None,
            })
        })
        .collect();
    found.sort_by_key(|step| (step.span.start_us, step.span.id));
    found
}

impl Step {
    /// Marks the way to what took most of the time, or where a failure came from.
    fn blame(&mut self) {
        let (took, failed) = (self.span.took_us, self.span.failed);
        #[expect(clippy::cast_precision_loss, reason = "a share of a time")]
        let most = |inner: u64| inner as f64 >= took as f64 * MOST && inner > 0;
        // A failure inside of what went well was dealt with.
        let fatal = |child: &Self| failed && child.span.failed;
        let guilty = self
            .children
            .iter_mut()
            .filter(|child| fatal(child) || most(child.span.took_us))
            .max_by_key(|child| (fatal(child), child.span.took_us));
        match guilty {
            Some(child) => {
                child.mark = Some(Mark::Slow);
                child.blame();
            }
            None => self.mark = Some(Mark::RootCause),
        }
    }

    fn root_cause(&self) -> Option<&Self> {
        if self.mark == Some(Mark::RootCause) {
            return Some(self);
        }
        self.children.iter().find_map(Self::root_cause)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn span(id: u64, parent: u64, name: &str, start_ms: u64, took_ms: u64) -> Span {
        Span {
            trace: TraceId(0xabc123),
            id: SpanId(id),
            parent: (parent > 0).then_some(SpanId(parent)),
            who: name.split(' ').next().unwrap_or_default().to_lowercase(),
            name: name.to_owned(),
            start_us: 1_705_314_645_123_000 + start_ms * 1000,
            took_us: took_ms * 1000,
            failed: false,
            keep: false,
            fields: BTreeMap::new(),
        }
    }

    /// The specification's example: 450 ms, of which a payment provider takes 320.
    pub(crate) fn example() -> Vec<Span> {
        vec![
            span(1, 0, "POST /checkout", 0, 450),
            span(2, 1, "API Gateway", 0, 2),
            span(3, 1, "Auth Service", 2, 15),
            span(4, 1, "User Service", 17, 50),
            span(5, 4, "Database query", 20, 45),
            span(6, 1, "Payment Service", 67, 350),
            span(7, 6, "Stripe API call", 70, 320),
            span(8, 6, "Database write", 391, 25),
            span(9, 1, "Response", 442, 8),
        ]
    }

    #[test]
    fn the_way_to_what_took_the_time_is_marked() {
        let tree = Tree::of(example()).unwrap();
        assert_eq!((tree.roots.len(), tree.took_us), (1, 450_000));
        let names: Vec<&str> = tree.roots[0]
            .children
            .iter()
            .map(|step| step.span.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "API Gateway",
                "Auth Service",
                "User Service",
                "Payment Service",
                "Response"
            ]
        );
        assert_eq!(tree.roots[0].children[3].mark, Some(Mark::Slow));
        assert_eq!(tree.root_cause().unwrap().span.name, "Stripe API call");
    }

    #[test]
    fn a_failure_is_followed_to_where_it_began() {
        let mut spans = example();
        for id in [0, 3, 4] {
            spans[id].failed = true;
        }
        let tree = Tree::of(spans).unwrap();
        assert!(tree.failed);
        assert_eq!(tree.root_cause().unwrap().span.name, "Database query");
    }

    #[test]
    fn what_takes_its_time_itself_is_its_own_cause() {
        let tree = Tree::of([span(1, 0, "GET /", 0, 100), span(2, 1, "query", 1, 20)]).unwrap();
        assert_eq!(tree.root_cause().unwrap().span.name, "GET /");
        assert_eq!(Tree::of([]), None);
    }

    fn count(steps: &[Step]) -> usize {
        steps.iter().map(|step| 1 + count(&step.children)).sum()
    }

    proptest! {
        #[test]
        fn whatever_parents_are_said_each_span_is_there_once(
            all in prop::collection::vec((1_u64..12, 0_u64..12, 0_u64..1000), 1..12)
        ) {
            let spans: Vec<Span> = all.iter().map(|(id, parent, took)| span(*id, *parent, "x", 0, *took)).collect();
            let ids: BTreeSet<u64> = all.iter().map(|(id, ..)| *id).collect();
            let tree = Tree::of(spans).unwrap();
            prop_assert_eq!(count(&tree.roots), ids.len());
        }
    }
}
