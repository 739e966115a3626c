//! The outside world of the tests: ports, PostgreSQL, Redis, processes, an HTTP client, a browser, load, and the ledger that
//! judges writes.
//!
//! Everything here cleans up when it is dropped, kills only what it started (by process id), and is safe for many test
//! processes at once (cargo-nextest runs each test in its own). Nothing reaches the internet.

pub mod acme;
pub mod browser;
pub mod exposition;
pub mod http;
pub mod hurl;
pub mod ledger;
pub mod load;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod redis;
pub mod upstream;
pub mod wait;
pub mod watched;

pub use ports::Port;
pub use postgres::Postgres;
pub use redis::Redis;
