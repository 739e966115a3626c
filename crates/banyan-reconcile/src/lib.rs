//! The control loop of one installation: intent → plan → execution → snapshots.
//!
//! [`controller::build`] gives a Service to run and a Handle to talk to it; it owns every child, the journal and the two
//! sockets. [`execute`] performs one plan over a [`driver::Driver`]; [`driver::Local`] is this machine.
//!
//! Tasks: the controller loop (role), one task per running plan, one per control or report connection.

mod acme;
mod backup;
pub mod controller;
pub mod driver;
pub mod durable;
pub mod execute;
mod external;
pub mod facts;
pub mod failover;
pub mod intent;
pub mod journal;
pub mod lock;
pub mod paths;
pub mod programs;
pub mod proto;
pub mod purge;
pub mod redis;
pub mod releases;
pub mod restoring;
pub mod takeover;

pub use controller::{BuildError, ControllerConfig, Done, Ending, Handle, Loaded, Loader, Service, build};
pub use lock::{Lock, LockError};
pub use paths::StateDir;
