//! What names mean: which statements are proven reads, and which tables a write may change.
//!
//! - [`rows`] are what the system catalogs hold, as plain values; [`load`] fetches them over one control connection, in one
//!   snapshot. [`Catalog::build`] makes a catalog of them, purely.
//! - [`read`] proves: a statement is a read only if everything it can reach is known to be one.
//! - [`effect`] bounds: the tables that a statement may change, or all of them when that cannot be known.
//!
//! Names are not resolved by `search_path`: all relations, functions and operators of a name count, whatever their schema. That errs to
//! the safe side both ways (more must be proven, more is changed) and makes a route independent of the session's settings.
//!
//! Not seen here, by design: what a C function does beyond its label, and definitions changed by others than this proxy before the
//! next refresh.

pub mod body;
mod built_in;
pub mod effect;
pub(crate) mod leaves;
pub mod load;
mod reach;
pub mod read;
pub(crate) mod refresh;
pub mod rows;
mod tables;
mod worklist;

use std::collections::HashMap;
use std::sync::Arc;

pub use effect::Effect;
pub use read::Reason;
pub use rows::Rows;
pub use tables::{TableId, Tables};

use self::body::Body;
use self::leaves::Leaves;
use self::rows::{FunctionRow, RelationRow};
use crate::parse::{Grammar, Name, StatementFacts};

/// The first oid that is not PostgreSQL's own (`FirstNormalObjectId`).
pub const FIRST_USER_OID: u32 = 16_384;

/// One generation of a database's definitions. Immutable; a change makes a new one.
#[derive(Debug)]
pub struct Catalog {
    generation: u64,
    functions: Vec<Function>,
    function_of: HashMap<u32, usize>,
    function_names: HashMap<Box<str>, Vec<usize>>,
    operators: HashMap<Box<str>, Vec<Operator>>,
    relations: Vec<Relation>,
    relation_of: HashMap<u32, usize>,
    relation_names: HashMap<Box<str>, Vec<usize>>,
    /// What any statement may run without naming it: casts, type functions, domain checks.
    implied: Implied,
    /// Functions that run when definitions change.
    event_triggers: Vec<u32>,
    leaves: Arc<Leaves>,
}

#[derive(Debug)]
struct Function {
    row: FunctionRow,
    /// Of the user's SQL and PL/pgSQL functions.
    body: Option<Body>,
}

#[derive(Debug)]
struct Operator {
    schema: Box<str>,
    function: u32,
}

#[derive(Debug)]
struct Relation {
    row: RelationRow,
    /// Of views: what their query names. None of a view that was not understood.
    query: Option<StatementFacts>,
    /// Defaults, checks, policies.
    expressions: Vec<Expression>,
    children: Vec<usize>,
    /// Tables with a foreign key to this one.
    referrers: Vec<Referrer>,
    triggers: Vec<u32>,
}

#[derive(Debug)]
struct Referrer {
    from: usize,
    key: rows::ForeignKeyRow,
}

#[derive(Debug, Default)]
struct Implied {
    functions: Vec<u32>,
    expressions: Vec<Expression>,
}

#[derive(Debug)]
struct Expression {
    policy: bool,
    text: Box<str>,
    /// None if it was not understood.
    facts: Option<StatementFacts>,
}

impl Catalog {
    pub fn build(generation: u64, rows: Rows, grammar: &impl Grammar) -> Self {
        let mut catalog = Self {
            generation,
            functions: Vec::with_capacity(rows.functions.len()),
            function_of: HashMap::new(),
            function_names: HashMap::new(),
            operators: HashMap::new(),
            relations: Vec::with_capacity(rows.relations.len()),
            relation_of: HashMap::new(),
            relation_names: HashMap::new(),
            implied: Implied {
                functions: rows.implied_functions,
                expressions: Vec::new(),
            },
            event_triggers: rows.links.event_triggers.clone(),
            leaves: Arc::default(),
        };
        for row in rows.functions {
            catalog.add_function(row);
        }
        for row in rows.operators {
            catalog.operators.entry(row.name).or_default().push(Operator {
                schema: row.schema,
                function: row.function,
            });
        }
        for row in rows.relations {
            let query = row.view.as_deref().and_then(|text| facts_of(grammar, text));
            catalog.add_relation(row, query);
        }
        for row in rows.expressions {
            let expression = Expression {
                policy: row.policy,
                facts: facts_of(grammar, &format!("SELECT ({})", row.text)),
                text: row.text,
            };
            match catalog.relation_of.get(&row.relation) {
                Some(at) => catalog.relations[*at].expressions.push(expression),
                None if row.relation == 0 => catalog.implied.expressions.push(expression),
                // Of a relation that is not of interest, as a temporary one.
                None => {}
            }
        }
        catalog.link(&rows.links);
        catalog.leaves = Arc::new(Leaves::of(&catalog));
        catalog
    }

