//! SQL text to facts: what a statement is, which relations it names, what it calls.
//!
//! Three depths, each only as deep as needed:
//! - [`lex`] knows PostgreSQL's tokens and comments: the first word, hints, and the [`template`] that is the same for statements
//!   that differ only in literals.
//! - [`Grammar`] is PostgreSQL's own grammar (`libpg_query`) behind a trait, so that nothing else sees its tree.
//! - [`facts`] is what remains of a tree: a plain value. Names only; what they mean is the catalog's business.
//!
//! Limits: text over [`MAX_TEXT`] or with more than [`MAX_NODES`] nodes is not looked into. Everything that is not understood is a
//! [`Doubt`], never a guess.

pub mod facts;
pub mod hint;
pub mod lex;
pub mod template;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

pub use facts::{Doubt, Name, StatementFacts, StatementKind, Verb};
pub use hint::Hint;
pub use tree::{Grammar, PostgresGrammar};

/// Bytes. A parse takes about 1 µs per 50 bytes, on the thread that serves other clients as well.
pub const MAX_TEXT: usize = 64 * 1024;
/// `1+1+1+...` is short to write and deep as a tree: the walk has a worklist instead of recursion, and this bound.
pub const MAX_NODES: usize = 50_000;
