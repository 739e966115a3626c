//! Filters: what is asked of a request beside where it goes. `[edge]` has those of all requests, a `[[route]]` may have
//! its own in their place.

mod rate_limit;

use serde::{Deserialize, Serialize};

use crate::read::Reader;
use crate::report::Report;

pub(crate) use rate_limit::parse_rate;
pub use rate_limit::{RateBy, RateLimit};

/// In force: what a route does not say itself is the edge's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filters {
    /// All must let a request through.
    pub rate_limits: Vec<RateLimit>,
}

impl Filters {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// One line for each, for `banyan route explain`.
    pub fn words(&self) -> Vec<String> {
        self.rate_limits.iter().map(ToString::to_string).collect()
    }
}

/// Of `[edge]` (`of`: `None`) or the route of this name. `inherited` is in force where nothing is written.
pub(crate) fn build(table: &Reader<'_>, of: Option<&str>, inherited: &Filters, report: &Report) -> Filters {
    Filters {
        rate_limits: rate_limit::build(table, of, &inherited.rate_limits, report),
    }
}
