//! What the system catalogs hold, as far as routing needs it.

/// Everything of one database at one moment.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub functions: Vec<FunctionRow>,
    pub operators: Vec<OperatorRow>,
    pub relations: Vec<RelationRow>,
    pub expressions: Vec<ExpressionRow>,
    pub links: Links,
    /// Of casts and of types' input and output; the user's only.
    pub implied_functions: Vec<u32>,
}

/// pg_proc
#[derive(Clone, Debug)]
pub struct FunctionRow {
    pub oid: u32,
    pub schema: Box<str>,
    pub name: Box<str>,
    pub kind: FunctionKind,
    pub volatility: Volatility,
    pub language: Box<str>,
    /// Text of the user's functions; empty in C.
    pub body: Box<str>,
    /// Library of a C function (`probin`).
    pub library: Box<str>,
    /// What an aggregate calls.
    pub parts: Vec<u32>,
    /// One argument that may be a row: callable as `row.name`.
    pub takes_row: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FunctionKind {
    Function,
    Procedure,
    Aggregate,
    Window,
}

/// What the function's owner promises (CREATE FUNCTION, volatility).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

/// pg_operator
#[derive(Clone, Debug)]
pub struct OperatorRow {
    pub schema: Box<str>,
    pub name: Box<str>,
    pub function: u32,
}

/// pg_class
#[derive(Clone, Debug)]
pub struct RelationRow {
    pub oid: u32,
    pub schema: Box<str>,
    pub name: Box<str>,
    pub kind: RelationKind,
    pub unlogged: bool,
    /// Row-level security is on.
    pub guarded: bool,
    /// INSERT, UPDATE or DELETE is rewritten (CREATE RULE).
    pub rewritten: bool,
    /// The query of a view.
    pub view: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RelationKind {
    /// Also partitioned tables and materialized views.
    Table,
    View,
    Foreign,
    Sequence,
}

/// A default, check or policy; of a domain if `relation` is 0.
#[derive(Clone, Debug)]
pub struct ExpressionRow {
    pub relation: u32,
    /// It decides who sees rows, so it also runs in reads.
    pub policy: bool,
    pub text: Box<str>,
}

#[derive(Clone, Debug, Default)]
pub struct Links {
    /// (child, parent): inheritance and partitions.
    pub inherits: Vec<(u32, u32)>,
    pub foreign_keys: Vec<ForeignKeyRow>,
    /// (relation, function), the user's.
    pub triggers: Vec<(u32, u32)>,
    /// Functions that event triggers run.
    pub event_triggers: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
pub struct ForeignKeyRow {
    pub from: u32,
    pub to: u32,
    /// ON UPDATE is CASCADE, SET NULL or SET DEFAULT.
    pub on_update: bool,
    /// ON DELETE is.
    pub on_delete: bool,
}
