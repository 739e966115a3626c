//! Series in, alerts out, both as text; and what Prometheus and Alertmanager make of the exported rules.
#![expect(clippy::unwrap_used, reason = "helpers of tests end the test")]

mod outside;
mod rules;
mod script;
mod telling;
