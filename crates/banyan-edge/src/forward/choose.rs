//! Who gets the request: the balance policy's choice, waiting while nobody is ready or everybody has all it may have.

use std::net::IpAddr;
use std::rc::Rc;

use http::header::{self, HeaderMap};
use http::request::Parts;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use banyan_config::{Balance, HashBy, Sticky};
use banyan_topology::snapshot::among;
use banyan_upstream::Demand;
use banyan_upstream::balance::hash;
use banyan_upstream::queue::Ticket;

use super::gate::Seat;
use super::pool::{InFlight, Upstream};
use crate::core::Core;
use crate::core::groups::Group;
use crate::exchange::Exchange;
use crate::headers;
use crate::respond::Refusal;
use crate::sticky;

/// What a request says about who should get it.
pub(super) struct Wanted {
    key: u64,
    /// With sticky sessions by cookie.
    cookie: Option<Cookie>,
}

struct Cookie {
    name: String,
    /// What the client sent; it may be anything.
    sent: Option<String>,
    secure: bool,
}

impl Wanted {
    /// Of a connection that is no request: only the address says who it is.
    pub(super) fn of_address(core: &Core, client: IpAddr) -> Self {
        let settings = core.settings();
        let by_address = matches!(settings.sticky, Some(Sticky::Ip))
            || matches!(settings.balance, Balance::IpHash | Balance::Ring);
        Self {
            key: if by_address { address_key(client) } else { 0 },
            cookie: None,
        }
    }

    pub(super) fn of(exchange: &Exchange, head: &Parts) -> Self {
        let settings = exchange.core.settings();
        let by_address = || {
            let trusted = &settings.trusted_proxies;
            let seen = || headers::client_address(&head.headers, exchange.peer.address, trusted);
            address_key(exchange.relayed.map_or_else(seen, |from| from.client))
        };
        let key = match (&settings.sticky, settings.balance, settings.hash_by) {
            (Some(Sticky::Ip), _, _) | (_, Balance::IpHash, _) | (_, Balance::Ring, HashBy::Ip) => {
                by_address()
            }
            (_, Balance::Ring, HashBy::Path) => hash::bytes(head.uri.path().as_bytes()),
            _ => 0,
        };
        let cookie = match &settings.sticky {
            Some(Sticky::Cookie(name)) => Some(Cookie {
                name: name.clone(),
                sent: sticky::sent(&head.headers, name).map(str::to_owned),
                secure: headers::came_by_https(&head.headers),
            }),
            Some(Sticky::Ip) | None => None,
        };
        Self { key, cookie }
    }

    /// Gives the client the cookie of the instance that answered, unless its own is of one that can be used: then it was
    /// only busy, and gets the next request.
    pub(super) fn remember(&self, group: &Group, upstream: &Upstream, headers: &mut HeaderMap) {
        let Some(cookie) = &self.cookie else { return };
        let stays = cookie.sent.as_ref().is_some_and(|sent| {
            group
                .endpoints
                .borrow()
                .eligible()
                .any(|e| e.data.has_cookie(sent))
        });
        if stays {
            return;
        }
        let value = upstream.cookie();
        if let Some(set) = value.and_then(|value| sticky::set(&cookie.name, &value, cookie.secure)) {
            headers.append(header::SET_COOKIE, set);
        }
    }
}

fn address_key(client: IpAddr) -> u64 {
    match client {
        IpAddr::V4(ip) => hash::bytes(&ip.octets()),
        IpAddr::V6(ip) => hash::bytes(&ip.octets()),
    }
}

/// That of instances; another edge has limits of its own.
fn limit_of(core: &Core, group: &Group) -> Option<u32> {
    let limit = core.settings().queue.max_connections?;
    (!group.process().is_some_and(among::is_edge)).then_some(limit)
}

/// The next endpoint's turn, waiting within limits if there is none.
pub(super) async fn choose(
    core: &Rc<Core>,
    group: &Rc<Group>,
    wanted: &Wanted,
    tried: &[Rc<Upstream>],
) -> Result<InFlight, Refusal> {
    let Some(limit) = limit_of(core, group) else {
        return ready_one(core, group, wanted, tried).await;
    };
    let begun = core.now();
    // Who waits already comes first.
    let at_once = (group.gate.waiting() == 0)
        .then(|| free_one(core, group, wanted, tried, limit))
        .flatten();
    let chosen = match at_once {
        Some(in_flight) => Ok(in_flight),
        None => in_line(core, group).await,
    };
    let waited = core.waited(group, begun);
    chosen.map(|in_flight| in_flight.after(waited))
}

/// An endpoint that is free right now; waits for none, and passes nobody who does.
pub(super) fn at_once(core: &Rc<Core>, group: &Group, wanted: &Wanted) -> Option<InFlight> {
    match limit_of(core, group) {
        None => pick(core, group, wanted, &[], None),
        Some(limit) if group.gate.waiting() == 0 => free_one(core, group, wanted, &[], limit),
        Some(_) => None,
    }
}

