//! The role against a real PostgreSQL 15: drivers and raw sockets.
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

mod behind;
mod console;
mod crash;
mod flush;
mod hidden;
mod hold;
mod hunter;
mod lost;
mod meaning;
mod moved;
mod names;
mod queries;
mod raw;
mod replicas;
mod replicated;
mod session;
mod signals;
mod startup;
mod statements;
mod tls;
mod ways;
mod world;
