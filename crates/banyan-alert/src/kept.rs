//! What outlives a restart.

use serde::{Deserialize, Serialize};

use crate::evaluate::State;
use crate::outbox::Outbox;

/// Alerts, and who is still to be told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub state: State,
    pub outbox: Outbox,
}
