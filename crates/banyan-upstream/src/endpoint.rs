//! The endpoints of one group as one core sees them.
//!
//! What remains over an update keeps its health and its attached data; a new endpoint is not ready until told so: it is
//! checked before it gets its first request.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use banyan_config::{Balance, EdgeSettings, Sticky, ZoneName};
use banyan_topology::InstanceId;
use banyan_topology::snapshot::{Endpoint, EndpointState};

use crate::balance::{self, Demand, Named, Policy};
use crate::load::Loaded;
use crate::zone::Sides;

/// `D`: what the owner attaches to an endpoint (connections, counters, its load).
#[derive(Debug)]
pub struct EndpointSet<D> {
    entries: Vec<Entry<D>>,
    /// Who may be picked: places in `entries`, ascending.
    eligible: Vec<usize>,
    /// Those near and the others; `None`: where they are makes no difference now.
    sides: Option<Sides>,
    policy: Policy,
    /// For those that are not near: turns of one side are not the other's.
    beyond: Policy,
    rules: Rules,
    start: usize,
    /// When the last slow start ends.
    warm: Option<Instant>,
}

#[derive(Debug)]
pub struct Entry<D> {
    pub id: InstanceId,
    pub address: SocketAddr,
    pub zone: Option<ZoneName>,
    pub state: EndpointState,
    pub ready: bool,
    /// Passive health has taken it out for a while.
    pub ejected: bool,
    pub weight: f64,
    /// When it became ready.
    pub since: Option<Instant>,
    pub data: D,
}

/// How the group is balanced.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Where the one who picks is; `None`: all endpoints are equally far.
    pub zone: Option<ZoneName>,
    pub balance: Balance,
    /// By slot number, beginning with 1; those without weigh 1.
    pub weights: Vec<u32>,
    /// How long a new endpoint's share rises from 10 % to 100 %.
    pub slow_start: Duration,
    /// With fewer than this percentage ready and not ejected, ejected ones are used.
    pub panic: u32,
}

impl From<&EdgeSettings> for Rules {
    fn from(settings: &EdgeSettings) -> Self {
        let balance = match settings.sticky {
            // The address decides, so no policy has a say.
            Some(Sticky::Ip) => Balance::IpHash,
            Some(Sticky::Cookie(_)) | None => settings.balance,
        };
        Self {
            zone: settings.zone.clone(),
            balance,
            weights: settings.weights.clone(),
            slow_start: settings.slow_start,
            panic: settings.health.panic,
        }
    }
}

impl Rules {
    fn weight(&self, id: &InstanceId) -> f64 {
        let slot = (id.slot as usize).checked_sub(1);
        let weight = slot.and_then(|slot| self.weights.get(slot));
        weight.map_or(1.0, |weight| f64::from((*weight).max(1)))
    }
}

/// What an update did to those that are not simply kept.
#[derive(Debug)]
pub struct Change<D> {
    /// No longer in the list: finish what is in flight, close idle connections.
    pub removed: Vec<Entry<D>>,
}

impl<D: Loaded> EndpointSet<D> {
    /// `start`: where the first round begins (the core's number).
    pub fn new(start: usize, rules: Rules) -> Self {
        Self {
            entries: Vec::new(),
            eligible: Vec::new(),
            sides: None,
            policy: Policy::new(rules.balance, start, &[]),
            beyond: Policy::new(rules.balance, start, &[]),
            rules,
            start,
            warm: None,
        }
    }

    pub fn entries(&self) -> &[Entry<D>] {
        &self.entries
    }

    /// Who may be picked now.
    pub fn eligible(&self) -> impl Iterator<Item = &Entry<D>> {
        self.eligible.iter().map(|slot| &self.entries[*slot])
    }

    /// Takes a new list and new rules. The same name at another address is another endpoint.
    pub fn update(
        &mut self,
        list: &[Endpoint],
        rules: Rules,
        mut attach: impl FnMut(&Endpoint) -> D,
    ) -> Change<D> {
        let mut old = std::mem::take(&mut self.entries);
        for endpoint in list {
            let kept = old
                .iter()
                .position(|e| e.id == endpoint.id && e.address == endpoint.address);
            let weight = rules.weight(&endpoint.id);
            self.entries.push(match kept {
                Some(index) => Entry {
                    zone: endpoint.zone.clone(),
                    state: endpoint.state,
                    weight,
                    ..old.swap_remove(index)
                },
                None => Entry {
                    id: endpoint.id.clone(),
                    address: endpoint.address,
                    zone: endpoint.zone.clone(),
                    state: endpoint.state,
                    ready: false,
                    ejected: false,
                    weight,
                    since: None,
                    data: attach(endpoint),
                },
            });
        }
        self.rules = rules;
        let named: Vec<_> = self.entries.iter().map(Entry::named).collect();
        self.policy = Policy::new(self.rules.balance, self.start, &named);
        self.beyond = Policy::new(self.rules.balance, self.start, &named);
        self.settle();
        Change { removed: old }
    }

