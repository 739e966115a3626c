//! PostgreSQL's grammar, and what kind of statement a tree is.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pg_raw_parse::{ConstValue, Node, nodes, raw};

use super::facts::{Discard, Doubt, Modes, StatementFacts, StatementKind};
use super::{MAX_TEXT, walk};

/// SQL text to one [`StatementFacts`] per statement.
pub trait Grammar {
    /// # Errors
    /// The text is too large, or not what this grammar accepts.
    fn parse(&self, text: &str) -> Result<Vec<StatementFacts>, Doubt>;
}

/// `libpg_query`: the grammar of PostgreSQL 18. Its nesting limit and a 2 MiB stack fit; nothing here recurses.
#[derive(Clone, Copy, Debug, Default)]
pub struct PostgresGrammar;

impl Grammar for PostgresGrammar {
    fn parse(&self, text: &str) -> Result<Vec<StatementFacts>, Doubt> {
        if text.len() > MAX_TEXT {
            return Err(Doubt::TooLarge);
        }
        // The binding asserts what it believes of trees; a statement it is wrong about must not end the worker.
        catch_unwind(AssertUnwindSafe(|| parse(text)))
            .unwrap_or(Err(Doubt::Unknown("a tree that the binding does not know")))
    }
}

fn parse(text: &str) -> Result<Vec<StatementFacts>, Doubt> {
    let tree = pg_raw_parse::parse(text).map_err(|_| Doubt::NotParsed)?;
    Ok(tree.stmts().map(statement).collect())
}

fn statement(node: Node<'_>) -> StatementFacts {
    let (kind, inside) = classify(node);
    let mut facts = StatementFacts::of(kind);
    walk::collect(inside, &mut facts);
    facts
}

/// The kind, and the part of the tree in which relations and calls are of interest.
fn classify(node: Node<'_>) -> (StatementKind, Node<'_>) {
    match node {
        Node::SelectStmt(_) => (StatementKind::Select, node),
        Node::InsertStmt(_) => (StatementKind::Insert, node),
        Node::UpdateStmt(_) => (StatementKind::Update, node),
        Node::DeleteStmt(_) => (StatementKind::Delete, node),
        Node::MergeStmt(_) => (StatementKind::Merge, node),
        Node::CopyStmt(copy) if copy.is_from => (StatementKind::CopyFrom, node),
        Node::CopyStmt(_) => (StatementKind::CopyTo, node),
        Node::TruncateStmt(_) => (StatementKind::Truncate, node),
        Node::ExplainStmt(explain) => (
            StatementKind::Explain {
                analyze: analyzes(explain),
            },
            explain.query(),
        ),
        Node::DeclareCursorStmt(declare) => {
            let hold = declare.options & raw_cursor_hold() != 0;
            let name = owned(declare.portalname());
            (StatementKind::Declare { name, hold }, declare.query())
        }
        Node::PrepareStmt(prepare) => (StatementKind::Prepare(owned(prepare.name())), prepare.query()),
        _ => (utility(node), Node::None),
    }
}

/// `CURSOR_OPT_HOLD`, nodes/parsenodes.h; a macro, so not in the binding.
const fn raw_cursor_hold() -> i32 {
    0x20
}

fn utility(node: Node<'_>) -> StatementKind {
    match node {
        Node::TransactionStmt(transaction) => transaction_kind(transaction),
        Node::VariableSetStmt(set) => set_kind(set),
        Node::VariableShowStmt(show) => StatementKind::Show(lower(show.name())),
        Node::ListenStmt(listen) => StatementKind::Listen(owned(listen.conditionname())),
        Node::UnlistenStmt(unlisten) => StatementKind::Unlisten(unlisten.conditionname().map(Into::into)),
        Node::NotifyStmt(notify) => StatementKind::Notify(owned(notify.conditionname())),
        Node::ExecuteStmt(execute) => StatementKind::Execute(owned(execute.name())),
        Node::DeallocateStmt(deallocate) => StatementKind::Deallocate(deallocate.name().map(Into::into)),
        Node::DiscardStmt(discard) => StatementKind::Discard(discard_kind(discard)),
        Node::FetchStmt(fetch) => StatementKind::Fetch(owned(fetch.portalname())),
        Node::ClosePortalStmt(close) => StatementKind::Close(close.portalname().map(Into::into)),
        Node::LockStmt(_) => StatementKind::Lock,
        Node::ConstraintsSetStmt(_) => StatementKind::SetConstraints,
        Node::LoadStmt(_) => StatementKind::Load,
        Node::DoStmt(_) => StatementKind::Do,
        Node::CallStmt(_) => StatementKind::Call,
        Node::VacuumStmt(_) | Node::CheckPointStmt(_) | Node::ReindexStmt(_) | Node::ClusterStmt(_) => {
            StatementKind::Maintenance
        }
        _ if creates_temporary(node) => StatementKind::CreateTemporary,
        _ => StatementKind::Other,
    }
}

