//! What people wished beyond banyan.toml, and what must be remembered so that it is not chosen twice.

use std::path::Path;

use banyan_runtime::watched::{self, WatchedError};
use banyan_topology::ReleaseId;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// A rollback holds until the next deploy: the configuration's own release is not made while this is set.
    pub pinned: Option<ReleaseId>,
    /// Number of the next release that is made. Never goes back, so a number names one release for ever.
    pub next_release: u32,
}

impl Default for Intent {
    fn default() -> Self {
        Self {
            pinned: None,
            next_release: 1,
        }
    }
}

impl Intent {
    pub fn read(path: &Path) -> Result<Self, WatchedError> {
        Ok(watched::read(path)?.unwrap_or_default())
    }

    pub fn write(&self, path: &Path) -> Result<(), WatchedError> {
        watched::publish(path, self)
    }
}
