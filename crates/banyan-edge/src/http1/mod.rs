//! HTTP/1 on the wire, as both sides of the edge need it: reading through one buffer per core, chunked bodies, writing
//! heads and bodies in as few calls as they take.
//!
//! No tasks and no timers. Who reads and writes decides what a message means: `forward::http1` towards instances.

pub(crate) mod alarm;
pub(crate) mod chunked;
#[cfg(test)]
mod differential;
pub(crate) mod outbox;
pub(crate) mod reading;
pub(crate) mod request;
pub(crate) mod requests;