/// Without a limit: only readiness counts.
async fn ready_one(
    core: &Rc<Core>,
    group: &Group,
    wanted: &Wanted,
    tried: &[Rc<Upstream>],
) -> Result<InFlight, Refusal> {
    if let Some(in_flight) = pick(core, group, wanted, tried, None) {
        return Ok(in_flight);
    }
    let begun = core.now();
    let deadline = Instant::now() + core.settings().timeouts.no_endpoint;
    loop {
        let changed = group.ready_changed.notified();
        if let Some(in_flight) = pick(core, group, wanted, tried, None) {
            return Ok(in_flight.after(core.now().saturating_duration_since(begun)));
        }
        timeout_at(deadline, changed)
            .await
            .map_err(|_| Refusal::NoEndpoint)?;
    }
}

/// Picking and counting is one synchronous step: a drain that starts later sees the request in flight.
///
/// One that was tried gets it again only if there is no other.
fn pick(
    core: &Rc<Core>,
    group: &Group,
    wanted: &Wanted,
    tried: &[Rc<Upstream>],
    limit: Option<u32>,
) -> Option<InFlight> {
    let demand = Demand {
        now: core.now(),
        key: wanted.key,
        random: core.random.borrow_mut().number(),
    };
    let has_room = |upstream: &Rc<Upstream>| limit.is_none_or(|limit| upstream.cells.seats.has_room(limit));
    let mut set = group.endpoints.borrow_mut();
    let untried =
        |upstream: &Rc<Upstream>| has_room(upstream) && !tried.iter().any(|t| Rc::ptr_eq(t, upstream));
    let sent = wanted.cookie.as_ref().and_then(|cookie| cookie.sent.as_ref());
    let mut chosen = sent.and_then(|sent| {
        let mut all = set.eligible().map(|e| &e.data);
        all.find(|upstream| upstream.has_cookie(sent) && untried(upstream))
            .cloned()
    });
    if chosen.is_none() && !tried.is_empty() {
        chosen = set.pick(&demand, Some(&untried)).map(|e| Rc::clone(&e.data));
    }
    if chosen.is_none() {
        let found = match limit {
            Some(_) => set.pick(&demand, Some(&has_room)),
            None => set.pick(&demand, None),
        };
        chosen = found.map(|e| Rc::clone(&e.data));
    }
    Some(InFlight::begin(core, &chosen?, demand.now))
}

/// With a limit: an endpoint with room, and a seat at it.
fn free_one(
    core: &Rc<Core>,
    group: &Group,
    wanted: &Wanted,
    tried: &[Rc<Upstream>],
    limit: u32,
) -> Option<InFlight> {
    loop {
        let mut in_flight = pick(core, group, wanted, tried, Some(limit))?;
        // Another core may have been faster; then it has no room any more.
        if let Some(seat) = in_flight.upstream.cells.seats.take(limit) {
            in_flight.seat = Some(seat);
            return Some(in_flight);
        }
    }
}

/// Waits for a seat at any endpoint.
async fn in_line(core: &Rc<Core>, group: &Rc<Group>) -> Result<InFlight, Refusal> {
    let settings = core.settings();
    let (time, refusal) = if group.endpoints.borrow().eligible().next().is_some() {
        (settings.queue.wait, Refusal::Busy)
    } else {
        (settings.timeouts.no_endpoint, Refusal::NoEndpoint)
    };
    let deadline = Instant::now() + time;
    let mut place = Place::enter(core, group, settings.queue.length as usize)?;
    core.hand_out();
    loop {
        let offered = timeout_at(deadline, &mut place.offered).await;
        let Ok(Ok(seat)) = offered else {
            return Err(refusal);
        };
        match sit_down(core, group, seat) {
            Some(in_flight) => return Ok(in_flight),
            None => place.again(),
        }
    }
}

/// `None`: this core knows that the endpoint gets nothing new, the one that offered it did not yet.
fn sit_down(core: &Rc<Core>, group: &Group, seat: Seat) -> Option<InFlight> {
    let set = group.endpoints.borrow();
    let entry = set.eligible().find(|e| seat.is_of(&e.data.cells.seats))?;
    let mut in_flight = InFlight::begin(core, &entry.data, core.now());
    in_flight.seat = Some(seat);
    Some(in_flight)
}

/// A place in the line; who goes away, however it ends, leaves it.
struct Place {
    core: Rc<Core>,
    group: Rc<Group>,
    ticket: Ticket,
    offered: oneshot::Receiver<Seat>,
}

impl Place {
    fn enter(core: &Rc<Core>, group: &Rc<Group>, length: usize) -> Result<Self, Refusal> {
        let (ticket, offered) = group.gate.enter(length).map_err(|_full| Refusal::Busy)?;
        Ok(Self {
            core: Rc::clone(core),
            group: Rc::clone(group),
            ticket,
            offered,
        })
    }

    fn again(&mut self) {
        self.offered = self.group.gate.again(self.ticket);
        self.core.hand_out();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.offered.close();
        // Taken already: the usual end.
        if self.offered.is_terminated() {
            return;
        }
        self.group.gate.leave(self.ticket);
        if let Ok(seat) = self.offered.try_recv() {
            drop(seat);
            self.core.hand_out();
        }
    }
}
