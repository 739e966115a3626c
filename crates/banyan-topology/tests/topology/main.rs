//! What `banyan-topology` promises, through its public face.

#![expect(clippy::unwrap_used, reason = "a test without its value fails")]

mod histories;
mod installation;
mod laws;
mod notation;
mod observe;
mod pictures;
mod plans;
mod planted;
mod redis;
mod resolving;
mod servers;
mod worlds;