fn creates_temporary(node: Node<'_>) -> bool {
    let relation = match node {
        Node::CreateStmt(create) => create.relation(),
        Node::ViewStmt(view) => view.view(),
        Node::CreateSeqStmt(sequence) => sequence.sequence(),
        Node::CreateTableAsStmt(create) => create.into().and_then(nodes::IntoClause::rel),
        _ => None,
    };
    relation.is_some_and(is_temporary)
}

/// `RELPERSISTENCE_TEMP`, or the schema that stands for the session's own.
pub(super) fn is_temporary(relation: &nodes::RangeVar) -> bool {
    u8::try_from(relation.relpersistence).is_ok_and(|byte| byte == b't')
        || relation.schemaname() == Some("pg_temp")
}

fn transaction_kind(transaction: &nodes::TransactionStmt) -> StatementKind {
    use raw::TransactionStmtKind as Kind;
    let name = || owned(transaction.savepoint_name());
    let chain = transaction.chain;
    match transaction.kind {
        Kind::TRANS_STMT_BEGIN | Kind::TRANS_STMT_START => StatementKind::Begin(modes(transaction.options())),
        Kind::TRANS_STMT_COMMIT => StatementKind::Commit { chain },
        Kind::TRANS_STMT_ROLLBACK => StatementKind::Rollback { chain },
        Kind::TRANS_STMT_SAVEPOINT => StatementKind::Savepoint(name()),
        Kind::TRANS_STMT_RELEASE => StatementKind::Release(name()),
        Kind::TRANS_STMT_ROLLBACK_TO => StatementKind::RollbackTo(name()),
        Kind::TRANS_STMT_PREPARE => StatementKind::PrepareTransaction,
        Kind::TRANS_STMT_COMMIT_PREPARED | Kind::TRANS_STMT_ROLLBACK_PREPARED => {
            StatementKind::FinishPrepared
        }
        _ => StatementKind::Other,
    }
}

fn modes(options: &pg_raw_parse::list::NodeList) -> Modes {
    let mut modes = Modes::default();
    for option in options {
        let Node::DefElem(option) = option else { continue };
        let value = match option.arg() {
            Node::A_Const(constant) => constant.val(),
            _ => None,
        };
        match (option.defname(), value) {
            (Some("transaction_isolation"), Some(ConstValue::String(level))) => {
                modes.serializable = level == "serializable";
                modes.repeatable_read = level == "repeatable read";
            }
            (Some("transaction_read_only"), Some(ConstValue::Integer(on))) => modes.read_only = Some(on != 0),
            (Some("transaction_deferrable"), Some(ConstValue::Integer(on))) => modes.deferrable = on != 0,
            _ => {}
        }
    }
    modes
}

fn set_kind(set: &nodes::VariableSetStmt) -> StatementKind {
    use raw::VariableSetKind as Kind;
    let name = lower(set.name());
    match set.kind {
        Kind::VAR_RESET => StatementKind::Reset(Some(name)),
        Kind::VAR_RESET_ALL => StatementKind::Reset(None),
        // The grammar names them TRANSACTION, SESSION CHARACTERISTICS and TRANSACTION SNAPSHOT.
        _ => StatementKind::Set {
            name,
            local: set.is_local,
        },
    }
}

fn discard_kind(discard: &nodes::DiscardStmt) -> Discard {
    use raw::DiscardMode as Mode;
    match discard.target {
        Mode::DISCARD_PLANS => Discard::Plans,
        Mode::DISCARD_SEQUENCES => Discard::Sequences,
        Mode::DISCARD_TEMP => Discard::Temporary,
        _ => Discard::All,
    }
}

/// Doubt counts as yes.
fn analyzes(explain: &nodes::ExplainStmt) -> bool {
    explain
        .options()
        .iter()
        .any(|option| option.defname() == Some("analyze"))
}

fn owned(name: Option<&str>) -> Box<str> {
    name.unwrap_or_default().into()
}

fn lower(name: Option<&str>) -> Box<str> {
    name.unwrap_or_default().to_ascii_lowercase().into()
}
