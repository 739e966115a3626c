//! The sockets at which others on the machine ask what was measured, and the control task's answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use banyan_runtime::{Clock, TaskKind, Tasks, control, own};
use banyan_telemetry::Families;
use banyan_topology::signals::Signals;

use super::signals::{self, Beside, Workloads};
use super::{Control, Request, page};
use crate::frontend::accept::Command;
use crate::frontend::console::Show;
use crate::workload::table::Counts;

/// Removed when dropped.
pub(super) struct Sockets(Vec<PathBuf>);

impl Drop for Sockets {
    fn drop(&mut self) {
        for path in &self.0 {
            // It may be the next process's by now, or gone with its folder.
            let _gone = std::fs::remove_file(path);
        }
    }
}

/// `signals`: answers with [`Signals`]; in the folder `metrics`, as every process that measures does, with [`Families`].
pub(super) fn open(
    signals: &Path,
    metrics: &Path,
    started_unix_ms: u64,
    asks: &mpsc::UnboundedSender<Request>,
    tasks: &Tasks,
) -> Sockets {
    let pid = std::process::id();
    let of_metrics = metrics.join(format!("{pid}-{started_unix_ms}.sock"));
    let made = std::fs::create_dir_all(metrics);
    let bind = |path: &Path| match control::Listener::bind(path) {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!(%error, "nobody can ask what is measured");
            None
        }
    };
    if let Some(listener) = bind(signals) {
        let asks = asks.clone();
        tasks.spawn(TaskKind::Background, "signals", async move {
            control::tell(&listener, "signals", || ask(&asks, Request::Signals)).await;
        });
    }
    if let Some(listener) = made.ok().and_then(|()| bind(&of_metrics)) {
        let asks = asks.clone();
        tasks.spawn(TaskKind::Background, "metrics", async move {
            control::tell(&listener, "metrics", || ask(&asks, Request::Families)).await;
        });
    }
    Sockets(vec![of_metrics])
}

async fn ask<T>(
    asks: &mpsc::UnboundedSender<Request>,
    request: fn(oneshot::Sender<T>) -> Request,
) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    asks.send(request(reply)).ok()?;
    answer.await.ok()
}

impl Control {
    fn judged(&mut self, counts: Vec<(Counts, f64)>) -> Workloads {
        self.judge.workloads(self.fresh.last_catalog(), counts)
    }

    pub(super) async fn signals(&mut self) -> Signals {
        let counts = self.ask_all(Command::Counts).await;
        let workloads = self.judged(counts);
        let sampled = Arc::clone(&self.sampled.borrow());
        let since = Clock.now().saturating_duration_since(self.begun);
        let beside = Beside {
            seconds: since.as_secs_f64(),
            measured: self.snapshot.database.measure.statements,
            metrics: &self.metrics,
            second: since.as_secs(),
            server: sampled.server.clone(),
            replicas: self.lag.signals(),
        };
        signals::signals(workloads, beside)
    }

    pub(super) async fn families(&mut self) -> Families {
        let counts = self.ask_all(Command::Counts).await;
        let operations = page::by_operation(&counts);
        let workloads = self.judged(counts);
        let sampled = Arc::clone(&self.sampled.borrow());
        let mut all = Families::default();
        page::of_statements(&mut all, &operations, &workloads);
        page::of_the_proxy(&mut all, &self.metrics, &self.reports.borrow());
        page::of_the_server(&mut all, &sampled, &self.lag.signals());
        self.spans.families(&mut all, "pgproxy");
        own::families(
            &mut all,
            "pgproxy",
            env!("CARGO_PKG_VERSION"),
            self.started_unix_ms,
        );
        all
    }

    /// `None`: every worker has rows of its own.
    pub(super) async fn rows(&mut self, what: Show) -> Option<Vec<Vec<String>>> {
        let rows = match what {
            Show::Queries => signals::queries,
            Show::Tables => signals::tables,
            Show::Waits => signals::waits,
            Show::Lag => signals::lag,
            _ => return None,
        };
        Some(rows(&self.signals().await))
    }
}
