//! The PostgreSQL proxy: its process, its snapshot, and holds: while one lasts no statement begins and none is lost.
//!
//! A hold is a state in the snapshot with a limit of its own. It is published with the step that needs it and gone with
//! whatever is published next, so a controller that dies in the middle leaves none for ever.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use banyan_config::Reads;
use banyan_runtime::watched::{self, WatchedError};
use banyan_supervisor::engine::postgres::Server;
use banyan_supervisor::{ChildId, Handle, StartError};
use banyan_topology::report::{HoldState, PgproxyReport};
use banyan_topology::snapshot::pgproxy::{
    self, Bound, Found, Hold, HoldCause, PgAuth, PgproxySnapshot, Told,
};
use banyan_topology::{Epoch, External, Pgproxy, Topology};
use tokio::sync::watch;

use super::local::{Local, chain};
use super::specs::{PGPROXY, is_pgproxy, pgproxy_child};
use super::{Move, StepError};
use crate::controller::Loaded;
use crate::external;

/// It takes a snapshot within milliseconds and looks each second.
const LIMIT: Duration = Duration::from_secs(20);
/// Beyond the grace of open transactions: connections are closed, listeners drained.
const HOLD_LIMIT: Duration = Duration::from_secs(5);

/// What the proxy is to make true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Serves the snapshot.
    Serves,
    Listens,
    /// Nothing runs on a server any more.
    Held,
    /// Statements pass.
    Open,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Done,
    Wait(String),
    Failed(String),
}

fn judge(report: &PgproxyReport, epoch: Epoch, goal: Goal) -> Verdict {
    if report.epoch < epoch {
        return match &report.refused {
            Some(reason) => Verdict::Failed(format!("the proxy refused it: {reason}")),
            None => Verdict::Wait(format!(
                "the proxy serves snapshot {}, not yet {epoch}",
                report.epoch
            )),
        };
    }
    match (goal, report.hold) {
        (Goal::Serves, _) | (Goal::Held, HoldState::Held) | (Goal::Open, HoldState::Open) => Verdict::Done,
        (Goal::Listens, _) if !report.listening.is_empty() => Verdict::Done,
        (Goal::Listens, _) => match &report.refused {
            Some(reason) => Verdict::Failed(format!("the proxy refused it: {reason}")),
            None => Verdict::Wait("the proxy does not listen yet".to_owned()),
        },
        (Goal::Held, _) => match &report.hold_failure {
            Some(reason) => Verdict::Failed(reason.clone()),
            None => Verdict::Wait("transactions are still open".to_owned()),
        },
        (Goal::Open, state) => Verdict::Wait(format!("the proxy is still {state:?}").to_lowercase()),
    }
}

/// What the proxy is told, and what it tells.
pub(super) struct ProxyLink {
    path: PathBuf,
    auth: PgAuth,
    reports: watch::Receiver<Option<PgproxyReport>>,
    supervisor: Handle,
    /// Which database cluster its servers are copies of, once it is known; a fresh one takes a `down` before.
    identifier: OnceLock<u64>,
    secrets: PathBuf,
    /// Where the user's own server was found last, by its login.
    found: watch::Sender<Option<(String, Found)>>,
}

impl ProxyLink {
    pub(super) fn new(
        path: PathBuf,
        auth: PgAuth,
        reports: watch::Receiver<Option<PgproxyReport>>,
        supervisor: Handle,
        secrets: PathBuf,
    ) -> Self {
        Self {
            secrets,
            found: watch::Sender::new(None),
            path,
            auth,
            reports,
            supervisor,
            identifier: OnceLock::new(),
        }
    }

    /// Blocking, once.
    fn learn(&self, primary: &Server) {
        if self.identifier.get().is_none()
            && let Ok(identifier) = primary.system_identifier()
        {
            self.identifier.get_or_init(|| identifier);
        }
    }

    /// The epoch under which it is told. `bound`: of a failover just now; without one the last stays.
    pub(super) fn publish(
        &self,
        topology: &Topology,
        hold: Option<Hold>,
        bound: Option<Bound>,
    ) -> Result<Epoch, WatchedError> {
        let old: Option<PgproxySnapshot> = watched::read(&self.path)?;
        let reported = self
            .reports
            .borrow()
            .as_ref()
            .map_or(Epoch::default(), |report| report.epoch);
        let last = old.as_ref().map_or(reported, |old| old.epoch.max(reported));
        let external = topology
            .pgproxy
            .as_ref()
            .and_then(|proxy| proxy.external.as_deref());
        let auth = match external {
            Some(external) => PgAuth::File {
                path: external::login_file(&self.secrets, external),
            },
            None => self.auth.clone(),
        };
        let told = Told {
            found: external.and_then(|external| self.found(external, &auth, old.as_ref())),
            auth,
            hold,
            bound: bound.or(old.as_ref().and_then(|old| old.database.bound)),
            system_identifier: self.identifier.get().copied(),
        };
        let Some(new) = pgproxy::pgproxy(topology, last.next(), told) else {
            return Ok(last);
        };
        let again = PgproxySnapshot {
            epoch: last,
            ..new.clone()
        };
        if old == Some(again) {
            return Ok(last);
        }
        watched::publish(&self.path, &new)?;
        Ok(new.epoch)
    }

