//! Whether an endpoint may get requests.

mod active;

pub use active::{Active, CheckResult, Verdict};
