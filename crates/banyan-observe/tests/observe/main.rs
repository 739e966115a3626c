//! The role over real sockets: what pretended processes tell is on its page, in its view and in a real browser.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

mod otlp;
mod page;
mod world;
