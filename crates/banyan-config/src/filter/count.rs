//! `count_limits`: whether each edge counts rate limits for itself, or all together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::EdgeTable;
use crate::read::{Reader, Spot};
use crate::redis::Purpose;
use crate::report::Report;

/// Where the requests of rate limits are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountLimits {
    /// By each edge for itself, exactly over its cores.
    #[default]
    Here,
    /// By all edges together, in the Redis of `[sessions]`.
    Redis,
}

impl CountLimits {
    /// As written in banyan.toml.
    pub fn name(self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Redis => "redis",
        }
    }

    pub fn is_here(&self) -> bool {
        *self == Self::Here
    }
}

/// After routes, places and Redis. `redis`: which there are, and whether each is one server.
pub(crate) fn build(
    root: &Reader<'_>,
    edge: &mut EdgeTable,
    redis: &BTreeMap<Purpose, bool>,
    report: &Report,
) {
    let table = root.table("edge");
    let sessions = redis.get(&Purpose::Sessions);
    let limits = |filters: &super::Filters| !filters.rate_limits.is_empty();
    let routes = edge.routes.iter().map(|route| &route.bounds.filters);
    let has_limits = limits(&edge.settings.filters) || routes.into_iter().any(limits);
    edge.settings.count_limits = match table.text_or_default("count_limits").as_str() {
        "here" => CountLimits::Here,
        "redis" => {
            if let Some(written) = table.text("count_limits") {
                check(&written, sessions.copied(), has_limits, report);
            }
            CountLimits::Redis
        }
        _ if has_limits && !edge.places.is_empty() && sessions == Some(&true) => CountLimits::Redis,
        _ => CountLimits::Here,
    };
}

fn check(written: &Spot<String>, sessions: Option<bool>, has_limits: bool, report: &Report) {
    match sessions {
        None => report.error(
            &written.place,
            "count_limits = \"redis\" needs a Redis that keeps what it counts, and there is no [sessions]",
            &["write [sessions] (it may be empty: Banyan runs Redis), or remove this line"],
        ),
        Some(false) => report.error(
            &written.place,
            "edges count in one server, and the `url` of [sessions] names Sentinels or a Cluster",
            &["write count_limits = \"here\": each edge counts for itself"],
        ),
        Some(true) if !has_limits => report.warning(
            &written.place,
            "`count_limits` has no effect: there is no `rate_limit`".to_owned(),
            &["write rate_limit = { rate = \"100/1s\" } in [edge] or a route"],
        ),
        Some(true) => {}
    }
}
