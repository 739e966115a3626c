//! The endpoints of one group as one core sees them.
//!
//! What remains over an update keeps its health and its attached data; a new endpoint is not ready until told so: it is
//! checked before it gets its first request.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use banyan_config::{Balance, EdgeSettings, Sticky};
use banyan_topology::InstanceId;
use banyan_topology::snapshot::{Endpoint, EndpointState};

use crate::balance::{self, Demand, Named, Policy};
use crate::load::Loaded;

/// `D`: what the owner attaches to an endpoint (connections, counters, its load).
#[derive(Debug)]
pub struct EndpointSet<D> {
    entries: Vec<Entry<D>>,
    /// Who may be picked: places in `entries`, ascending.
    eligible: Vec<usize>,
    policy: Policy,
    rules: Rules,
    start: usize,
    /// When the last slow start ends.
    warm: Option<Instant>,
}

#[derive(Debug)]
pub struct Entry<D> {
    pub id: InstanceId,
    pub address: SocketAddr,
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
            policy: Policy::new(rules.balance, start, &[]),
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
                    state: endpoint.state,
                    weight,
                    ..old.swap_remove(index)
                },
                None => Entry {
                    id: endpoint.id.clone(),
                    address: endpoint.address,
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
        let admitted: Vec<usize>;
        let eligible = match admits {
            None => &self.eligible,
            Some(admits) => {
                let admits = |slot: &usize| admits(&self.entries[*slot].data);
                admitted = self.eligible.iter().copied().filter(admits).collect();
                &admitted
            }
        };
        let found = balance::pick(
            &mut self.policy,
            &self.entries,
            eligible,
            demand,
            self.rules.slow_start,
            self.warm,
        )?;
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
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::load::Load;

    #[derive(Debug, Default)]
    struct Data {
        slot: u32,
        load: Load,
    }

    impl Loaded for Data {
        fn load(&self) -> &Load {
            &self.load
        }
    }

    fn data(endpoint: &Endpoint) -> Data {
        Data {
            slot: endpoint.id.slot,
            ..Data::default()
        }
    }

    fn rules(balance: Balance) -> Rules {
        Rules {
            balance,
            weights: vec![3, 1, 2],
            slow_start: Duration::from_secs(20),
            panic: 50,
        }
    }

    fn demand(now: Instant, number: u64) -> Demand {
        Demand {
            now,
            key: balance::hash::mix(number),
            random: balance::hash::mix(!number),
        }
    }

    fn endpoint(slot: u32, state: EndpointState) -> Endpoint {
        Endpoint {
            protocol: Default::default(),
            id: format!("web.{slot}@r1").parse().unwrap(),
            address: SocketAddr::from(([127, 0, 0, 1], 20_000 + slot as u16)),
            state,
        }
    }

    fn balances() -> impl Strategy<Value = Balance> {
        prop::sample::select(Balance::ALL.to_vec())
    }

    fn state() -> impl Strategy<Value = EndpointState> {
        prop_oneof![Just(EndpointState::Active), Just(EndpointState::Draining)]
    }

    fn list() -> impl Strategy<Value = Vec<Endpoint>> {
        prop::collection::btree_map(0_u32..8, state(), 0..8)
            .prop_map(|m| m.into_iter().map(|(slot, state)| endpoint(slot, state)).collect())
    }

    proptest! {
        #[test]
        fn only_ready_active_endpoints_of_the_newest_list_are_picked_by_any_policy(
            lists in prop::collection::vec((balances(), list(), prop::collection::vec(0_u32..8, 0..8)), 1..6),
            left_out in 0_u32..8,
        ) {
            let start = Instant::now();
            let mut set = EndpointSet::new(0, rules(Balance::RoundRobin));
            let mut ready = BTreeSet::new();
            for (step, (balance, list, checked)) in lists.iter().enumerate() {
                let now = start + Duration::from_secs(step as u64 * 3);
                set.update(list, rules(*balance), data);
                ready.retain(|slot| list.iter().any(|e| e.id.slot == *slot));
                for slot in checked.iter().filter(|s| list.iter().any(|e| e.id.slot == **s)) {
                    set.set_ready(&endpoint(*slot, EndpointState::Active).id, true, now);
                    ready.insert(*slot);
                }
                let active = list.iter().filter(|e| e.state == EndpointState::Active);
                let mut allowed: BTreeSet<_> = active.map(|e| e.id.slot).filter(|s| ready.contains(s)).collect();
                for number in 0..40 {
                    let picked = set.pick(&demand(now, number), None).map(|e| e.data.slot);
                    prop_assert_eq!(picked.is_some(), !allowed.is_empty());
                    prop_assert!(picked.is_none_or(|slot| allowed.contains(&slot)));
                }
                allowed.remove(&left_out);
                let admits = |data: &Data| data.slot != left_out;
                let picked = set.pick(&demand(now, 0), Some(&admits)).map(|e| e.data.slot);
                prop_assert_eq!(picked.is_some(), !allowed.is_empty());
                prop_assert!(picked.is_none_or(|slot| allowed.contains(&slot)));
            }
        }

        #[test]
        fn a_new_endpoint_gets_a_tenth_at_first_and_its_share_in_the_end(balance in balances()) {
            let start = Instant::now();
            let mut set = EndpointSet::new(0, Rules { weights: Vec::new(), ..rules(balance) });
            let two = [endpoint(1, EndpointState::Active), endpoint(2, EndpointState::Active)];
            set.update(&two, Rules { weights: Vec::new(), ..rules(balance) }, data);
            set.set_ready(&two[0].id, true, start);
            let later = start + Duration::from_secs(60);
            set.set_ready(&two[1].id, true, later);
            let mut share = |now| {
                let mut new = 0;
                let mut open = Vec::new();
                for number in 0..2000 {
                    let picked = set.pick(&demand(now, number), None).unwrap().data.slot;
                    set.entries[picked as usize - 1].data.load.begin();
                    open.push(picked);
                    new += usize::from(picked == 2);
                    if open.len() > 50 {
                        let ended = open.remove(0);
                        set.entries[ended as usize - 1].data.load.end();
                    }
                }
                for slot in open {
                    set.entries[slot as usize - 1].data.load.end();
                }
                new
            };
            let (first, last) = (share(later), share(later + Duration::from_secs(20)));
            prop_assert!((60..460).contains(&first), "{} of 2000 at first", first);
            prop_assert!((700..1300).contains(&last), "{} of 2000 in the end", last);
        }
    }

    proptest! {
        #[test]
        fn ejected_ones_get_nothing_unless_less_than_half_are_sound(
            states in prop::collection::vec((any::<bool>(), any::<bool>()), 1..9), balance in balances(),
        ) {
            let now = Instant::now();
            let mut set = EndpointSet::new(0, rules(balance));
            let list: Vec<_> = (0..states.len()).map(|n| endpoint(n as u32, EndpointState::Active)).collect();
            set.update(&list, rules(balance), data);
            for (endpoint, (ready, ejected)) in list.iter().zip(&states) {
                set.set_ready(&endpoint.id, *ready, now);
                set.set_ejected(&endpoint.id, *ejected, now);
            }
            let sound = states.iter().filter(|(ready, ejected)| *ready && !ejected).count();
            let panic = sound * 2 < states.len();
            for number in 0..40 {
                match set.pick(&demand(now, number), None) {
                    Some(entry) => {
                        let (ready, ejected) = states[entry.data.slot as usize];
                        prop_assert!(ready && (panic || !ejected));
                    }
                    None => prop_assert!(states.iter().all(|(ready, _)| !ready)),
                }
            }
        }
    }

    #[test]
    fn the_same_name_at_another_address_must_be_checked_anew() {
        let now = Instant::now();
        let mut set = EndpointSet::new(0, rules(Balance::P2cEwma));
        let mut one = endpoint(1, EndpointState::Active);
        set.update(std::slice::from_ref(&one), rules(Balance::P2cEwma), data);
        set.set_ready(&one.id, true, now);
        one.address.set_port(29_000);
        let change = set.update(&[one], rules(Balance::P2cEwma), data);
        assert_eq!(change.removed.len(), 1);
        assert!(set.pick(&demand(now, 1), None).is_none());
    }
}
