//! Who gets the request: the balance policy's choice, waiting for a ready endpoint if there is none.

use std::rc::Rc;

use http::request::Parts;
use tokio::time::timeout_at;

use banyan_config::{Balance, HashBy};
use banyan_upstream::Demand;
use banyan_upstream::balance::hash;

use super::pool::{InFlight, Upstream};
use crate::core::{Core, Peer};
use crate::headers;
use crate::respond::Refusal;

/// What a request says about who should get it.
pub(super) struct Wanted {
    key: u64,
}

impl Wanted {
    pub(super) fn of(core: &Core, peer: &Peer, head: &Parts) -> Self {
        let settings = core.settings();
        let key = match (settings.balance, settings.hash_by) {
            (Balance::Ring, HashBy::Path) => hash::bytes(head.uri.path().as_bytes()),
            (Balance::IpHash, _) | (Balance::Ring, HashBy::Ip) => {
                match headers::client_address(&head.headers, peer.address, &settings.trusted_proxies) {
                    std::net::IpAddr::V4(ip) => hash::bytes(&ip.octets()),
                    std::net::IpAddr::V6(ip) => hash::bytes(&ip.octets()),
                }
            }
            _ => 0,
        };
        Self { key }
    }
}

/// The next endpoint's turn, waiting for a ready one if there is none.
pub(super) async fn choose(
    core: &Rc<Core>,
    wanted: &Wanted,
    tried: &[Rc<Upstream>],
) -> Result<InFlight, Refusal> {
    if let Some(in_flight) = pick(core, wanted, tried) {
        return Ok(in_flight);
    }
    let deadline = tokio::time::Instant::now() + core.settings().timeouts.no_endpoint;
    loop {
        let changed = core.ready_changed.notified();
        if let Some(in_flight) = pick(core, wanted, tried) {
            return Ok(in_flight);
        }
        timeout_at(deadline, changed)
            .await
            .map_err(|_| Refusal::NoEndpoint)?;
    }
}

/// Picking and counting is one synchronous step: a drain that starts later sees the request in flight.
///
/// One that was tried gets it again only if there is no other.
fn pick(core: &Rc<Core>, wanted: &Wanted, tried: &[Rc<Upstream>]) -> Option<InFlight> {
    let demand = Demand {
        now: core.now(),
        key: wanted.key,
        random: core.random.borrow_mut().number(),
    };
    let mut set = core.endpoints.borrow_mut();
    if !tried.is_empty() {
        let untried = |upstream: &Rc<Upstream>| !tried.iter().any(|t| Rc::ptr_eq(t, upstream));
        if let Some(entry) = set.pick(&demand, Some(&untried)) {
            return Some(InFlight::begin(core, &entry.data, demand.now));
        }
    }
    let entry = set.pick(&demand, None)?;
    Some(InFlight::begin(core, &entry.data, demand.now))
}
