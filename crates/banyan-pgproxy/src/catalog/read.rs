//! The proof that a statement is a read: everything it can reach is known, and none of it writes, locks, or answers differently on a
//! replica. The proof's by-product is the set of tables it reads.

use std::fmt;

use super::rows::{FunctionKind, RelationKind, Volatility};
use super::worklist::Worklist;
use super::{Body, Catalog, FIRST_USER_OID, Function, TableId, Tables, built_in};
use crate::parse::{Doubt, Name, StatementFacts, StatementKind};

/// Why a statement is no proven read. Said in EXPLAIN ROUTE.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// Not SELECT, VALUES or TABLE.
    Kind,
    Writes,
    Locks,
    Doubt(Doubt),
    /// Not in this generation: it may be new.
    UnknownRelation(Name),
    UnknownFunction(Name),
    UnknownOperator(Name),
    Function {
        name: Box<str>,
        why: &'static str,
    },
    Relation {
        name: Box<str>,
        why: &'static str,
    },
    /// A cast, type or domain of the user's that any statement may use.
    Implied(Box<Reason>),
}

impl Reason {
    /// Whether a newer generation of the catalog may say otherwise.
    pub fn is_unknown_name(&self) -> bool {
        matches!(
            self,
            Self::UnknownRelation(_) | Self::UnknownFunction(_) | Self::UnknownOperator(_)
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind => write!(out, "not a SELECT, VALUES or TABLE"),
            Self::Writes => write!(out, "it writes"),
            Self::Locks => write!(out, "it locks rows"),
            Self::Doubt(doubt) => write!(out, "{doubt}"),
            Self::UnknownRelation(name) => write!(out, "relation {name} is not known"),
            Self::UnknownFunction(name) => write!(out, "function {name} is not known"),
            Self::UnknownOperator(name) => write!(out, "operator {name} is not known"),
            Self::Function { name, why } => write!(out, "function {name}: {why}"),
            Self::Relation { name, why } => write!(out, "relation {name}: {why}"),
            Self::Implied(reason) => write!(out, "a cast, type or domain: {reason}"),
        }
    }
}

impl Catalog {
    /// The tables that a proven read reads.
    ///
    /// # Errors
    /// The first reason found why it is none.
    pub fn proven_read(&self, facts: &StatementFacts) -> Result<Tables, Reason> {
        let mut proof = Proof {
            catalog: self,
            work: Worklist::new(),
            tables: Vec::new(),
        };
        proof.query(facts)?;
        proof.run()?;
        proof
            .implied()
            .map_err(|reason| Reason::Implied(Box::new(reason)))?;
        Ok(proof.tables.into_iter().collect())
    }
}

#[derive(Clone, Copy, Eq, Hash, PartialEq)]
enum Item {
    Function(usize),
    Relation(usize),
}

struct Proof<'c> {
    catalog: &'c Catalog,
    work: Worklist<Item>,
    tables: Vec<TableId>,
}

