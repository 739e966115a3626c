//! Who may receive work: endpoints, health, balance, retry. Synchronous and pure; time and randomness are handed in.
//!
//! [`EndpointSet`] is one core's view of a group: [`EndpointSet::update`] takes a snapshot's list, [`EndpointSet::pick`]
//! chooses who gets the next request by the policy of [`Rules`]. [`health::Active`] judges one endpoint by the results of
//! checks that somebody else makes. [`retry`] says whether a failed request may be tried elsewhere. Tasks, sockets,
//! clock: none.

pub mod balance;
mod endpoint;
pub mod health;
mod load;
pub mod queue;
pub mod retry;
pub mod zone;

pub use balance::Demand;
pub use endpoint::{Change, EndpointSet, Entry, Rules};
pub use load::{Load, Loaded};
