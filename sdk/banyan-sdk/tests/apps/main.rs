//! Apps made with the SDK, as processes: the examples, from start to exit.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accounts;
mod app;
mod serving;
mod visits;
