//! The real program against a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test, with its line")]

mod auth;
mod browser;
mod cache;
mod database;
mod drain;
mod ledger;
mod realworld;
mod search;
mod seed;
mod session;
mod uploads;
mod web;
mod world;
