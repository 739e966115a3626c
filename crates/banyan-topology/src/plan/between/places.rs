//! Places of a running edge that come and go. One that gets other addresses does both.

use std::net::SocketAddr;

use banyan_config::EdgePlace;

use super::Planner;
use crate::id::PlaceName;
use crate::plan::Step;

impl Planner<'_> {
    /// Stops those that do not stay and have an address that something else is to have, or a name.
    pub(super) fn clear_addresses(&mut self) {
        let Some(to) = &self.desired.edge else { return };
        let wanted: Vec<SocketAddr> = to.addresses().collect();
        self.stop_those(|name, place| {
            let mut addresses = place.addresses();
            to.places.contains_key(name) || addresses.any(|address| wanted.contains(&address))
        });
    }

    /// Those whose addresses are free.
    pub(super) fn start_places(&mut self) {
        let Some(to) = &self.desired.edge else { return };
        for (name, place) in &to.places {
            let Some(at) = &self.at.edge else { return };
            let taken = |address| at.addresses().any(|other| other == address);
            if !at.places.contains_key(name) && !place.addresses().any(taken) {
                self.push(Step::StartPlace {
                    name: name.clone(),
                    place: place.clone(),
                });
            }
        }
    }

    pub(super) fn stop_places(&mut self) {
        self.stop_those(|_, _| true);
    }

    /// Of the places that go.
    fn stop_those(&mut self, stops: impl Fn(&PlaceName, &EdgePlace) -> bool) {
        let (Some(from), Some(to)) = (self.at.edge.clone(), &self.desired.edge) else {
            return;
        };
        for (name, place) in from.places {
            if to.places.get(&name) != Some(&place) && stops(&name, &place) {
                self.push(Step::StopPlace { name, place });
            }
        }
    }
}
