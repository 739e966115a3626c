//! The role that keeps what is measured: its port, given after all others have theirs.

use banyan_config::{Alerts, ObserveTable};

use super::ResolveError;
use super::database::Ports;
use super::instances::uses;
use crate::facts::Facts;
use crate::model::{Observe, Topology};

/// `wanted`: with everything else that has a port.
pub(super) fn resolve(
    table: Option<&ObserveTable>,
    alerts: Option<&Alerts>,
    wanted: &Topology,
    facts: &Facts,
    current: &Topology,
    errors: &mut Vec<ResolveError>,
) -> Option<Observe> {
    let ObserveTable { port, settings } = table?;
    let runs_at = current.observe.as_ref().map(|observe| observe.port);
    let given = facts
        .free_ports
        .iter()
        .copied()
        .filter(|port| uses(wanted, *port));
    let mut free = Ports::new(facts, current, given.map(Some));
    let found = port
        .or(runs_at)
        .or_else(|| free.take(facts.remembered.observe_port));
    if found.is_none() {
        errors.push(ResolveError::NoPorts { needed: 1, wanted: 1 });
    }
    Some(Observe {
        port: found?,
        settings: settings.clone(),
        alerts: alerts.cloned(),
    })
}
