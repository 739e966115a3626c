//! Whether an endpoint may get requests.

mod active;
mod outlier;

pub use active::{Active, CheckResult, Verdict};
pub use outlier::{Cause, Out, Outliers};
