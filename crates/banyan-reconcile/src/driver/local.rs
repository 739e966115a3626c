//! This machine: children by the supervisor, the edge by snapshot and report.

pub struct Local;
