//! The control loop of one installation: intent → plan → execution → snapshots.
pub mod proto;
