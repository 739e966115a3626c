//! How one of several eligible endpoints is chosen.

mod round_robin;

pub use round_robin::RoundRobin;
