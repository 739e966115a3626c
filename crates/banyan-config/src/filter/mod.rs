//! Filters: what is asked of a request beside where it goes. `[edge]` has those of all requests, a `[[route]]` may have
//! its own in their place.

mod compress;
mod cors;
mod count;
mod rate_limit;
mod waf;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::auth::{self, Auth};
use crate::read::Reader;
use crate::report::Report;

pub use compress::{Coding, Compress};
pub use cors::Cors;
pub use count::CountLimits;
pub(crate) use count::build as count_limits;
pub(crate) use rate_limit::parse_rate;
pub use rate_limit::{RateBy, RateLimit};
pub use waf::{WAF_RULES, Waf, WafMode};

/// In force: what a route does not say itself is the edge's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filters {
    /// All must let a request through.
    pub rate_limits: Vec<RateLimit>,
    /// Names of `[auth]`; one of them must be satisfied. Empty: everybody is let through.
    pub auth: Vec<String>,
    pub cors: Option<Cors>,
    pub compress: Option<Compress>,
    pub waf: Option<Waf>,
}

impl Filters {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// One line for each, for `banyan route explain`.
    pub fn words(&self) -> Vec<String> {
        let auth = (!self.auth.is_empty()).then(|| format!("only with auth {}", self.auth.join(" or ")));
        let limits = self.rate_limits.iter().map(ToString::to_string);
        let cors = self.cors.as_ref();
        let cors = cors.map(|cors| format!("pages of {} may read answers", cors.origins.join(", ")));
        let compress = self.compress.as_ref().map(Compress::words);
        auth.into_iter()
            .chain(limits)
            .chain(cors)
            .chain(compress)
            .chain(self.waf.as_ref().map(Waf::words))
            .collect()
    }
}

/// Of `[edge]` (`of`: `None`) or the route of this name. `inherited` is in force where nothing is written.
pub(crate) fn build(
    table: &Reader<'_>,
    of: Option<&str>,
    inherited: &Filters,
    known: &BTreeMap<String, Auth>,
    report: &Report,
) -> Filters {
    let filters = Filters {
        rate_limits: rate_limit::build(table, of, &inherited.rate_limits, report),
        auth: auth::names(table, &inherited.auth, known, report),
        cors: cors::build(table, inherited.cors.as_ref(), report),
        compress: compress::build(table, inherited.compress.as_ref(), report),
        waf: waf::build(table, inherited.waf.as_ref(), report),
    };
    rate_limit::has_identity(table, &filters, known, report);
    filters
}
