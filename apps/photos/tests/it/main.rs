//! The real program against a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test, with its line")]

mod auth;
mod database;
mod drain;
mod ledger;
mod realworld;
mod seed;
mod uploads;
mod web;
mod world;
