//! Filters: what is asked of a request before it goes anywhere, and what the answer says of it. Compiled once per snapshot
//! and core; a request without any pays one branch.
//!
//! Order: limits by address, header and route.

pub(crate) mod buckets;
mod gcra;
mod rate;

use std::rc::Rc;

use http::header::HeaderMap;
use http::request::Parts;

use crate::exchange::Exchange;
use crate::headers::client_address;
use crate::respond::Refusal;
use crate::route::serving::Next;
use rate::{Asker, Limits, Told, Turn};

/// Of a route, or of the requests that no route takes.
pub(crate) struct Filters {
    limits: Option<Limits>,
}

/// What filters know of a request until its answer is on its way.
pub(crate) struct Filtered {
    filters: Rc<Filters>,
    told: Told,
}

impl Filters {
    /// `None`: nothing is asked.
    pub(crate) fn compile(filters: &banyan_config::Filters) -> Option<Rc<Self>> {
        let banyan_config::Filters { rate_limits } = filters;
        let compiled = Self {
            limits: Limits::new(rate_limits),
        };
        (!filters.is_empty()).then(|| Rc::new(compiled))
    }
}

/// Asks all filters about a request.
pub(crate) fn enter(
    exchange: &mut Exchange,
    filters: Option<Rc<Filters>>,
    head: &Parts,
) -> Result<Next, Refusal> {
    let Some(filters) = filters else {
        return Ok(Next::Forward);
    };
    let filtered = exchange.filtered.insert(Box::new(Filtered {
        filters,
        told: Told::default(),
    }));
    let core = &exchange.core;
    if let Some(limits) = &filtered.filters.limits {
        let settings = core.settings();
        let asker = Asker {
            address: client_address(&head.headers, exchange.peer.address, &settings.trusted_proxies),
            headers: &head.headers,
            user: None,
            key: None,
        };
        let now = core.since_start();
        if !limits.pass(
            Turn::BeforeIdentity,
            &asker,
            &core.buckets,
            now,
            &mut filtered.told,
        ) {
            return Err(Refusal::TooManyRequests);
        }
    }
    Ok(Next::Forward)
}

impl Filtered {
    /// Once, on whatever answer goes out.
    pub(crate) fn answer(&self, headers: &mut HeaderMap) {
        if let Some(limits) = &self.filters.limits {
            limits.answer(&self.told, headers);
        }
    }
}
