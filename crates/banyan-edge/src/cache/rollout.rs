//! During a rollout two releases serve: a page of the new one names files that the old one does not have. A 404 for an address
//! of the class `versioned` is asked for once more, of an instance of another release.

use std::rc::Rc;

use http::StatusCode;

use super::Name;
use crate::exchange::Exchange;

/// Whether to ask again; the instances of the release that has answered are avoided then.
pub(super) fn ask_another(exchange: &mut Exchange, name: &Name, status: StatusCode) -> bool {
    if status != StatusCode::NOT_FOUND || !name.rule.versioned {
        return false;
    }
    let Some(id) = exchange.upstream.as_ref().map(|upstream| upstream.id.clone()) else {
        return false;
    };
    // A shield has asked both.
    if exchange.group.process() != Some(&id.process) {
        return false;
    }
    let endpoints = exchange.group.endpoints.borrow();
    let (same, other): (Vec<_>, Vec<_>) = endpoints
        .eligible()
        .map(|entry| Rc::clone(&entry.data))
        .partition(|upstream| upstream.id.release == id.release);
    drop(endpoints);
    if other.is_empty() {
        return false;
    }
    exchange.avoided = same;
    exchange.retries += 1;
    true
}
