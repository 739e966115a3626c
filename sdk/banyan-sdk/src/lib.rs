//! For apps behind Banyan: a cache in front of PostgreSQL that is never wrong for long, and rate limits over all instances.
//!
//! The crate imports nothing of the platform; an app needs it for nothing but comfort, and what it does in Redis and
//! PostgreSQL is documented for other languages (`docs/sdk.md`).

mod breaker;
pub mod cache;
mod db;
pub mod limit;
mod point;
mod task;
#[cfg(test)]
mod tests;

pub use cache::{Cache, CacheError, Cached};
pub use db::{Database, Tx};
pub use limit::Limiter;
