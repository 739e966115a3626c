//! For apps behind Banyan: from the environment to a served [`axum::Router`], with health, readiness and drain; a cache in front
//! of PostgreSQL that is never wrong for long; rate limits over all instances; counters written behind; sessions, passwords, tokens, one-time codes.
//!
//! The crate imports nothing of the platform; an app needs it for nothing but comfort, and what it does in Redis and
//! PostgreSQL is documented for other languages (`docs/sdk.md`).

/// A `main` that returns an error shows how it is debugged: for these, the sentence that says what to do.
macro_rules! speaks_plainly {
    ($error:ty) => {
        impl std::fmt::Debug for $error {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    };
}

pub mod auth;
mod breaker;
pub mod cache;
mod count;
mod db;
mod env;
mod init;
pub mod limit;
mod link;
mod point;
mod serve;
pub mod session;
mod state;
mod task;
#[cfg(test)]
mod tests;
pub mod trace;

pub use cache::{Cache, CacheError, Cached};
pub use count::{CountError, Counter};
pub use db::{Database, Tx};
pub use env::{EnvError, Settings};
pub use init::{Banyan, InitError, init};
pub use limit::Limiter;
pub use serve::ServeError;
pub use session::Sessions;
