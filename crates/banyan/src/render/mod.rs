//! How things look: text from values, no I/O but the progress line's.

pub(crate) mod advise;
pub(crate) mod alerts;
pub(crate) mod amount;
pub(crate) mod autoscale;
pub(crate) mod backup;
pub(crate) mod error;
pub(crate) mod findings;
pub(crate) mod paint;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod signals;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod top;
pub(crate) mod trace;
