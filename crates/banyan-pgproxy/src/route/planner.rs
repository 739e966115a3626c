//! Text to plan, by template. One per worker: no lock, and a known statement costs one pass over its text and a look-up.

use std::collections::HashMap;
use std::sync::Arc;

use super::plan::Plan;
use crate::catalog::{Catalog, Reason};
use crate::parse::{Doubt, Grammar, Hint, template};
use crate::route::Why;

/// Templates kept. At the bound all are forgotten: the ones in use come back at one parse each.
const CAPACITY: usize = 4_096;
/// Bytes of a template; longer ones are parsed each time.
const MAX_KEY: usize = 8 * 1024;

#[derive(Debug)]
pub struct Planner<G> {
    grammar: G,
    catalog: Option<Arc<Catalog>>,
    plans: HashMap<Box<[u8]>, Arc<Plan>>,
    key: Vec<u8>,
    misses: u64,
}

impl<G: Grammar> Planner<G> {
    pub fn new(grammar: G) -> Self {
        Self {
            grammar,
            catalog: None,
            plans: HashMap::new(),
            key: Vec::new(),
            misses: 0,
        }
    }

    /// A newer generation, or None while definitions are being read again. Plans of older generations are forgotten.
    pub fn follow(&mut self, catalog: Option<Arc<Catalog>>) {
        let same = match (&catalog, &self.catalog) {
            (Some(new), Some(known)) => Arc::ptr_eq(new, known),
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.plans.clear();
            self.catalog = catalog;
        }
    }

    pub fn catalog(&self) -> Option<&Arc<Catalog>> {
        self.catalog.as_ref()
    }

    /// Texts that had to be parsed.
    pub fn misses(&self) -> u64 {
        self.misses
    }

    /// `text` as it came; the session must be lexable.
    pub fn plan(&mut self, text: &[u8]) -> Arc<Plan> {
        let generation = self.catalog.as_deref().map_or(0, Catalog::generation);
        let Ok(template) = template::write(text, &mut self.key) else {
            return Arc::new(Plan::doubtful(text, Doubt::NotParsed, generation));
        };
        hint_into_key(template.hint, &mut self.key);
        if let Some(plan) = self.plans.get(self.key.as_slice()) {
            return plan.clone();
        }
        self.misses += 1;
        let plan = Arc::new(self.parse(text, template.hint, generation));
        if self.key.len() <= MAX_KEY && !is_unknown(&plan) {
            if self.plans.len() >= CAPACITY {
                self.plans.clear();
            }
            self.plans.insert(self.key.as_slice().into(), plan.clone());
        }
        plan
    }

    fn parse(&self, text: &[u8], hint: Option<Hint>, generation: u64) -> Plan {
        let parsed = std::str::from_utf8(text)
            .map_err(|_| Doubt::NotParsed)
            .and_then(|text| self.grammar.parse(text));
        match parsed {
            Ok(statements) => Plan::of(&statements, self.catalog.as_deref(), hint),
            Err(doubt) => Plan::doubtful(text, doubt, generation),
        }
    }
}

fn hint_into_key(hint: Option<Hint>, key: &mut Vec<u8>) {
    match hint {
        None => {}
        Some(Hint::Off) => key.extend_from_slice(b"\0off"),
        Some(Hint::Primary) => key.extend_from_slice(b"\0primary"),
        Some(Hint::Index) => key.extend_from_slice(b"\0index"),
    }
}

/// Not kept: the next refresh may know the name, and until then garbage would fill the cache.
fn is_unknown(plan: &Plan) -> bool {
    matches!(&plan.read, Err(Why::NotProven(reason)) if Reason::is_unknown_name(reason))
}
