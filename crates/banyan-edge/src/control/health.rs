//! Whose check is due, what a result changes, and who is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use banyan_config::{Protocol, ProxyProtocol, ReadyProbe};
use banyan_runtime::TaskKind;
use banyan_topology::snapshot::Endpoint;
use banyan_upstream::health::{Active, Verdict};

use super::{Control, Result, checks};
use crate::core::command::Command;
use crate::metrics::EndpointCells;

/// With nothing to check, look again after this.
const NOTHING_DUE: Duration = Duration::from_secs(1);

/// An endpoint as the control task knows it.
pub(super) struct Checked {
    pub address: SocketAddr,
    protocol: Protocol,
    pub active: Active,
    probe: Option<ReadyProbe>,
    proxy: Option<ProxyProtocol>,
    /// One per core.
    pub cells: Vec<Arc<EndpointCells>>,
    /// A check is running.
    checking: bool,
    /// Its first result is there.
    pub was_checked: bool,
    /// Some core took it out on its own: the next result goes to all cores even if nothing changed here.
    suspected: bool,
}

impl Checked {
    pub(super) fn new(endpoint: &Endpoint, cores: usize, probe: Option<&ReadyProbe>, now: Instant) -> Self {
        let seats = Arc::default();
        let cells = |_| EndpointCells {
            seats: Arc::clone(&seats),
            ..EndpointCells::default()
        };
        Self {
            address: endpoint.address,
            protocol: endpoint.protocol,
            active: Active::new(probe, now),
            probe: probe.cloned(),
            proxy: None,
            cells: (0..cores).map(cells).map(Arc::new).collect(),
            checking: false,
            was_checked: false,
            suspected: false,
        }
    }

    pub(super) fn configure(&mut self, probe: Option<&ReadyProbe>, proxy: Option<ProxyProtocol>) {
        self.active.configure(probe);
        self.proxy = proxy;
        self.probe = probe.cloned();
    }

    pub(super) fn suspect(&mut self, now: Instant) {
        self.suspected = true;
        self.active.suspect(now);
    }
}

impl Control {
    pub(super) fn next_check(&self) -> Instant {
        let due = |c: &Checked| (!c.checking).then(|| c.active.due());
        self.endpoints
            .values()
            .filter_map(due)
            .min()
            .unwrap_or_else(|| self.clock.now() + NOTHING_DUE)
    }

    pub(super) fn start_due_checks(&mut self) {
        let now = self.clock.now();
        for (id, checked) in &mut self.endpoints {
            if checked.checking || checked.active.due() > now {
                continue;
            }
            checked.checking = true;
            // What becomes suspect during the check is checked again after it.
            checked.suspected = false;
            let (id, address, limit) = (id.clone(), checked.address, checked.active.timeout());
            let protocol = checked.protocol;
            let (probe, proxy, results) = (checked.probe.clone(), checked.proxy, self.results_to.clone());
            self.tasks.spawn(TaskKind::Background, "check", async move {
                let result = checks::check(address, protocol, probe, proxy, limit).await;
                let _gone = results.send(Result { id, address, result });
            });
        }
    }

    pub(super) fn judge(&mut self, result: Result) {
        let now = self.clock.now();
        let Some(checked) = self
            .endpoints
            .get_mut(&result.id)
            .filter(|c| c.address == result.address)
        else {
            return;
        };
        checked.checking = false;
        checked.was_checked = true;
        let verdict = checked.active.observe(now, result.result);
        if checked.suspected {
            checked.active.suspect(now);
        }
        let ready = checked.active.ready();
        let id = result.id;
        // Every result is told, not only changes: a core may have taken the endpoint out on its own.
        self.tell_all(|| Command::Ready {
            id: id.clone(),
            ready,
        });
        match verdict {
            Verdict::Unchanged => {}
            Verdict::BecameReady => {
                tracing::info!(instance = %id, "ready");
                self.publish();
            }
            Verdict::BecameUnready => {
                let reason = self
                    .endpoints
                    .get(&id)
                    .and_then(|c| c.active.reason())
                    .unwrap_or_default();
                tracing::warn!(instance = %id, reason, "not ready: it gets no requests");
                self.publish();
            }
        }
    }
}
