//! The real binary, the sample app and PostgreSQL, as a person runs them.
//!
//! Each test has an installation in a folder of its own and prints its figures. Names with `under_load` run alone
//! (`.config/nextest.toml`).

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints its figures"
)]

mod acme;
mod advise;
mod alerts;
mod attacks;
mod autoscale;
mod backups;
mod bad_http;
mod bad_input;
mod browsing;
mod cache;
mod cache_disk;
mod caching;
mod cdn_rung;
mod check;
mod composed;
mod disk_faults;
mod drill;
mod edge_restarts;
mod endings;
mod external;
mod failed_deploys;
mod failover;
mod first_steps;
mod full_disk;
mod growth;
mod killed_moves;
mod kills;
mod languages;
mod listeners;
mod logged_in;
mod logs;
mod mirrors;
mod moves;
mod observe;
mod one_off;
mod origins;
mod places;
mod proxy;
mod purges;
mod pushes;
mod realworld;
mod redis;
mod resume;
mod routes;
mod scenario;
mod sentinels;
mod servers;
mod sessions;
mod small_disk;
mod soak;
mod traces;
mod warmed;
mod zones;
