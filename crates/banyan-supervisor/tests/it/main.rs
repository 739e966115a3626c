//! Real processes and a real PostgreSQL server, one program for all of these tests.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod adopt;
mod backup;
mod life;
mod postgres;
mod redis;
mod replica;
mod world;
