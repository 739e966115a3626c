//! Waiting for the edge: its reports are judged as they come, until they say so or the time is over.

use std::path::PathBuf;
use std::time::Duration;

use banyan_supervisor::{ChildId, Handle};
use banyan_topology::Epoch;
use banyan_topology::report::EdgeReport;
use tokio::sync::watch;

use super::judge::{Goal, Verdict, judge};

/// Why a wait ended without its goal.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unmet {
    /// The time is over. `reached`: the edge does serve the snapshot.
    #[error("{reason}")]
    InTime { reason: String, reached: bool },
    #[error("{0}")]
    Refused(String),
    #[error("the edge {how}; its log: {}", log.display())]
    Silent { how: String, log: PathBuf },
}

pub(super) struct EdgeWatch {
    reports: watch::Receiver<Option<EdgeReport>>,
    supervisor: Handle,
    log: PathBuf,
}

impl EdgeWatch {
    pub(super) fn new(
        reports: watch::Receiver<Option<EdgeReport>>,
        supervisor: Handle,
        log: PathBuf,
    ) -> Self {
        Self {
            reports,
            supervisor,
            log,
        }
    }

    /// The newest epoch that the edge says it serves.
    pub(super) fn reported_epoch(&self) -> Epoch {
        self.reports
            .borrow()
            .as_ref()
            .map_or(Epoch::default(), |report| report.epoch)
    }

    /// `edge`: the one process whose reports count.
    pub(super) async fn wait(
        &self,
        edge: &ChildId,
        epoch: Epoch,
        goal: &Goal,
        limit: Duration,
    ) -> Result<(), Unmet> {
        let mut reports = self.reports.clone();
        let mut last = None;
        let waiting = self.until(&mut reports, edge, epoch, goal, &mut last);
        match tokio::time::timeout(limit, waiting).await {
            Ok(met) => met,
            Err(_over) => Err(match last {
                Some((reason, reached)) => Unmet::InTime { reason, reached },
                None => Unmet::Silent {
                    how: self.condition(edge, limit).await,
                    log: self.log.clone(),
                },
            }),
        }
    }

    async fn until(
        &self,
        reports: &mut watch::Receiver<Option<EdgeReport>>,
        edge: &ChildId,
        epoch: Epoch,
        goal: &Goal,
        last: &mut Option<(String, bool)>,
    ) -> Result<(), Unmet> {
        loop {
            let report = reports.borrow_and_update().clone();
            if let Some(report) = report
                && Some(report.pid) == self.pid(edge).await
            {
                match judge(&report, epoch, goal) {
                    Verdict::Done => return Ok(()),
                    Verdict::Failed(reason) => return Err(Unmet::Refused(reason)),
                    Verdict::Wait(reason) => *last = Some((reason, report.epoch >= epoch)),
                }
            }
            if reports.changed().await.is_err() {
                // The controller is ending, and this wait with it.
                std::future::pending::<()>().await;
            }
        }
    }

    /// A report of an edge that has died proves nothing.
    async fn pid(&self, edge: &ChildId) -> Option<u32> {
        let children = self.supervisor.status().await;
        children.into_iter().find(|child| child.id == *edge)?.pid
    }

    async fn condition(&self, edge: &ChildId, limit: Duration) -> String {
        match self.pid(edge).await {
            Some(pid) => format!("(pid {pid}) sent no report for {limit:?}"),
            None => "does not run".to_owned(),
        }
    }
}
