//! Whose a key is, among edges that share what they keep: a ring of hashes over their places.
//!
//! All of them work it out alike. One that is gone has its keys at the next on the ring, until it is back. Each core goes by
//! what it knows of the others' health, so two edges may differ for a moment: then two ask for a key, no more.

use std::rc::Rc;

use banyan_config::{Cache as Settings, FIRST_PLACE, PlaceName};
use banyan_topology::snapshot::among;
use banyan_upstream::balance::{Owners, hash};

use crate::core::groups::{Group, Groups};

/// Edges that share.
pub(super) struct Site {
    owners: Owners,
    /// As the ring counts them; `None`: this one.
    edges: Vec<Option<Rc<Group>>>,
}

impl Site {
    fn new(edges: Vec<(String, Option<Rc<Group>>)>) -> Self {
        Self {
            owners: Owners::new(edges.iter().map(|(place, _)| place.as_str())),
            edges: edges.into_iter().map(|(_, group)| group).collect(),
        }
    }

    /// Those that share with the edge at `own`, and those that are its shield; `None`: there are none.
    pub(super) fn compile(settings: &Settings, own: &str, groups: &Groups) -> (Option<Self>, Option<Self>) {
        let (mut beside, mut shield) = (Vec::new(), Vec::new());
        groups.each_of(|group| {
            let place = group.process().and_then(|name| among::place_of(settings, name));
            let Some(place) = place else { return };
            let other = (place.to_owned(), Some(Rc::clone(group)));
            if settings.site(place) == settings.site(own) {
                beside.push(other);
            } else {
                shield.push(other);
            }
        });
        let beside = (!beside.is_empty()).then(|| {
            beside.push((own.to_owned(), None));
            Self::new(beside)
        });
        (beside, (!shield.is_empty()).then(|| Self::new(shield)))
    }

    /// Who is to be asked; `None`: this edge has it itself, or nobody is there.
    pub(super) fn of(&self, key: &str) -> Option<&Rc<Group>> {
        let is_there = |edge: usize| match &self.edges[edge] {
            Some(group) => group.endpoints.borrow().eligible().next().is_some(),
            None => true,
        };
        let owner = self.owners.of(hash::bytes(key.as_bytes()), is_there)?;
        self.edges[owner].as_ref()
    }
}

/// Which edge has this key while all are there, of those that share with the one at `own`. `None`: it shares with nobody.
pub(crate) fn place<'a>(
    settings: &Settings,
    places: impl Iterator<Item = &'a PlaceName>,
    own: &str,
    key: &str,
) -> Option<&'a str> {
    let all = std::iter::once(FIRST_PLACE).chain(places.map(PlaceName::as_str));
    let site: Vec<_> = all
        .filter(|place| settings.site(place) == settings.site(own))
        .collect();
    if site.len() < 2 {
        return None;
    }
    let owners = Owners::new(site.iter().copied());
    owners
        .of(hash::bytes(key.as_bytes()), |_| true)
        .map(|owner| site[owner])
}
