//! Waiting for the edge: its reports are judged as they come, until they say so or the time is over.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use banyan_supervisor::{ChildId, Handle};
use banyan_topology::report::EdgeReport;
use banyan_topology::{Edge, Epoch, PlaceName};
use tokio::sync::watch;

use super::judge::{Goal, Verdict, judge};
use super::specs::{edge_at, edge_child, edge_name};
use crate::controller::Reports;

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

impl Unmet {
    fn at(self, place: &PlaceName) -> Self {
        let named = |text: String| format!("at place {place}: {text}");
        match self {
            Self::InTime { reason, reached } => Self::InTime {
                reason: named(reason),
                reached,
            },
            Self::Refused(why) => Self::Refused(named(why)),
            Self::Silent { how, log } => Self::Silent { how, log },
        }
    }
}

#[derive(Clone)]
pub(super) struct EdgeWatch {
    edge: watch::Receiver<Option<EdgeReport>>,
    places: watch::Receiver<BTreeMap<PlaceName, EdgeReport>>,
    supervisor: Handle,
    /// The folder.
    logs: PathBuf,
}

impl EdgeWatch {
    pub(super) fn new(reports: &Reports, supervisor: Handle, logs: PathBuf) -> Self {
        Self {
            edge: reports.edge.clone(),
            places: reports.places.clone(),
            supervisor,
            logs,
        }
    }

    /// The newest epoch that any edge says it serves.
    pub(super) fn reported_epoch(&self) -> Epoch {
        let places = self.places.borrow();
        let newest = places.values().map(|report| report.epoch).max();
        let first = self.edge.borrow().as_ref().map(|report| report.epoch);
        newest.max(first).unwrap_or_default()
    }

    /// Until it holds at every place of the edge; each has the whole time.
    pub(super) async fn everywhere(
        &self,
        edge: &Edge,
        epoch: Epoch,
        goal: impl Fn(Option<&PlaceName>) -> Goal,
        limit: Duration,
    ) -> Result<(), Unmet> {
        for place in edge.everywhere() {
            let met = self
                .wait(&edge_child(edge, place), epoch, &goal(place), limit)
                .await;
            met.map_err(|unmet| match place {
                Some(place) => unmet.at(place),
                None => unmet,
            })?;
        }
        Ok(())
    }

    /// `edge`: the one process whose reports count.
    pub(super) async fn wait(
        &self,
        edge: &ChildId,
        epoch: Epoch,
        goal: &Goal,
        limit: Duration,
    ) -> Result<(), Unmet> {
        let mut last = None;
        let mut watch = self.clone();
        let waiting = watch.until(edge, epoch, goal, &mut last);
        match tokio::time::timeout(limit, waiting).await {
            Ok(met) => met,
            Err(_over) => Err(match last {
                Some((reason, reached)) => Unmet::InTime { reason, reached },
                None => Unmet::Silent {
                    how: self.condition(edge, limit).await,
                    log: self
                        .logs
                        .join(format!("{}.log", edge_name(edge_at(edge).flatten().as_ref()))),
                },
            }),
        }
    }

    async fn until(
        &mut self,
        edge: &ChildId,
        epoch: Epoch,
        goal: &Goal,
        last: &mut Option<(String, bool)>,
    ) -> Result<(), Unmet> {
        let place = edge_at(edge).flatten();
        loop {
            let report = match &place {
                None => self.edge.borrow_and_update().clone(),
                Some(place) => self.places.borrow_and_update().get(place).cloned(),
            };
            if let Some(report) = report
                && Some(report.pid) == self.pid(edge).await
            {
                match judge(&report, epoch, goal) {
                    Verdict::Done => return Ok(()),
                    Verdict::Failed(reason) => return Err(Unmet::Refused(reason)),
                    Verdict::Wait(reason) => *last = Some((reason, report.epoch >= epoch)),
                }
            }
            let changed = match place {
                None => self.edge.changed().await,
                Some(_) => self.places.changed().await,
            };
            if changed.is_err() {
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
