//! A tree's relations, calls and locks. A worklist instead of recursion: depth costs memory that is bounded, never stack.
//!
//! The list of understood nodes is closed. A node that is not on it makes the whole statement doubtful.

use pg_raw_parse::list::NodeList;
use pg_raw_parse::{Node, nodes};

use super::MAX_NODES;
use super::facts::{Doubt, Name, StatementFacts, Verb};
use super::tree::is_temporary;

pub(super) fn collect<'a>(root: Node<'a>, facts: &'a mut StatementFacts) {
    let mut walk = Walk {
        todo: vec![root],
        facts,
    };
    let mut seen = 0;
    while let Some(node) = walk.todo.pop() {
        seen += 1;
        if seen > MAX_NODES {
            walk.facts.doubt = Some(Doubt::TooLarge);
            return;
        }
        walk.node(node);
    }
}

struct Walk<'a, 'f> {
    todo: Vec<Node<'a>>,
    facts: &'f mut StatementFacts,
}

impl<'a> Walk<'a, '_> {
    fn node(&mut self, node: Node<'a>) {
        match node {
            Node::None
            | Node::A_Const(_)
            | Node::ParamRef(_)
            | Node::SQLValueFunction(_)
            | Node::SetToDefault(_)
            | Node::A_Star(_) => {}
            Node::String(_) | Node::Integer(_) | Node::CurrentOfExpr(_) => {}
            Node::NodeList(list) => self.list(list),
            Node::SelectStmt(_)
            | Node::InsertStmt(_)
            | Node::UpdateStmt(_)
            | Node::DeleteStmt(_)
            | Node::MergeStmt(_) => {
                self.query(node);
            }
            Node::CopyStmt(copy) => self.copy(copy),
            Node::TruncateStmt(truncate) => {
                for relation in truncate.relations() {
                    match relation {
                        Node::RangeVar(relation) => self.writes(Some(relation), Verb::Any),
                        _ => self.doubt("TRUNCATE of something else"),
                    }
                }
            }
            _ => self.source_of_rows(node),
        }
    }

    fn query(&mut self, node: Node<'a>) {
        match node {
            Node::SelectStmt(select) => self.select(select),
            Node::InsertStmt(insert) => {
                self.with(insert.with_clause());
                self.writes(insert.relation(), Verb::Insert);
                self.list(insert.cols());
                self.push(insert.select_stmt());
                self.returning(insert.returning_clause());
                if let Some(conflict) = insert.on_conflict_clause() {
                    self.facts.verb = self.facts.verb.max(Verb::Update);
                    self.targets(conflict.target_list());
                    self.push(conflict.where_clause());
                    if let Some(infer) = conflict.infer() {
                        self.list(infer.index_elems());
                        self.push(infer.where_clause());
                    }
                }
            }
            Node::UpdateStmt(update) => {
                self.with(update.with_clause());
                self.writes(update.relation(), Verb::Update);
                self.targets(update.target_list());
                self.push(update.where_clause());
                self.list(update.from_clause());
                self.returning(update.returning_clause());
            }
            Node::DeleteStmt(delete) => {
                self.with(delete.with_clause());
                self.writes(delete.relation(), Verb::Any);
                self.list(delete.using_clause());
                self.push(delete.where_clause());
                self.returning(delete.returning_clause());
            }
            Node::MergeStmt(merge) => self.merge(merge),
            _ => self.doubt("a query of an unknown kind"),
        }
    }

    fn select(&mut self, select: &'a nodes::SelectStmt) {
        if let Some(into) = select.into_clause() {
            self.facts.into = true;
            self.writes(into.rel(), Verb::Insert);
        }
        self.facts.locks |= !select.locking_clause().is_empty();
        self.with(select.with_clause());
        self.list(select.distinct_clause());
        self.targets(select.target_list());
        self.list(select.from_clause());
        self.push(select.where_clause());
        self.list(select.group_clause());
        self.push(select.having_clause());
        self.list(select.window_clause());
        self.list(select.values_lists());
        self.sorts(select.sort_clause().iter());
        self.push(select.limit_offset());
        self.push(select.limit_count());
        for side in [select.larg(), select.rarg()].into_iter().flatten() {
            self.push(Node::SelectStmt(side));
        }
    }

    fn merge(&mut self, merge: &'a nodes::MergeStmt) {
        self.with(merge.with_clause());
        self.writes(merge.relation(), Verb::Any);
        self.push(merge.source_relation());
        self.push(merge.join_condition());
        self.returning(merge.returning_clause());
        for when in merge.merge_when_clauses() {
            self.push(when.condition());
            self.list(when.target_list());
            self.list(when.values());
        }
    }

    fn copy(&mut self, copy: &'a nodes::CopyStmt) {
        if copy.is_from {
            self.writes(copy.relation(), Verb::Insert);
        } else {
            self.reads(copy.relation());
        }
        self.push(copy.query());
        self.push(copy.where_clause());
    }

    fn source_of_rows(&mut self, node: Node<'a>) {
        match node {
            Node::RangeVar(relation) => self.reads(Some(relation)),
            Node::RangeSubselect(range) => self.push(range.subquery()),
            Node::RangeFunction(range) => self.list(range.functions()),
            Node::JoinExpr(join) => {
                self.push(join.larg());
                self.push(join.rarg());
                self.push(join.quals());
            }
            Node::RangeTableSample(sample) => {
                let built_in = matches!(sample.method().first(), Some(Node::String(name)) if matches!(name.sval(), Some("system" | "bernoulli")));
                if !built_in || sample.method().len() != 1 {
                    self.doubt("a sampling method that is not PostgreSQL's own");
                }
                self.push(sample.relation());
                self.list(sample.args());
                self.push(sample.repeatable());
            }
            _ => self.expression(node),
        }
    }

    fn expression(&mut self, node: Node<'a>) {
        match node {
            Node::FuncCall(call) => self.call(call),
            Node::A_Expr(expression) => {
                self.operator(expression.name());
                self.push(expression.lexpr());
                self.push(expression.rexpr());
            }
            Node::ColumnRef(column) => self.column(column.fields()),
            Node::TypeCast(cast) => self.push(cast.arg()),
            Node::BoolExpr(expression) => self.list(expression.args()),
            Node::SubLink(link) => {
                self.operator(link.oper_name());
                self.push(link.testexpr());
                self.push(link.subselect());
            }
            Node::CaseExpr(case) => {
                self.push(case.arg());
                self.list(case.args());
                self.push(case.defresult());
            }
            Node::CaseWhen(when) => {
                self.push(when.expr());
                self.push(when.result());
            }
            Node::CoalesceExpr(expression) => self.list(expression.args()),
            Node::MinMaxExpr(expression) => self.list(expression.args()),
            Node::NullTest(test) => self.push(test.arg()),
            Node::BooleanTest(test) => self.push(test.arg()),
            Node::A_ArrayExpr(array) => self.list(array.elements()),
            Node::RowExpr(row) => self.list(row.args()),
            Node::CollateClause(collate) => self.push(collate.arg()),
            Node::NamedArgExpr(argument) => self.push(argument.arg()),
            Node::GroupingFunc(grouping) => self.list(grouping.args()),
            Node::GroupingSet(set) => self.list(set.content()),
            Node::MultiAssignRef(assign) => self.push(assign.source()),
            _ => self.part(node),
        }
    }

    fn part(&mut self, node: Node<'a>) {
        match node {
            Node::ResTarget(target) => self.target(target),
            Node::SortBy(sort) => self.sorts(std::iter::once(sort)),
            Node::WindowDef(window) => self.window(window),
            Node::A_Indices(indices) => {
                self.push(indices.lidx());
                self.push(indices.uidx());
            }
            Node::A_Indirection(indirection) => {
                self.push(indirection.arg());
                self.list(indirection.indirection());
                for field in indirection.indirection() {
                    if let Node::String(name) = field {
                        self.attribute(name.sval());
                    }
                }
            }
            Node::IndexElem(element) => self.push(element.expr()),
            _ => self.doubt("an expression that is not on the list of understood ones"),
        }
    }

    fn call(&mut self, call: &'a nodes::FuncCall) {
        match qualified(call.funcname()) {
            Some(name) => remember(&mut self.facts.functions, name),
            None => self.doubt("a function name of more than two parts"),
        }
        self.list(call.args());
        self.sorts(call.agg_order().iter());
        self.push(call.agg_filter());
        if let Some(window) = call.over() {
            self.window(window);
        }
    }

    fn window(&mut self, window: &'a nodes::WindowDef) {
        self.list(window.partition_clause());
        self.sorts(window.order_clause().iter());
        self.push(window.start_offset());
        self.push(window.end_offset());
    }

    fn column(&mut self, fields: &'a NodeList) {
        if fields.len() < 2 {
            return;
        }
        if let Some(Node::String(name)) = fields.get(fields.len() - 1) {
            self.attribute(name.sval());
        }
    }

    fn attribute(&mut self, name: Option<&str>) {
        let Some(name) = name else { return };
        if !self.facts.attributes.iter().any(|known| &**known == name) {
            self.facts.attributes.push(name.into());
        }
    }

    fn operator(&mut self, name: &'a NodeList) {
        if name.is_empty() {
            return;
        }
        match qualified(name) {
            Some(name) => remember(&mut self.facts.operators, name),
            None => self.doubt("an operator name of more than two parts"),
        }
    }

    fn sorts(&mut self, sorts: impl Iterator<Item = &'a nodes::SortBy>) {
        for sort in sorts {
            self.operator(sort.use_op());
            self.push(sort.node());
        }
    }

    fn target(&mut self, target: &'a nodes::ResTarget) {
        self.push(target.val());
        self.list(target.indirection());
    }

    fn targets(&mut self, targets: &'a pg_raw_parse::list::CastNodeList<nodes::ResTarget>) {
        for target in targets {
            self.target(target);
        }
    }

    fn returning(&mut self, returning: Option<&'a nodes::ReturningClause>) {
        if let Some(returning) = returning {
            self.list(returning.exprs());
        }
    }

    fn with(&mut self, with: Option<&'a nodes::WithClause>) {
        let Some(with) = with else { return };
        for query in with.ctes() {
            self.facts.with.push(query.ctename().unwrap_or_default().into());
            self.push(query.ctequery());
            if let Some(cycle) = query.cycle_clause() {
                self.push(cycle.cycle_mark_value());
                self.push(cycle.cycle_mark_default());
            }
        }
    }

    fn reads(&mut self, relation: Option<&nodes::RangeVar>) {
        if let Some(name) = self.relation(relation) {
            remember(&mut self.facts.reads, name);
        }
    }

    fn writes(&mut self, relation: Option<&nodes::RangeVar>, verb: Verb) {
        self.facts.verb = self.facts.verb.max(verb);
        if let Some(name) = self.relation(relation) {
            remember(&mut self.facts.writes, name);
        }
    }

    fn relation(&mut self, relation: Option<&nodes::RangeVar>) -> Option<Name> {
        let relation = relation?;
        if is_temporary(relation) {
            self.doubt("a temporary relation");
        }
        Some(Name {
            schema: relation.schemaname().map(Into::into),
            name: relation.relname()?.into(),
        })
    }

    fn list(&mut self, list: &'a NodeList) {
        self.todo.extend(list);
    }

    fn push(&mut self, node: Node<'a>) {
        self.todo.push(node);
    }

    fn doubt(&mut self, what: &'static str) {
        self.facts.doubt.get_or_insert(Doubt::Unknown(what));
    }
}

fn remember(names: &mut Vec<Name>, name: Name) {
    if !names.contains(&name) {
        names.push(name);
    }
}

/// One or two strings.
fn qualified(parts: &NodeList) -> Option<Name> {
    let mut words = Vec::with_capacity(2);
    for part in parts {
        words.push(part.as_str()?);
    }
    match words[..] {
        [name] => Some(Name {
            schema: None,
            name: name.into(),
        }),
        [schema, name] => Some(Name {
            schema: Some(schema.into()),
            name: name.into(),
        }),
        _ => None,
    }
}
