//! Which route a request takes: compiled once per snapshot, decided without allocation for plain paths.
//!
//! [`Table`] is pure, so that `banyan route explain` answers by the code that serves. `serving` is the edge's side:
//! groups, redirects, edits, the cookie of a split.

mod explain;
mod matcher;
mod order;
pub(crate) mod path;
pub(crate) mod serving;
mod split;
#[cfg(test)]
mod tests;

pub use explain::{Candidate, Explained, Fate};
pub(crate) use matcher::Decision;
pub use matcher::{Asked, Table};
pub(crate) use path::decode;