    /// Returns whether anything changed.
    pub fn set_ready(&mut self, id: &InstanceId, ready: bool, now: Instant) -> bool {
        let mut changed = false;
        for entry in self.entries.iter_mut().filter(|e| e.id == *id) {
            if entry.ready == ready {
                continue;
            }
            changed = true;
            entry.ready = ready;
            entry.since = ready.then_some(now);
        }
        if changed {
            self.settle();
        }
        changed
    }

    /// Passive health takes it out, or lets it return.
    pub fn set_ejected(&mut self, id: &InstanceId, ejected: bool, now: Instant) {
        for entry in self.entries.iter_mut().filter(|e| e.id == *id) {
            if entry.ejected && !ejected {
                entry.since = Some(now);
            }
            entry.ejected = ejected;
        }
        self.settle();
    }

    /// The endpoint for a request; `admits` leaves out more. `None`: there is none now.
    pub fn pick(&mut self, demand: &Demand, admits: Option<&dyn Fn(&D) -> bool>) -> Option<&Entry<D>> {
        let Self {
            entries,
            eligible,
            sides,
            policy,
            beyond,
            rules,
            warm,
            ..
        } = self;
        let pick_of = |policy: &mut Policy, slots: &[usize]| {
            balance::pick(policy, entries, slots, demand, rules.slow_start, *warm)
        };
        let admitted = |slots: &[usize]| -> Vec<usize> {
            let admits = |slot: &usize| admits.is_none_or(|admits| admits(&entries[*slot].data));
            slots.iter().copied().filter(admits).collect()
        };
        let found = match (&*sides, admits) {
            (None, None) => pick_of(policy, eligible),
            (None, Some(_)) => pick_of(policy, &admitted(eligible)),
            (Some(sides), None) if sides.stays(demand.random) => pick_of(policy, sides.near()),
            (Some(sides), None) => pick_of(beyond, sides.far()),
            (Some(sides), Some(_)) => {
                let (near, far) = (admitted(sides.near()), admitted(sides.far()));
                if far.is_empty() || (!near.is_empty() && sides.stays(demand.random)) {
                    pick_of(policy, &near)
                } else {
                    pick_of(beyond, &far)
                }
            }
        }?;
        Some(&self.entries[found])
    }

    /// Works out anew who may be picked.
    fn settle(&mut self) {
        let active = |entry: &&Entry<D>| entry.state == EndpointState::Active;
        let all = self.entries.iter().filter(active).count();
        let sound = |entry: &&Entry<D>| active(entry) && entry.ready && !entry.ejected;
        let sound = self.entries.iter().filter(sound).count();
        let panic = sound * 100 < all * self.rules.panic as usize;
        let may = |entry: &Entry<D>| active(&entry) && entry.ready && (panic || !entry.ejected);
        let slots = 0..self.entries.len();
        self.eligible = slots.filter(|slot| may(&self.entries[*slot])).collect();
        let ends = |slot: &usize| {
            self.entries[*slot]
                .since
                .map(|since| since + self.rules.slow_start)
        };
        self.warm = self.eligible.iter().filter_map(ends).max();
        let entries = &self.entries;
        self.sides = Sides::of(
            self.rules.zone.as_ref(),
            self.rules.balance,
            entries.iter().filter(active).map(|entry| entry.zone.as_ref()),
            &self.eligible,
            |slot| entries[slot].zone.as_ref(),
        );
    }
}

impl<D> Entry<D> {
    /// By process and slot, without the release: keys stay with a slot over a deploy.
    fn named(&self) -> Named {
        let slot = format!("{}.{}", self.id.process, self.id.slot);
        Named {
            name: balance::hash::bytes(slot.as_bytes()),
            weight: self.weight,
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a start for virtual time")]
mod tests;
