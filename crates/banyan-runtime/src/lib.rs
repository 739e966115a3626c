//! The outside world for every role: tasks, signals and shutdown, listeners, watched files, the control socket, the clock.
//!
//! Only this crate spawns tasks and threads, binds ports and reads the clock, so that each happens in one way and can be
//! handed in to the decisions that depend on it.

pub mod ask_h2;
pub mod beneath;
pub mod clock;
pub mod control;
pub mod cores;
pub mod fd;
pub mod handover;
pub mod listener;
pub mod own;
pub mod parcels;
pub mod private;
pub mod reporter;
pub mod shutdown;
pub mod spans;
pub mod task;
pub mod token;
pub mod watched;

pub use clock::Clock;
pub use shutdown::{Shutdown, ShutdownStage};
pub use task::{TaskKind, Tasks};
