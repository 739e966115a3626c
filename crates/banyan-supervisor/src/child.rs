//! Children: start, watch, restart, stop, adopt.
//!
//! [`build`] gives a [`Service`] (one task, owns the list of children) and a [`Handle`]. Each child has a task of its
//! own, the `actor`: it performs what the pure state machine in `machine` decides, so a child that hangs or flaps
//! delays no other. Messages only: nothing is shared, nothing is locked.
//!
//! Limits: a process that leaves its group, its session, its cgroup (where there are none) and its environment, and
//! whose parent has died, is not found.

mod actor;
mod backoff;
mod cgroup;
pub(crate) mod diagnose;
mod error;
pub mod log;
mod machine;
mod once;
mod probe;
pub(crate) mod process;
pub(crate) mod procfs;
mod service;
mod spec;
mod status;
mod survivor;

pub use cgroup::{CgroupUse, cgroup_use};
pub use error::{NotReady, StartError};
pub use process::become_command;
pub use service::{Handle, Service, SupervisorConfig, build};
pub use spec::{ChildId, ChildSpec, LiveRule, Probe, RunAs, StopSignal};
pub use status::{Adopted, ChildState, ChildStatus, RunOutcome, StopReport};
pub use survivor::survivors;
