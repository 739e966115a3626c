//! PostgreSQL's protocol 3.0 as bytes: frames, startup, messages, SCRAM. No input or output, no clock.

pub mod frame;
pub mod message;
pub mod options;
pub mod scram;
pub mod startup;