    /// What statements may leave in their session.
    pub(crate) fn leaves(&self) -> &Arc<Leaves> {
        &self.leaves
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The name to show for a table; None if it is not in this generation.
    pub fn table_name(&self, id: TableId) -> Option<Name> {
        let row = &self.relations[*self.relation_of.get(&id.oid())?].row;
        Some(Name {
            schema: Some(row.schema.clone()),
            name: row.name.clone(),
        })
    }

    fn add_function(&mut self, row: FunctionRow) {
        let at = self.functions.len();
        self.function_of.insert(row.oid, at);
        self.function_names.entry(row.name.clone()).or_default().push(at);
        let readable = row.oid >= FIRST_USER_OID && matches!(&*row.language, "sql" | "plpgsql");
        let body = readable.then(|| Body::of(&row.body));
        self.functions.push(Function { row, body });
    }

    fn add_relation(&mut self, row: RelationRow, query: Option<StatementFacts>) {
        let at = self.relations.len();
        self.relation_of.insert(row.oid, at);
        self.relation_names.entry(row.name.clone()).or_default().push(at);
        self.relations.push(Relation {
            row,
            query,
            expressions: Vec::new(),
            children: Vec::new(),
            referrers: Vec::new(),
            triggers: Vec::new(),
        });
    }

    fn link(&mut self, links: &rows::Links) {
        let at = |map: &HashMap<u32, usize>, oid: u32| map.get(&oid).copied();
        for (child, parent) in &links.inherits {
            if let (Some(child), Some(parent)) =
                (at(&self.relation_of, *child), at(&self.relation_of, *parent))
            {
                self.relations[parent].children.push(child);
            }
        }
        for key in &links.foreign_keys {
            if let (Some(from), Some(to)) = (at(&self.relation_of, key.from), at(&self.relation_of, key.to)) {
                self.relations[to].referrers.push(Referrer { from, key: *key });
            }
        }
        for (relation, function) in &links.triggers {
            if let Some(at) = at(&self.relation_of, *relation) {
                self.relations[at].triggers.push(*function);
            }
        }
    }

    /// All functions of a name; empty if there is none.
    fn functions_named<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = usize> + 'a {
        let all = self
            .function_names
            .get(&name.name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        all.iter()
            .copied()
            .filter(|at| in_schema(name, &self.functions[*at].row.schema))
    }

    fn operators_named<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = u32> + 'a {
        let all = self
            .operators
            .get(&name.name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        all.iter()
            .filter(|operator| in_schema(name, &operator.schema))
            .map(|operator| operator.function)
    }

    fn relations_named<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = usize> + 'a {
        let all = self
            .relation_names
            .get(&name.name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        all.iter()
            .copied()
            .filter(|at| in_schema(name, &self.relations[*at].row.schema))
    }

    /// `t.f` where a function `f` takes a row: it may be `f(t)`.
    fn functions_as_attribute<'a>(&'a self, attribute: &str) -> impl Iterator<Item = usize> + 'a {
        let all = self
            .function_names
            .get(attribute)
            .map(Vec::as_slice)
            .unwrap_or_default();
        all.iter().copied().filter(|at| self.functions[*at].row.takes_row)
    }
}

fn in_schema(name: &Name, schema: &str) -> bool {
    name.schema.as_deref().is_none_or(|wanted| wanted == schema)
}

fn facts_of(grammar: &impl Grammar, text: &str) -> Option<StatementFacts> {
    let mut statements = grammar.parse(text).ok()?;
    let facts = statements.pop()?;
    (statements.is_empty() && facts.doubt.is_none()).then_some(facts)
}
