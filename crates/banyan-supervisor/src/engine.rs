//! Engines: what Banyan knows about the programs it runs: the app, PostgreSQL and Redis.
//!
//! Each turns values of the topology into a [`ChildSpec`](crate::ChildSpec) and does what a start needs around it.

pub mod app;
pub(crate) mod files;
pub mod identity;
mod place;
pub mod postgres;
pub mod redis;
mod secret;
mod serving;
