//! For apps behind Banyan: a cache in front of PostgreSQL that is never wrong for long.
//!
//! The crate imports nothing of the platform; an app needs it for nothing but comfort, and what it does in Redis and
//! PostgreSQL is documented for other languages (`docs/sdk.md`).

pub mod cache;
mod db;
mod point;
mod task;
#[cfg(test)]
mod tests;

pub use cache::{Cache, CacheError, Cached};
pub use db::{Database, Tx};
