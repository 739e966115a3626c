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
            zone: None,
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
            zone: None,
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

    /// Six endpoints, the first three near; those of `ready` are.
    fn zoned(balance: Balance, ready: &[bool]) -> EndpointSet<Data> {
        let zone = |name: &str| Some(name.parse().unwrap());
        let near = Rules {
            zone: zone("near"),
            weights: Vec::new(),
            ..rules(balance)
        };
        let mut set = EndpointSet::new(0, near.clone());
        let list: Vec<_> = (1..=6)
            .map(|slot| Endpoint {
                zone: zone(if slot <= 3 { "near" } else { "far" }),
                ..endpoint(slot, EndpointState::Active)
            })
            .collect();
        set.update(&list, near, data);
        let start = Instant::now();
        for (endpoint, _) in list.iter().zip(ready).filter(|(_, ready)| **ready) {
            set.set_ready(&endpoint.id, true, start);
        }
        set
    }

    proptest! {
        #[test]
        fn the_own_zone_gets_its_share_and_the_rest_goes_to_all_others_by_any_policy(
            balance in balances(), ready in prop::collection::vec(any::<bool>(), 6),
        ) {
            let mut set = zoned(balance, &ready);
            let now = Instant::now() + Duration::from_secs(60);
            let up = |slots: std::ops::Range<usize>| ready[slots].iter().filter(|up| **up).count();
            let (near, far) = (up(0..3), up(3..6));
            let mut got = [0_u32; 7];
            for number in 0..3000 {
                if let Some(entry) = set.pick(&demand(now, number), None) {
                    got[entry.data.slot as usize] += 1;
                }
            }
            let local = f64::from(got[1..=3].iter().sum::<u32>()) / 3000.0;
            let by_key = matches!(balance, Balance::IpHash | Balance::Ring);
            let due = match (near, far) {
                (0, 0) => 0.0,
                (_, 0) => 1.0,
                _ if by_key => near as f64 / (near + far) as f64,
                _ => crate::zone::local_share(near, 3),
            };
            let tolerance = if by_key { 0.15 } else { 0.05 };
            prop_assert!((local - due).abs() < tolerance, "{} instead of {}", local, due);
            // Among the others nobody is forgotten.
            if due < 1.0 {
                let least = (1.0 - due) * 3000.0 / far as f64 / 4.0;
                for slot in (4..=6).filter(|slot| ready[slot - 1]) {
                    prop_assert!(f64::from(got[slot]) > least, "{:?}", got);
                }
            }
        }

        #[test]
        fn who_is_not_admitted_near_is_picked_far(balance in balances(), number in 0_u64..1000) {
            let mut set = zoned(balance, &[true; 6]);
            let admits = |data: &Data| data.slot > 3;
            let picked = set.pick(&demand(Instant::now(), number), Some(&admits));
            prop_assert!(picked.is_some_and(|entry| entry.data.slot > 3));
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
