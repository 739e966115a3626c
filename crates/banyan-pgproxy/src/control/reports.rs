//! What the role reports of itself each second, and after each snapshot.

use tokio::sync::oneshot;

use banyan_runtime::Clock;
use banyan_telemetry::Histogram;
use banyan_topology::report::{HoldState, NodeReport, NodeSignals, PgproxyReport};

use super::{Control, REPORT_EVERY, nodes};
use crate::frontend::accept::{Command, View};
use crate::metrics::WorkerMetrics;

impl Control {
    /// What each worker answers; one that is too busy is left out.
    pub(super) async fn ask_all<T>(&self, question: fn(oneshot::Sender<T>) -> Command) -> Vec<T> {
        let mut answers = Vec::new();
        for worker in &self.workers {
            let (reply, answer) = oneshot::channel();
            let asked = worker.commands.send(question(reply)).is_ok();
            if asked && let Ok(Ok(answer)) = tokio::time::timeout(REPORT_EVERY, answer).await {
                answers.push(answer);
            }
        }
        answers
    }

    pub(super) async fn publish(&mut self) {
        let views = self.ask_all(Command::Look).await;
        let sum = |count: fn(&WorkerMetrics) -> u64| self.metrics.iter().map(|m| count(m)).sum::<u64>();
        let seen = NodeSignals {
            eof: sum(|m| m.eof.get()),
            shutdown: sum(|m| m.shutdown.get()),
            refused: sum(|m| m.refused.get()),
        };
        let signals = NodeSignals {
            eof: seen.eof - self.told.eof,
            shutdown: seen.shutdown - self.told.shutdown,
            refused: seen.refused - self.told.refused,
        };
        let second = Clock.now().saturating_duration_since(self.begun).as_secs();
        let nodes = self.nodes(&signals);
        self.lag.add(second, &nodes);
        let lately = Histogram::quantiles(self.metrics.iter().map(|m| &m.pool_wait.lately), second);
        let rates = self.rates.add(
            Clock.now(),
            sum(|m| m.units.get()),
            views.iter().map(|view| view.slow).sum(),
        );
        let report = PgproxyReport {
            pid: std::process::id(),
            epoch: views.iter().map(|view| view.epoch).min().unwrap_or_default(),
            listening: self.doors.addresses(self.snapshot.listen),
            refused: self.refused.clone(),
            hold: hold_of(&views),
            hold_failure: views.iter().find_map(|view| view.hold_failure.clone()),
            clients: sum(|m| m.clients.get()),
            backends: views.iter().map(|view| view.backends).sum(),
            waiting: views.iter().map(|view| view.waiting).sum(),
            pinned: views.iter().map(|view| view.pinned).sum(),
            auth_problem: self.verifiers.problem(),
            nodes,
            signals,
            units_per_second: rates.units_per_second,
            slow: rates.slow,
            wait_p99_us: lately.p99_us,
            wal_bytes_per_second: self.sampled.borrow().server.wal_bytes_per_second,
        };
        self.told = seen;
        self.reports.send_replace(report);
    }

    fn nodes(&self, signals: &NodeSignals) -> Vec<NodeReport> {
        let view = self.fresh.view();
        let report = |node| nodes::report(node, &self.snapshot, &view, signals.refused > 0, Clock.now());
        self.snapshot.database.nodes.iter().map(report).collect()
    }
}

/// The least far one speaks for all.
fn hold_of(views: &[View]) -> HoldState {
    let rank = |state: HoldState| match state {
        HoldState::Releasing => 0,
        HoldState::Open => 1,
        HoldState::Draining => 2,
        HoldState::Held => 3,
        HoldState::Repointing => 4,
    };
    let states = views.iter().map(|view| view.hold);
    states.min_by_key(|state| rank(*state)).unwrap_or_default()
}
