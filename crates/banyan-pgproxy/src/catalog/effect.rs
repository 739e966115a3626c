//! The bound of a statement's effect: which tables it may change, triggers, foreign keys, partitions, rules, defaults and called functions
//! included.

use super::rows::{ForeignKeyRow, FunctionKind, RelationKind, Volatility};
use super::worklist::Worklist;
use super::{Catalog, FIRST_USER_OID, Function, Relation, TableId, Tables, built_in};
use crate::parse::{StatementFacts, StatementKind, Verb};

/// What a statement may leave behind when its transaction commits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Effect {
    pub tables: Tables,
    /// Definitions may change: the catalog must be read again before anything else is proven.
    pub definitions: bool,
}

impl Effect {
    pub fn none() -> Self {
        Self {
            tables: Tables::none(),
            definitions: false,
        }
    }

    /// Any table, but no definition.
    pub fn rows() -> Self {
        Self {
            tables: Tables::All,
            definitions: false,
        }
    }

    pub fn everything() -> Self {
        Self {
            tables: Tables::All,
            definitions: true,
        }
    }

    pub fn is_none(&self) -> bool {
        self.tables.is_none() && !self.definitions
    }

    pub fn union(&self, other: &Self) -> Self {
        Self {
            tables: self.tables.union(&other.tables),
            definitions: self.definitions || other.definitions,
        }
    }
}

impl Catalog {
    /// Never less than what the statement changes; often more.
    pub fn effect(&self, facts: &StatementFacts) -> Effect {
        Self::effect_of_kind(&facts.kind).unwrap_or_else(|| self.bounded(facts))
    }

    /// What the kind alone says; None if it depends on what the statement names.
    pub fn effect_of_kind(kind: &StatementKind) -> Option<Effect> {
        use StatementKind as Kind;
        match kind {
            Kind::Select | Kind::Insert | Kind::Update | Kind::Delete | Kind::Merge => None,
            Kind::CopyFrom
            | Kind::CopyTo
            | Kind::Truncate
            | Kind::Declare { .. }
            | Kind::Explain { analyze: true } => None,
            Kind::Execute(_) | Kind::CreateTemporary => Some(Effect::rows()),
            Kind::FinishPrepared | Kind::Do | Kind::Call => Some(Effect::everything()),
            Kind::Other => Some(Effect::everything()),
            Kind::Begin(_) | Kind::Commit { .. } | Kind::Rollback { .. } | Kind::PrepareTransaction => {
                Some(Effect::none())
            }
            Kind::Savepoint(_) | Kind::Release(_) | Kind::RollbackTo(_) => Some(Effect::none()),
            Kind::Set { .. } | Kind::Reset(_) | Kind::Show(_) | Kind::Listen(_) | Kind::Unlisten(_) => {
                Some(Effect::none())
            }
            Kind::Notify(_) | Kind::Prepare(_) | Kind::Deallocate(_) | Kind::Discard(_) => {
                Some(Effect::none())
            }
            Kind::Fetch(_) | Kind::Close(_) | Kind::Explain { analyze: false } | Kind::Lock => {
                Some(Effect::none())
            }
            Kind::SetConstraints | Kind::Load | Kind::Maintenance => Some(Effect::none()),
        }
    }

    fn bounded(&self, facts: &StatementFacts) -> Effect {
        if facts.into {
            return Effect::everything();
        }
        let mut bound = Bound {
            catalog: self,
            truncates: facts.kind == StatementKind::Truncate,
            work: Worklist::new(),
            tables: Vec::new(),
        };
        match bound.statement(facts).and_then(|()| bound.implied()) {
            Ok(()) => Effect {
                tables: bound.tables.into_iter().collect(),
                definitions: false,
            },
            Err(Unbounded::Rows) => Effect::rows(),
            Err(Unbounded::Everything) => Effect::everything(),
        }
    }
}

enum Unbounded {
    Rows,
    Everything,
}

#[derive(Clone, Copy, Eq, Hash, PartialEq)]
enum Item {
    Call(usize),
    Read(usize),
    Write(usize, Verb),
}

struct Bound<'c> {
    catalog: &'c Catalog,
    truncates: bool,
    work: Worklist<Item>,
    tables: Vec<TableId>,
}

