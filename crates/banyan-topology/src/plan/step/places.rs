//! Steps of the edge's places.

use banyan_config::EdgePlace;

use super::must;
use crate::id::PlaceName;
use crate::model::Topology;

pub(super) fn runs(at: &Topology, name: &PlaceName, place: &EdgePlace) -> bool {
    at.edge
        .as_ref()
        .is_some_and(|edge| edge.places.get(name) == Some(place))
}

pub(super) fn start(at: &mut Topology, name: &PlaceName, place: &EdgePlace) -> Result<(), String> {
    let edge = at.edge.as_mut().ok_or("there is no edge")?;
    must(!edge.places.contains_key(name), || {
        format!("the edge runs at {name} already")
    })?;
    edge.places.insert(name.clone(), place.clone());
    Ok(())
}

pub(super) fn stop(at: &mut Topology, name: &PlaceName, place: &EdgePlace) -> Result<(), String> {
    must(runs(at, name, place), || {
        format!("the edge does not run at {name} as the plan expects")
    })?;
    if let Some(edge) = &mut at.edge {
        edge.places.remove(name);
    }
    Ok(())
}
