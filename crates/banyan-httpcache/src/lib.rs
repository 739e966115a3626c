//! HTTP caching, decided: what may be stored, reused, validated, combined, invalidated and purged.
//!
//! Pure: no I/O, no clock, no tasks; times are arguments and bodies are lengths. A store keeps [`Head`]s and bytes, a
//! proxy moves them; this crate says what is allowed, and why.
//!
//! - [`lookup()`]: a request and what is stored → answer from it, validate, fill gaps, ask the origin.
//! - [`admit()`]: a response → store it, or the reason why not.
//! - [`freshen()`], [`after_head()`]: what a 304 or a HEAD says of what is stored.
//! - [`on_error()`]: whether a stored response stands in for a failing origin.
//! - [`invalidates()`]: what an unsafe request makes untrue.
//! - [`purge::Table`]: which stored responses a purge has reached.
//! - [`Fill`]: of many requests for one key, who asks the origin.
//!
//! Standards: RFC 9110 (§13-15), 9111, 9211, 9213, 5861, 8246, 9875. POST responses are not stored.

mod admit;
mod answer;
mod conditional;
pub mod directive;
mod fill;
mod freshen;
pub mod freshness;
mod head;
mod invalidate;
mod key;
mod lookup;
mod policy;
pub mod purge;
pub mod range;
mod status;
mod tags;
mod time;
pub mod vary;
mod why;
mod written;

pub use admit::{Admit, admit};
pub use answer::{Answer, Receiver, answer, for_receiver};
pub use conditional::{Conditions, Verdict, judge};
pub use fill::{Enter, Fill, Next};
pub use freshen::{AfterHead, Freshened, after_head, freshen};
pub use head::{Answered, Asked, Etag, Extent, Head, Staleness, Times};
pub use invalidate::{Scope, invalidates};
pub use key::{Key, Query};
pub use lookup::{Failure, Lookup, OnError, Refresh, Standing, Stored, lookup, on_error};
pub use policy::{Policy, Precedence, Profile, SetCookie};
pub use status::{CACHE_STATUS, CacheStatus, Forward, Outcome};
pub use time::Time;
pub use why::Why;
