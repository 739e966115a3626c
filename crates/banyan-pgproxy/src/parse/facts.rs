//! What is known of one statement after parsing: a plain value with names, no meaning yet.

use std::fmt;

/// A possibly qualified name, folded and unquoted as PostgreSQL does.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name {
    pub schema: Option<Box<str>>,
    pub name: Box<str>,
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(out, "{schema}.{}", self.name),
            None => write!(out, "{}", self.name),
        }
    }
}

/// One statement of a unit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StatementFacts {
    pub kind: StatementKind,
    /// Relations named where rows come from. A name may also be that of a WITH query: see `with`.
    pub reads: Vec<Name>,
    /// Relations named as what is changed, also inside WITH.
    pub writes: Vec<Name>,
    /// The strongest of the verbs that `writes` stand under.
    pub verb: Verb,
    /// Names of WITH queries.
    pub with: Vec<Box<str>>,
    /// Functions, procedures and aggregates called by syntax.
    pub functions: Vec<Name>,
    pub operators: Vec<Name>,
    /// Last parts of qualified columns: `t.f` may be a call of `f(t)`.
    pub attributes: Vec<Box<str>>,
    /// FOR UPDATE and the like, anywhere.
    pub locks: bool,
    /// SELECT INTO.
    pub into: bool,
    /// What was not understood: the lists may then be incomplete.
    pub doubt: Option<Doubt>,
}

impl StatementFacts {
    pub(crate) fn of(kind: StatementKind) -> Self {
        Self {
            kind,
            reads: Vec::new(),
            writes: Vec::new(),
            verb: Verb::Insert,
            with: Vec::new(),
            functions: Vec::new(),
            operators: Vec::new(),
            attributes: Vec::new(),
            locks: false,
            into: false,
            doubt: None,
        }
    }
}

/// What can happen to the rows of the tables written.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Verb {
    /// New rows only.
    Insert,
    /// Rows change; none goes.
    Update,
    Any,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StatementKind {
    /// SELECT, VALUES, TABLE.
    Select,
    Insert,
    Update,
    Delete,
    Merge,
    CopyFrom,
    /// COPY of a table or query to the client.
    CopyTo,
    Truncate,
    Begin(Modes),
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    Savepoint(Box<str>),
    Release(Box<str>),
    RollbackTo(Box<str>),
    /// PREPARE TRANSACTION
    PrepareTransaction,
    /// COMMIT PREPARED, ROLLBACK PREPARED
    FinishPrepared,
    /// SET name; `name` is lower case; SET TRANSACTION is `transaction`, SESSION CHARACTERISTICS `session characteristics`.
    Set {
        name: Box<str>,
        local: bool,
    },
    /// RESET name; None is ALL.
    Reset(Option<Box<str>>),
    Show(Box<str>),
    Listen(Box<str>),
    /// None is `*`.
    Unlisten(Option<Box<str>>),
    Notify(Box<str>),
    Prepare(Box<str>),
    Execute(Box<str>),
    /// None is ALL.
    Deallocate(Option<Box<str>>),
    Discard(Discard),
    Declare {
        name: Box<str>,
        hold: bool,
    },
    /// FETCH and MOVE.
    Fetch(Box<str>),
    /// None is ALL.
    Close(Option<Box<str>>),
    /// EXPLAIN; `analyze` runs the statement.
    Explain {
        analyze: bool,
    },
    Lock,
    SetConstraints,
    Load,
    Do,
    Call,
    /// CREATE TEMP anything.
    CreateTemporary,
    /// VACUUM, ANALYZE, CHECKPOINT, REINDEX, CLUSTER: no rows and no definitions change.
    Maintenance,
    /// Everything else: definitions, grants, unknown.
    Other,
}

/// How a transaction begins; None is the session's default.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Modes {
    pub read_only: Option<bool>,
    pub serializable: bool,
    pub repeatable_read: bool,
    pub deferrable: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Discard {
    All,
    Plans,
    Sequences,
    Temporary,
}

/// Why nothing can be said for certain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Doubt {
    /// Over the limit for text or nodes.
    TooLarge,
    /// The grammar of libpg_query is newer than the server's: what it refuses may still run.
    NotParsed,
    /// A part of the tree that is not on the list of understood ones.
    Unknown(&'static str),
}

impl fmt::Display for Doubt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => write!(out, "too large to look into"),
            Self::NotParsed => write!(out, "not parsed"),
            Self::Unknown(what) => write!(out, "{what}"),
        }
    }
}