impl Proof<'_> {
    fn run(&mut self) -> Result<(), Reason> {
        while let Some(item) = self.work.next() {
            match item {
                Item::Function(at) => self.function(at)?,
                Item::Relation(at) => self.relation(at)?,
            }
        }
        Ok(())
    }

    fn implied(&mut self) -> Result<(), Reason> {
        let catalog = self.catalog;
        for oid in &catalog.implied.functions {
            self.by_oid(*oid);
        }
        for expression in &catalog.implied.expressions {
            match &expression.facts {
                Some(facts) => self.query(facts)?,
                None => {
                    return Err(Reason::Doubt(Doubt::Unknown(
                        "a domain's check that was not understood",
                    )));
                }
            }
        }
        self.run()
    }

    fn query(&mut self, facts: &StatementFacts) -> Result<(), Reason> {
        if let Some(doubt) = &facts.doubt {
            return Err(Reason::Doubt(doubt.clone()));
        }
        if facts.kind != StatementKind::Select {
            return Err(Reason::Kind);
        }
        if facts.into || !facts.writes.is_empty() {
            return Err(Reason::Writes);
        }
        if facts.locks {
            return Err(Reason::Locks);
        }
        self.names(facts)
    }

    fn names(&mut self, facts: &StatementFacts) -> Result<(), Reason> {
        let catalog = self.catalog;
        for name in &facts.reads {
            let is_with = name.schema.is_none() && facts.with.contains(&name.name);
            let found = self
                .work
                .add_all(catalog.relations_named(name).map(Item::Relation));
            if !found && !is_with {
                return Err(Reason::UnknownRelation(name.clone()));
            }
        }
        for name in &facts.functions {
            if !self
                .work
                .add_all(catalog.functions_named(name).map(Item::Function))
            {
                return Err(Reason::UnknownFunction(name.clone()));
            }
        }
        for name in &facts.operators {
            let mut found = false;
            for oid in catalog.operators_named(name) {
                found = true;
                self.by_oid(oid);
            }
            if !found {
                return Err(Reason::UnknownOperator(name.clone()));
            }
        }
        for attribute in &facts.attributes {
            self.work
                .add_all(catalog.functions_as_attribute(attribute).map(Item::Function));
        }
        Ok(())
    }

    fn by_oid(&mut self, oid: u32) {
        let function = self.catalog.function_of.get(&oid).copied();
        self.work.add_all(function.into_iter().map(Item::Function));
    }

    fn function(&mut self, at: usize) -> Result<(), Reason> {
        let function = &self.catalog.functions[at];
        let row = &function.row;
        let refuse = |why| {
            let name = row.name.clone();
            Err(Reason::Function { name, why })
        };
        if row.kind == FunctionKind::Procedure {
            return refuse("a procedure");
        }
        if row.oid < FIRST_USER_OID {
            return match row.volatility {
                Volatility::Immutable => Ok(()),
                Volatility::Stable if built_in::stable_is_read(&row.name) => Ok(()),
                Volatility::Volatile if built_in::volatile_is_read(&row.name) => Ok(()),
                Volatility::Stable => refuse("its answer is of the server it runs on"),
                Volatility::Volatile => refuse("volatile"),
            };
        }
        if row.kind == FunctionKind::Aggregate {
            for part in &row.parts {
                self.by_oid(*part);
            }
            return Ok(());
        }
        match &*row.language {
            "sql" | "plpgsql" if row.volatility == Volatility::Volatile => refuse("volatile"),
            "sql" | "plpgsql" => self.body(function),
            "c" | "internal" if row.volatility == Volatility::Immutable => Ok(()),
            "c" if built_in::library_computes(&row.library, row.volatility == Volatility::Volatile) => Ok(()),
            "c" | "internal" => refuse("C code that is not immutable"),
            _ => refuse("a language that cannot be looked into"),
        }
    }

    fn body(&mut self, function: &Function) -> Result<(), Reason> {
        let refuse = |why| {
            let name = function.row.name.clone();
            Err(Reason::Function { name, why })
        };
        let catalog = self.catalog;
        let Some(body) = &function.body else {
            return refuse("its text is not known");
        };
        if body.unbounded {
            return refuse("its text has dynamic SQL or definitions");
        }
        if body.writes || body.acts {
            return refuse("its text has verbs that are no reads");
        }
        self.work
            .add_all(catalog.reachable_functions(body).map(Item::Function));
        for oid in catalog.reachable_operators(body) {
            self.by_oid(oid);
        }
        self.work
            .add_all(catalog.reachable_relations(body).map(Item::Relation));
        Ok(())
    }

    fn relation(&mut self, at: usize) -> Result<(), Reason> {
        let catalog = self.catalog;
        let relation = &catalog.relations[at];
        let refuse = |why| {
            let name = relation.row.name.clone();
            Err(Reason::Relation { name, why })
        };
        if relation.row.unlogged {
            return refuse("unlogged tables are empty on replicas");
        }
        match relation.row.kind {
            RelationKind::Sequence => return refuse("a replica's sequence runs ahead"),
            RelationKind::Foreign => return refuse("a foreign table"),
            RelationKind::View => {
                return match &relation.query {
                    Some(query) => self.query(query),
                    None => refuse("a view that was not understood"),
                };
            }
            RelationKind::Table => {}
        }
        if relation.row.oid >= FIRST_USER_OID {
            self.tables.push(TableId::new(relation.row.oid));
        }
        self.work
            .add_all(relation.children.iter().copied().map(Item::Relation));
        if relation.row.guarded {
            for policy in relation.expressions.iter().filter(|expression| expression.policy) {
                match &policy.facts {
                    Some(facts) => self.query(facts)?,
                    None => return refuse("a policy that was not understood"),
                }
            }
        }
        Ok(())
    }
}

/// What a body may reach by the words in it.
impl Catalog {
    pub(super) fn reachable_functions<'a>(&'a self, body: &'a Body) -> impl Iterator<Item = usize> + 'a {
        let called = body
            .calls
            .iter()
            .filter_map(|name| self.function_names.get(name))
            .flatten()
            .copied();
        called.chain(
            body.attributes
                .iter()
                .flat_map(|name| self.functions_as_attribute(name)),
        )
    }

    pub(super) fn reachable_operators<'a>(&'a self, body: &'a Body) -> impl Iterator<Item = u32> + 'a {
        let named = body
            .operators
            .iter()
            .filter_map(|name| self.operators.get(name))
            .flatten();
        named.map(|operator| operator.function)
    }

    /// Words are often also the name of a system view (`columns`, `tables`): those count only if they look meant.
    pub(super) fn reachable_relations<'a>(&'a self, body: &'a Body) -> impl Iterator<Item = usize> + 'a {
        let information = body.names.iter().any(|name| &**name == "information_schema");
        let named = body
            .names
            .iter()
            .filter_map(|name| self.relation_names.get(name))
            .flatten()
            .copied();
        named.filter(move |at| {
            let row = &self.relations[*at].row;
            row.oid >= FIRST_USER_OID || row.name.starts_with("pg_") || information
        })
    }
}
