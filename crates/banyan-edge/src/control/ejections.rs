//! Passive health over all cores: they tell failures, the control task decides, all cores follow.
//!
//! Successes are not told but counted, by every core; a failure that finds the count changed begins a new run. So a client
//! that meets nothing but errors cannot eject an endpoint that works for others.

use std::time::Instant;

use banyan_topology::InstanceId;
use banyan_topology::snapshot::EndpointState;
use banyan_upstream::health::Cause;

use super::Control;
use crate::core::command::Command;

/// With nobody out, look again after this.
const NOBODY_OUT: std::time::Duration = std::time::Duration::from_secs(60);

impl Control {
    /// Who counts: those that the snapshot sends requests to.
    pub(super) fn update_outliers(&mut self) {
        let endpoints = self.snapshot.endpoints();
        let active = endpoints.filter(|e| e.state == EndpointState::Active);
        let ids: Vec<_> = active.map(|e| e.id.clone()).collect();
        let rules = self.snapshot.settings.health.clone();
        for id in self.outliers.update(rules, ids) {
            self.tell_ejected(&id, false);
        }
    }

    fn tell_ejected(&self, id: &InstanceId, ejected: bool) {
        self.tell_all(|| Command::Ejected {
            id: id.clone(),
            ejected,
        });
    }

    /// Whether it is out from now on.
    pub(super) fn count_failure(&mut self, id: &InstanceId, cause: Cause) -> bool {
        let now = self.clock.now();
        let cells = self
            .endpoints
            .get(id)
            .map(|c| c.cells.as_slice())
            .unwrap_or_default();
        let successes = cells.iter().map(|c| c.successes.get()).sum();
        let Some(out) = self.outliers.failed(now, id, cause, successes) else {
            return false;
        };
        let time = out.until.saturating_duration_since(now);
        tracing::warn!(instance = %id, failures = out.failures, last = %out.last, ?time, "ejected: it fails requests");
        self.tell_ejected(id, true);
        true
    }

    pub(super) fn next_return(&self) -> Instant {
        let next = self.outliers.next();
        next.unwrap_or_else(|| self.clock.now() + NOBODY_OUT)
    }

    pub(super) fn let_return(&mut self) {
        let back = self.outliers.returned(self.clock.now());
        for id in &back {
            tracing::info!(instance = %id, "no longer ejected");
            self.tell_ejected(id, false);
        }
        if !back.is_empty() {
            self.publish();
        }
    }

    /// In words, for the report.
    pub(super) fn why_ejected(&self, id: &InstanceId) -> Option<String> {
        let out = self.outliers.out(id)?;
        let left = out.until.saturating_duration_since(self.clock.now());
        let seconds = left.as_secs_f64().ceil();
        Some(format!(
            "{} requests in a row failed, the last {}; back in {seconds} s",
            out.failures, out.last
        ))
    }
}
