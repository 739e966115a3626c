//! Child processes of this machine: start, watch, restart, stop, adopt; and the engines among them.
//!
//! [`build`] gives a [`Service`] to run and a [`Handle`] to talk to it. Only this crate (and testkit) starts processes.

pub mod account;
pub mod child;
pub mod engine;
pub mod launch;

pub use child::{
    Adopted, CgroupUse, ChildId, ChildSpec, ChildState, ChildStatus, Handle, LiveRule, NotReady, Probe,
    RunAs, RunOutcome, Service, StartError, StopReport, StopSignal, SupervisorConfig, become_command, build,
    cgroup_use, survivors,
};
