//! Sets of endpoints through changes: properties over random lists, and single cases.

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