impl Bound<'_> {
    fn statement(&mut self, facts: &StatementFacts) -> Result<(), Unbounded> {
        self.facts(facts)?;
        self.run()
    }

    fn implied(&mut self) -> Result<(), Unbounded> {
        let catalog = self.catalog;
        for oid in &catalog.implied.functions {
            self.by_oid(*oid);
        }
        for expression in &catalog.implied.expressions {
            self.facts(expression.facts.as_ref().ok_or(Unbounded::Rows)?)?;
        }
        self.run()
    }

    fn run(&mut self) -> Result<(), Unbounded> {
        while let Some(item) = self.work.next() {
            match item {
                Item::Call(at) => self.call(at)?,
                Item::Read(at) => self.read(at)?,
                Item::Write(at, verb) => self.write(at, verb)?,
            }
        }
        Ok(())
    }

    fn facts(&mut self, facts: &StatementFacts) -> Result<(), Unbounded> {
        let catalog = self.catalog;
        if facts.doubt.is_some() {
            return Err(Unbounded::Rows);
        }
        for name in &facts.writes {
            // Not known: it may be newer than the catalog.
            if !self.work.add_all(
                catalog
                    .relations_named(name)
                    .map(|at| Item::Write(at, facts.verb)),
            ) {
                return Err(Unbounded::Rows);
            }
        }
        for name in &facts.reads {
            let is_with = name.schema.is_none() && facts.with.contains(&name.name);
            if !self.work.add_all(catalog.relations_named(name).map(Item::Read)) && !is_with {
                return Err(Unbounded::Rows);
            }
        }
        for name in &facts.functions {
            if !self.work.add_all(catalog.functions_named(name).map(Item::Call)) {
                return Err(Unbounded::Rows);
            }
        }
        for name in &facts.operators {
            for oid in catalog.operators_named(name) {
                self.by_oid(oid);
            }
        }
        for attribute in &facts.attributes {
            self.work
                .add_all(catalog.functions_as_attribute(attribute).map(Item::Call));
        }
        Ok(())
    }

    fn by_oid(&mut self, oid: u32) {
        let function = self.catalog.function_of.get(&oid).copied();
        self.work.add_all(function.into_iter().map(Item::Call));
    }

    fn call(&mut self, at: usize) -> Result<(), Unbounded> {
        let function = &self.catalog.functions[at];
        let row = &function.row;
        if row.oid < FIRST_USER_OID {
            let bounded = row.volatility != Volatility::Volatile || built_in::writes_no_table(&row.name);
            return if bounded { Ok(()) } else { Err(Unbounded::Rows) };
        }
        if row.kind == FunctionKind::Aggregate {
            for part in &row.parts {
                self.by_oid(*part);
            }
            return Ok(());
        }
        match &*row.language {
            "sql" | "plpgsql" => self.body(function),
            "c" | "internal" if row.volatility == Volatility::Immutable => Ok(()),
            "c" if built_in::library_computes(&row.library, row.volatility == Volatility::Volatile) => Ok(()),
            "c" | "internal" => Err(Unbounded::Rows),
            _ => Err(Unbounded::Everything),
        }
    }

    fn body(&mut self, function: &Function) -> Result<(), Unbounded> {
        let catalog = self.catalog;
        let Some(body) = &function.body else {
            return Err(Unbounded::Everything);
        };
        if body.unbounded {
            return Err(Unbounded::Everything);
        }
        self.work
            .add_all(catalog.reachable_functions(body).map(Item::Call));
        for oid in catalog.reachable_operators(body) {
            self.by_oid(oid);
        }
        self.work
            .add_all(catalog.reachable_relations(body).map(Item::Read));
        if body.writes {
            let user = catalog
                .reachable_relations(body)
                .filter(|at| catalog.relations[*at].row.oid >= FIRST_USER_OID);
            self.work.add_all(user.map(|at| Item::Write(at, Verb::Any)));
        }
        Ok(())
    }

    fn read(&mut self, at: usize) -> Result<(), Unbounded> {
        let relation = &self.catalog.relations[at];
        if relation.row.kind == RelationKind::View && relation.row.oid >= FIRST_USER_OID {
            return self.facts(relation.query.as_ref().ok_or(Unbounded::Rows)?);
        }
        self.work
            .add_all(relation.children.iter().copied().map(Item::Read));
        if relation.row.guarded {
            self.expressions(relation, true)?;
        }
        Ok(())
    }

    fn write(&mut self, at: usize, verb: Verb) -> Result<(), Unbounded> {
        let catalog = self.catalog;
        let relation = &catalog.relations[at];
        if relation.row.rewritten {
            return Err(Unbounded::Rows);
        }
        for trigger in &relation.triggers {
            self.by_oid(*trigger);
        }
        self.expressions(relation, false)?;
        match relation.row.kind {
            RelationKind::Table => {
                self.tables.push(TableId::new(relation.row.oid));
                self.work
                    .add_all(relation.children.iter().map(|child| Item::Write(*child, verb)));
                let truncates = self.truncates;
                let follows = |key: &ForeignKeyRow| {
                    truncates || key.on_update && verb >= Verb::Update || key.on_delete && verb == Verb::Any
                };
                let followers = relation
                    .referrers
                    .iter()
                    .filter(|referrer| follows(&referrer.key));
                self.work
                    .add_all(followers.map(|referrer| Item::Write(referrer.from, Verb::Any)));
            }
            RelationKind::View => {
                let query = relation.query.as_ref().ok_or(Unbounded::Rows)?;
                self.facts(query)?;
                for name in &query.reads {
                    self.work
                        .add_all(catalog.relations_named(name).map(|at| Item::Write(at, verb)));
                }
            }
            RelationKind::Foreign | RelationKind::Sequence => {}
        }
        Ok(())
    }

    fn expressions(&mut self, relation: &Relation, policies_only: bool) -> Result<(), Unbounded> {
        for expression in &relation.expressions {
            if expression.policy || !policies_only {
                self.facts(expression.facts.as_ref().ok_or(Unbounded::Rows)?)?;
            }
        }
        Ok(())
    }
}
