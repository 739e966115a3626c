//! The endpoints of one group as one core sees them.
//!
//! What remains over an update keeps its health and its attached data; a new endpoint is not ready until told so: it is
//! checked before it gets its first request.

use std::net::SocketAddr;

use banyan_topology::InstanceId;
use banyan_topology::snapshot::{Endpoint, EndpointState};

use crate::balance::RoundRobin;

/// `D`: what the owner attaches to an endpoint (connections, counters).
#[derive(Debug)]
pub struct EndpointSet<D> {
    entries: Vec<Entry<D>>,
    robin: RoundRobin,
}

#[derive(Debug)]
pub struct Entry<D> {
    pub id: InstanceId,
    pub address: SocketAddr,
    pub state: EndpointState,
    pub ready: bool,
    pub data: D,
}

/// Who gets the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick<T> {
    Endpoint(T),
    /// None is ready now: wait for one, within the caller's limit.
    NoneReady,
}

/// What an update did to those that are not simply kept.
#[derive(Debug)]
pub struct Change<D> {
    /// No longer in the list: finish what is in flight, close idle connections.
    pub removed: Vec<Entry<D>>,
}

impl<D> EndpointSet<D> {
    /// `start`: where the first round begins (the core's number).
    pub fn new(start: usize) -> Self {
        Self {
            entries: Vec::new(),
            robin: RoundRobin::starting_at(start),
        }
    }

    pub fn entries(&self) -> &[Entry<D>] {
        &self.entries
    }

    /// Takes a new list. The same name at another address is another endpoint.
    pub fn update(&mut self, list: &[Endpoint], mut attach: impl FnMut(&Endpoint) -> D) -> Change<D> {
        let mut old = std::mem::take(&mut self.entries);
        for endpoint in list {
            let kept = old
                .iter()
                .position(|e| e.id == endpoint.id && e.address == endpoint.address);
            self.entries.push(match kept {
                Some(index) => Entry {
                    state: endpoint.state,
                    ..old.swap_remove(index)
                },
                None => Entry {
                    id: endpoint.id.clone(),
                    address: endpoint.address,
                    state: endpoint.state,
                    ready: false,
                    data: attach(endpoint),
                },
            });
        }
        Change { removed: old }
    }

    /// Returns whether anything changed.
    pub fn set_ready(&mut self, id: &InstanceId, ready: bool) -> bool {
        let mut changed = false;
        for entry in self.entries.iter_mut().filter(|e| e.id == *id) {
            changed |= entry.ready != ready;
            entry.ready = ready;
        }
        changed
    }

    /// The next ready active endpoint for which `not_tried` holds; if there is only one that was tried, that one again.
    pub fn pick(&mut self, not_tried: impl Fn(&D) -> bool) -> Pick<&Entry<D>> {
        let entries = &self.entries;
        let eligible = |index: usize| entries[index].ready && entries[index].state == EndpointState::Active;
        let found = self
            .robin
            .pick(entries.len(), |i| eligible(i) && not_tried(&entries[i].data))
            .or_else(|| self.robin.pick(entries.len(), eligible));
        match found {
            Some(index) => Pick::Endpoint(&entries[index]),
            None => Pick::NoneReady,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn endpoint(slot: u32, state: EndpointState) -> Endpoint {
        Endpoint {
            id: format!("web.{slot}@r1").parse().unwrap(),
            address: SocketAddr::from(([127, 0, 0, 1], 20_000 + slot as u16)),
            state,
        }
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
        fn only_ready_active_endpoints_of_the_newest_list_are_picked(
            lists in prop::collection::vec((list(), prop::collection::vec(0_u32..8, 0..8)), 1..6),
        ) {
            let mut set = EndpointSet::new(0);
            let mut ready = std::collections::BTreeSet::new();
            for (list, checked) in &lists {
                set.update(list, |e| e.id.slot);
                ready.retain(|slot| list.iter().any(|e| e.id.slot == *slot));
                for slot in checked.iter().filter(|s| list.iter().any(|e| e.id.slot == **s)) {
                    set.set_ready(&endpoint(*slot, EndpointState::Active).id, true);
                    ready.insert(*slot);
                }
                let allowed = list
                    .iter()
                    .filter(|e| e.state == EndpointState::Active && ready.contains(&e.id.slot))
                    .count();
                let mut picked = std::collections::BTreeSet::new();
                for _ in 0..allowed * 2 {
                    match set.pick(|_| true) {
                        Pick::Endpoint(entry) => { picked.insert(entry.data); }
                        Pick::NoneReady => prop_assert!(false, "one is ready"),
                    }
                }
                prop_assert_eq!(picked.len(), allowed);
                if allowed == 0 {
                    prop_assert!(matches!(set.pick(|_| true), Pick::NoneReady));
                }
            }
        }
    }

    #[test]
    fn a_second_try_goes_elsewhere_unless_there_is_nowhere_else() {
        let mut set = EndpointSet::new(0);
        let two = [
            endpoint(1, EndpointState::Active),
            endpoint(2, EndpointState::Active),
        ];
        set.update(&two, |e| e.id.slot);
        set.set_ready(&two[0].id, true);
        assert!(matches!(set.pick(|d| *d != 1), Pick::Endpoint(e) if e.data == 1));
        set.set_ready(&two[1].id, true);
        for _ in 0..3 {
            assert!(matches!(set.pick(|d| *d != 1), Pick::Endpoint(e) if e.data == 2));
        }
    }

    #[test]
    fn the_same_name_at_another_address_must_be_checked_anew() {
        let mut set = EndpointSet::new(0);
        let mut one = endpoint(1, EndpointState::Active);
        set.update(std::slice::from_ref(&one), |_| ());
        set.set_ready(&one.id, true);
        one.address.set_port(29_000);
        let change = set.update(&[one], |_| ());
        assert_eq!(change.removed.len(), 1);
        assert!(matches!(set.pick(|()| true), Pick::NoneReady));
    }
}
