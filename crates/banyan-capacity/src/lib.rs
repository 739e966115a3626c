//! How much of everything a load needs, decided: no tasks, no files, no clock; times and measurements are handed in.
//!
//! [`autoscale`] says how many instances of a process there should be, [`advise`] which step of the ladder comes next.

pub mod advise;
pub mod autoscale;