    /// What an earlier controller has found counts, too.
    fn found(&self, external: &External, auth: &PgAuth, old: Option<&PgproxySnapshot>) -> Option<Found> {
        let known = self.found.borrow().clone();
        if let Some((_, found)) = known.filter(|(login, _)| *login == external.login) {
            return Some(found);
        }
        let old = old.filter(|old| old.auth == *auth)?.database.primary()?;
        Some(Found {
            address: old.address,
            tls: old.tls.clone(),
        })
    }

    /// The user's own server: its login is kept, and it is looked for.
    async fn meet(&self, external: &External, loaded: &Loaded) -> Result<(), StepError> {
        let failed = |error| StepError(format!("database.url: {error}"));
        external::keep_login(&self.secrets, external, loaded).map_err(failed)?;
        let found = external::find(external).await.map_err(failed)?;
        self.found.send_replace(Some((external.login.clone(), found)));
        Ok(())
    }

    /// `child`: whose reports count.
    pub(super) async fn wait(
        &self,
        child: &ChildId,
        epoch: Epoch,
        goal: Goal,
        limit: Duration,
    ) -> Result<(), StepError> {
        let mut reports = self.reports.clone();
        let mut last = None;
        let waiting = async {
            loop {
                let report = reports.borrow_and_update().clone();
                if let Some(report) = report
                    && Some(report.pid) == self.pid(child).await
                {
                    match judge(&report, epoch, goal) {
                        Verdict::Done => return Ok(()),
                        Verdict::Failed(reason) => return Err(StepError(reason)),
                        Verdict::Wait(reason) => last = Some(reason),
                    }
                }
                if reports.changed().await.is_err() {
                    // The controller is ending, and this wait with it.
                    std::future::pending::<()>().await;
                }
            }
        };
        match tokio::time::timeout(limit, waiting).await {
            Ok(met) => met,
            Err(_over) => {
                Err(StepError(last.unwrap_or_else(|| {
                    format!("the proxy sent no report for {limit:?}")
                })))
            }
        }
    }

    /// A report of one that has died proves nothing.
    async fn pid(&self, id: &ChildId) -> Option<u32> {
        let children = self.supervisor.status().await;
        children.into_iter().find(|child| child.id == *id)?.pid
    }
}

impl Local {
    pub(super) async fn start_pgproxy(&self, wanted: &Pgproxy, step: Move<'_>) -> Result<(), StepError> {
        if let Some(external) = &wanted.external {
            self.proxy.meet(external, &*self.equipment()?).await?;
        }
        // Its role and function may be missing: a server of before has none.
        if let Some(database) = &step.before.database {
            let server = self.primary(database, step.before)?;
            server
                .provision()
                .await
                .map_err(|error| StepError(chain(&error)))?;
        }
        let epoch = self.publish_to_pgproxy(step.after, None, None)?;
        self.run_pgproxy(wanted, epoch).await?;
        self.keep_programs(step);
        Ok(())
    }

    /// Returns once it serves; what does not is stopped again.
    async fn run_pgproxy(&self, wanted: &Pgproxy, epoch: Epoch) -> Result<(), StepError> {
        let provided = self.specs.programs.provide(&wanted.program);
        provided.map_err(|error| StepError(chain(&error)))?;
        match self.supervisor.start(self.specs.pgproxy(wanted)).await {
            Ok(()) | Err(StartError::Exists(_)) => {}
            Err(error) => return Err(StepError(chain(&error))),
        }
        let id = pgproxy_child(wanted);
        let exits = async {
            match self.supervisor.ready(&id).await {
                Ok(()) => std::future::pending().await,
                Err(error) => error.to_string(),
            }
        };
        let failure = tokio::select! {
            listens = self.proxy.wait(&id, epoch, Goal::Listens, LIMIT) => match listens {
                Ok(()) => return Ok(()),
                Err(error) => error.to_string(),
            },
            exited = exits => exited,
        };
        self.supervisor.stop(&id).await;
        let log = self.specs.log(PGPROXY);
        Err(StepError(format!(
            "{}\nits log: {}",
            failure.trim_end(),
            log.display()
        )))
    }

