//! Engines: what Banyan knows about the programs it runs: the app, and PostgreSQL.
//!
//! Each turns values of the topology into a [`ChildSpec`](crate::ChildSpec) and does what a start needs around it.

pub mod app;
pub mod identity;
pub mod postgres;
