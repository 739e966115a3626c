//! What reaches what: functions and relations by the words in their texts, and what each leaves in a session with all that it reaches.

use super::body::Body;
use super::leaves::{is_nothing, perhaps};
use super::rows::{FunctionKind, Volatility};
use super::{Catalog, FIRST_USER_OID, Function, Relation, built_in};
use crate::session::code;
use crate::session::marks::Marks;
use crate::session::scan::Scan;

/// What a text may reach by the words in it: functions, then relations, by their places in the catalog.
pub(super) fn reached(catalog: &Catalog, body: &Body) -> Vec<usize> {
    let functions = catalog.functions.len();
    let operators = catalog.reachable_operators(body);
    let mut found: Vec<usize> = catalog.reachable_functions(body).collect();
    found.extend(operators.filter_map(|oid| catalog.function_of.get(&oid)));
    found.extend(
        catalog
            .reachable_relations(body)
            .map(|relation| functions + relation),
    );
    found
}

/// What reaches what; places as in [`reached`].
pub(super) struct Graph {
    own: Vec<Scan>,
    edges: Vec<Vec<usize>>,
}

impl Graph {
    pub(super) fn of(catalog: &Catalog) -> Self {
        let count = catalog.functions.len() + catalog.relations.len();
        let mut graph = Self {
            own: vec![Scan::default(); count],
            edges: vec![Vec::new(); count],
        };
        let mut reach_all = Vec::new();
        for (at, function) in catalog.functions.iter().enumerate() {
            if function.row.oid >= FIRST_USER_OID && graph.function(catalog, at, function) {
                reach_all.push(at);
            }
        }
        for (at, relation) in catalog.relations.iter().enumerate() {
            if relation.row.oid >= FIRST_USER_OID {
                graph.relation(catalog, at, relation);
            }
        }
        let mut all = Scan::default();
        for left in &graph.own {
            all.absorb(&perhaps(left));
        }
        for at in reach_all {
            graph.own[at].absorb(&all);
        }
        graph
    }

    /// Nothing of it leaves anything.
    pub(super) fn is_empty(&self) -> bool {
        self.own.iter().all(is_nothing)
    }

    /// Whether it may reach anything there is.
    fn function(&mut self, catalog: &Catalog, at: usize, function: &Function) -> bool {
        let row = &function.row;
        match (row.kind, &*row.language) {
            (FunctionKind::Aggregate, _) => {
                let parts = row.parts.iter().filter_map(|oid| catalog.function_of.get(oid));
                self.edges[at].extend(parts);
            }
            (_, "sql" | "plpgsql") => {
                let code = code::of(&row.body);
                if let Some(body) = &function.body {
                    self.edges[at].extend(reached(catalog, body));
                }
                for sql in &code.assembled {
                    self.edges[at].extend(reached(catalog, &Body::of(sql)));
                }
                self.own[at] = code.scan;
                return code.reaches_all;
            }
            (_, "c" | "internal") => {
                let volatile = row.volatility == Volatility::Volatile;
                if volatile && !built_in::library_leaves_nothing(&row.library, &row.name) {
                    self.own[at].doubt(Marks::HIDDEN);
                }
            }
            _ => self.own[at] = code::of_other_language(&row.body),
        }
        false
    }

    fn relation(&mut self, catalog: &Catalog, at: usize, relation: &Relation) {
        let functions = catalog.functions.len();
        let triggers = relation.triggers.iter();
        let triggers = triggers.filter_map(|oid| catalog.function_of.get(oid));
        let mut edges: Vec<usize> = triggers.copied().collect();
        edges.extend(relation.children.iter().map(|child| functions + child));
        let referrers = relation.referrers.iter();
        edges.extend(referrers.map(|referrer| functions + referrer.from));
        for expression in &relation.expressions {
            edges.extend(reached(catalog, &Body::of(&expression.text)));
        }
        if let Some(query) = &relation.row.view {
            edges.extend(reached(catalog, &Body::of(query)));
        }
        self.edges[functions + at] = edges;
        if relation.row.rewritten && relation.row.view.is_none() {
            // What its rules do is not read.
            self.own[functions + at].doubt(Marks::HIDDEN);
        }
    }

    /// With what each reaches.
    pub(super) fn closed(&self) -> Vec<Scan> {
        let mut found = self.own.clone();
        loop {
            let mut changed = false;
            for at in 0..found.len() {
                for reached in self.edges[at].iter().filter(|reached| **reached != at) {
                    if !is_nothing(&found[*reached]) {
                        let more = found[*reached].clone();
                        changed |= found[at].absorb(&more);
                    }
                }
            }
            if !changed {
                return found;
            }
        }
    }
}
