//! The role that keeps what is measured: its process and its snapshot. Nothing waits for it longer than [`LIMIT`], and what
//! fails with it is a note: no request depends on it.

use std::path::PathBuf;
use std::time::Duration;

use banyan_runtime::watched;
use banyan_supervisor::{ChildId, Handle, StartError};
use banyan_topology::report::ObserveReport;
use banyan_topology::snapshot::ObserveSnapshot;
use banyan_topology::snapshot::observe::observe;
use banyan_topology::{Observe, Topology};
use tokio::sync::watch;

use super::Move;
use super::local::{Local, chain};
use super::specs::OBSERVE;
use crate::paths::StateDir;

/// It listens within milliseconds.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) struct ObserveLink {
    path: PathBuf,
    token: PathBuf,
    reports: watch::Receiver<Option<ObserveReport>>,
    supervisor: Handle,
}

impl ObserveLink {
    pub(super) fn new(
        state: &StateDir,
        reports: watch::Receiver<Option<ObserveReport>>,
        supervisor: Handle,
    ) -> Self {
        Self {
            path: state.observe_snapshot(),
            token: state.dashboard_token(),
            reports,
            supervisor,
        }
    }

    /// What there is to be seen. One that is not told shows what was; that is logged and stops nothing.
    pub(super) fn tell(&self, topology: &Topology) {
        let old = watched::read::<ObserveSnapshot>(&self.path).ok().flatten();
        let last = old.as_ref().map(|old| old.epoch).unwrap_or_default();
        let reported = self.reports.borrow().as_ref().map(|report| report.epoch);
        let last = last.max(reported.unwrap_or_default());
        let Some(same) = observe(topology, last, self.token.clone()) else {
            return;
        };
        if old.as_ref() == Some(&same) {
            return;
        }
        let new = ObserveSnapshot {
            epoch: last.next(),
            ..same
        };
        if let Err(error) = watched::publish(&self.path, &new) {
            tracing::warn!(error = chain(&error), "observe is not told of the change");
        }
    }

    /// Why it is not seen yet, if it is not: of the process that runs now.
    async fn listens(&self) -> Option<String> {
        let mut reports = self.reports.clone();
        let told = async {
            loop {
                let report = reports.borrow_and_update().clone();
                if let Some(report) = report
                    && Some(report.pid) == self.pid().await
                    && (report.listening.is_some() || report.problem.is_some())
                {
                    return report.problem.filter(|_| report.listening.is_none());
                }
                if reports.changed().await.is_err() {
                    // The controller is ending, and this wait with it.
                    std::future::pending::<()>().await;
                }
            }
        };
        let over = || Some(format!("it sent no report for {LIMIT:?}"));
        tokio::time::timeout(LIMIT, told).await.unwrap_or_else(|_| over())
    }

    async fn pid(&self) -> Option<u32> {
        let children = self.supervisor.status().await;
        children.into_iter().find(|child| child.id.0 == OBSERVE)?.pid
    }
}

impl Local {
    /// A note, if there is no dashboard yet: it is tried on.
    pub(super) async fn start_observe(&self, wanted: &Observe, step: Move<'_>) -> Option<String> {
        self.observe.tell(step.after);
        let why = match self.supervisor.start(self.specs.observe(wanted)).await {
            Ok(()) | Err(StartError::Exists(_)) => {
                let id = ChildId(OBSERVE.to_owned());
                let exits = async {
                    match self.supervisor.ready(&id).await {
                        Ok(()) => std::future::pending().await,
                        Err(error) => error.to_string(),
                    }
                };
                tokio::select! {
                    seen = self.observe.listens() => seen?,
                    exited = exits => exited,
                }
            }
            Err(error) => chain(&error),
        };
        let log = self.specs.log(OBSERVE);
        Some(format!(
            "there is no dashboard at {} yet: {}; its log: {}",
            wanted.listen(),
            why.trim_end(),
            log.display()
        ))
    }
}
