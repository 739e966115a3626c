//! What should run, and how to get there: pure values and functions.
//!
//! `resolve` turns a Config and facts into a complete [`Topology`]; `plan::between` turns two topologies into ordered
//! [`Step`]s, each with its inverse; `check` judges the result and every prefix with code that did not plan. Executing
//! a step is `banyan-reconcile`'s work; [`Step::apply`] says what a done step means for the topology.
//!
//! Tasks: none. Files, sockets, clock, randomness: none; whatever of them matters is an argument.

pub mod check;
pub mod facts;
pub mod id;
pub mod model;
pub mod plan;
pub mod purge;
pub mod report;
pub mod resolve;
pub mod rung;
pub mod sight;
pub mod signals;
pub mod snapshot;

pub use facts::{BackupFacts, Facts, Remembered};
pub use id::{AppName, Epoch, InstanceId, NodeId, PlaceName, ProcessName, ReleaseId};
pub use model::{
    Database, Edge, External, Instance, Node, Observe, Pgproxy, Process, Redis, Release, Topology,
};
pub use plan::{Plan, PlannedStep, Step, StepError};
pub use resolve::{Change, ResolveError, ResolveErrors, Resolved, resolve};