    /// The new process takes the listening socket over and accepts beside the old one, whose clients then move to it, each
    /// between two statements.
    ///
    /// While two serve, neither knows what is written through the other: no replica is read until one is left.
    pub(super) async fn replace_pgproxy(
        &self,
        from: &Pgproxy,
        to: &Pgproxy,
        step: Move<'_>,
    ) -> Result<Option<String>, StepError> {
        if self.runs(&pgproxy_child(from)).await {
            let quiet = without_reads(step.before);
            self.tell_pgproxy(&quiet, None, None, Goal::Serves).await?;
        }
        let epoch = self.publish_to_pgproxy(&without_reads(step.after), None, None)?;
        if let Err(error) = self.run_pgproxy(to, epoch).await {
            let told = self.publish_to_pgproxy(step.before, None, None);
            let told = told.err().map(|error| format!("\n{error}")).unwrap_or_default();
            return Err(StepError(format!(
                "{error}{told}\nThe proxy that ran before serves on."
            )));
        }
        let new = pgproxy_child(to);
        let note = self.stop_all(|child| is_pgproxy(child) && *child != new).await;
        self.keep_programs(step);
        self.tell_pgproxy(step.after, None, None, Goal::Serves).await?;
        Ok(note)
    }

    pub(super) async fn configure_pgproxy(
        &self,
        from: &Pgproxy,
        to: &Pgproxy,
        step: Move<'_>,
    ) -> Result<(), StepError> {
        if let Some(external) = &to.external {
            self.proxy.meet(external, &*self.equipment()?).await?;
            let known = [&from.external, &to.external].into_iter().flatten();
            let known: Vec<&External> = known.map(|external| &**external).collect();
            external::forget_others(&self.proxy.secrets, &known);
        }
        self.tell_pgproxy(step.after, None, None, Goal::Serves).await
    }

    /// Tells the proxy, if there is one, and waits until it is so.
    pub(super) async fn tell_pgproxy(
        &self,
        topology: &Topology,
        hold: Option<Hold>,
        bound: Option<Bound>,
        goal: Goal,
    ) -> Result<(), StepError> {
        let Some(pgproxy) = &topology.pgproxy else {
            return Ok(());
        };
        let limit = match goal {
            Goal::Held => pgproxy.hold.grace + HOLD_LIMIT,
            Goal::Serves | Goal::Listens | Goal::Open => LIMIT,
        };
        let epoch = self.publish_to_pgproxy(topology, hold, bound)?;
        self.proxy.wait(&pgproxy_child(pgproxy), epoch, goal, limit).await
    }

    /// The epoch under which it is told.
    pub(super) fn publish_to_pgproxy(
        &self,
        topology: &Topology,
        hold: Option<Hold>,
        bound: Option<Bound>,
    ) -> Result<Epoch, StepError> {
        if let Some(database) = &topology.database {
            self.proxy.learn(&self.primary(database, topology)?);
        }
        let told = self.proxy.publish(topology, hold, bound);
        told.map_err(|error| StepError(chain(&error)))
    }

    /// Returns once no statement runs on a server. `Err`: they all run on.
    pub(super) async fn hold(&self, topology: &Topology, cause: HoldCause) -> Result<(), StepError> {
        let hold = topology.pgproxy.as_ref().map(|pgproxy| Hold {
            cause,
            grace: pgproxy.hold.grace,
            limit: pgproxy.hold.limit,
        });
        let held = self.tell_pgproxy(topology, hold, None, Goal::Held).await;
        if held.is_err() {
            self.release(topology).await;
        }
        held
    }

    /// Lets statements pass again; what fails here ends with the hold's own limit.
    pub(super) async fn release(&self, topology: &Topology) {
        if let Err(error) = self.tell_pgproxy(topology, None, None, Goal::Open).await {
            tracing::warn!(%error, "the proxy did not let statements pass at once");
        }
    }
}

/// The same, with all reads on the primary.
fn without_reads(topology: &Topology) -> Topology {
    let mut topology = topology.clone();
    if let Some(pgproxy) = &mut topology.pgproxy {
        pgproxy.reads = Reads::Primary;
    }
    topology
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(epoch: u64, hold: HoldState) -> PgproxyReport {
        PgproxyReport {
            epoch: Epoch(epoch),
            hold,
            listening: vec!["127.0.0.1:6432".parse().unwrap()],
            ..PgproxyReport::default()
        }
    }

    #[test]
    fn a_hold_of_another_epoch_proves_nothing() {
        let held = |epoch| judge(&report(epoch, HoldState::Held), Epoch(5), Goal::Held);
        assert!(matches!(held(4), Verdict::Wait(_)));
        assert_eq!(held(5), Verdict::Done);
        let open = judge(&report(5, HoldState::Releasing), Epoch(5), Goal::Open);
        assert_eq!(open, Verdict::Wait("the proxy is still releasing".to_owned()));
    }

    #[test]
    fn a_hold_that_was_given_up_fails_at_once() {
        let given_up = PgproxyReport {
            hold_failure: Some("2 transactions are still open after 5s".to_owned()),
            ..report(5, HoldState::Open)
        };
        assert_eq!(
            judge(&given_up, Epoch(5), Goal::Held),
            Verdict::Failed("2 transactions are still open after 5s".to_owned())
        );
    }
}
