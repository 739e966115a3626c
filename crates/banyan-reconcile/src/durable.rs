//! What the executor writes before and after each step. A trait, so that tests can end the world at every write.

use std::path::PathBuf;

use banyan_runtime::watched::{self, WatchedError};
use banyan_topology::Topology;

use crate::intent::Intent;
use crate::journal::{Entry, Journal, JournalError};

#[derive(Debug, thiserror::Error)]
pub enum DurableError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    State(#[from] WatchedError),
}

/// Each call is on the disk when it returns.
pub trait Durable: Send {
    fn append(&mut self, entry: &Entry) -> Result<(), DurableError>;
    fn save_topology(&mut self, topology: &Topology) -> Result<(), DurableError>;
    fn save_intent(&mut self, intent: &Intent) -> Result<(), DurableError>;
}

/// The files of the state folder.
#[derive(Debug)]
pub struct Disk {
    pub journal: Journal,
    pub topology: PathBuf,
    pub intent: PathBuf,
}

impl Durable for Disk {
    fn append(&mut self, entry: &Entry) -> Result<(), DurableError> {
        Ok(self.journal.append(entry)?)
    }

    fn save_topology(&mut self, topology: &Topology) -> Result<(), DurableError> {
        Ok(watched::publish(&self.topology, topology)?)
    }

    fn save_intent(&mut self, intent: &Intent) -> Result<(), DurableError> {
        Ok(intent.write(&self.intent)?)
    }
}
