//! The edge as its clients and its upstreams see it: raw sockets on both sides, one file per subject.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

mod access_log;
mod aggregate;
mod answer_limits;
mod answers;
mod balance;
mod cache;
mod drain;
mod ejection;
mod files;
mod filters;
mod forwarded;
mod grpc;
mod grpc_json;
mod h2_instances;
mod h2_peer;
mod handover;
mod http2;
mod keep_alive;
mod limits;
mod metrics;
mod mirror;
mod origins;
mod pairings;
mod per_address;
mod places;
mod proxy_protocol;
mod queue;
mod retry;
mod routes;
mod smuggling;
mod snapshots;
mod sticky;
mod streaming;
mod streams;
mod tls;
mod trace;
mod upgrade;
mod websocket;
mod world;
