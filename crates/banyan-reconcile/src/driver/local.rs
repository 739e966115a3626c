//! This machine: children by the supervisor, the edge by snapshot and report.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use banyan_config::Certificates;
use banyan_runtime::shutdown::{self, ShutdownTrigger};
use banyan_runtime::{Clock, ShutdownStage, TaskKind, Tasks, private};
use banyan_supervisor::child::SupervisorConfig;
use banyan_supervisor::engine::postgres;
use banyan_supervisor::engine::postgres::backup::{Backup, Kind};
use banyan_supervisor::{ChildId, ChildStatus, Handle, StopSignal};
use banyan_topology::{Epoch, Step, Topology};
use tokio::sync::{mpsc, watch};

use super::judge::Goal;
use super::observe::ObserveLink;
use super::pgproxy::ProxyLink;
use super::publisher::Publisher;
use super::specs::{OBSERVE, PGPROXY, Specs, edge_at, edge_name, is_pgproxy};
use super::wait::{self, EdgeWatch};
use super::{Attempt, Driver, Failing, Mended, Move, Save, StepError};
use crate::controller::{ControllerConfig, Loaded, Reports};
use crate::proto::{BackupNow, BackupState, RedisState, Trial};
use crate::{acme, backup, redis};

/// How often a start that has not begun is asked for hints.
const HINT_EVERY: Duration = Duration::from_millis(500);
/// The edge takes a snapshot within milliseconds and looks each second.
pub(super) const EDGE_LIMIT: Duration = Duration::from_secs(20);

pub struct Local {
    pub(super) supervisor: Handle,
    pub(super) specs: Specs,
    publisher: Arc<Publisher>,
    acme: acme::Handle,
    pub(super) backups: backup::Handle,
    pub(super) redis: redis::Handle,
    pub(super) edge: EdgeWatch,
    pub(super) proxy: ProxyLink,
    pub(super) observe: ObserveLink,
    equipment: watch::Sender<Option<Arc<Loaded>>>,
    supervisor_ends: ShutdownTrigger,
}

impl Drop for Local {
    /// The supervisor ends with its only user; its children run on.
    fn drop(&mut self) {
        self.supervisor_ends.advance(ShutdownStage::Now);
    }
}

impl Local {
    /// Runs the supervisor, which starts nothing by itself.
    pub(crate) fn build(config: &ControllerConfig, reports: Reports, tasks: &Tasks) -> std::io::Result<Self> {
        let supervisor = SupervisorConfig {
            state_dir: config.state.path().to_owned(),
            program: config.program.clone(),
        };
        let (service, supervisor) = banyan_supervisor::build(supervisor, tasks)?;
        // Its own shutdown: it must work until everything is down, while the controller's is already draining.
        let (supervisor_ends, ends) = shutdown::channel();
        tasks.spawn(TaskKind::Role, "supervisor", service.run(ends));
        let specs = Specs::new(config);
        let publisher = Arc::new(Publisher::new(config.state.edge_snapshot()));
        Ok(Self {
            acme: acme::start(
                specs.local_authority(),
                Arc::clone(&publisher),
                reports.edge.clone(),
                tasks,
            ),
            backups: backup::start(supervisor.clone(), config.state.clone(), tasks),
            redis: redis::start(tasks),
            edge: EdgeWatch::new(&reports, supervisor.clone(), config.state.logs()),
            proxy: ProxyLink::new(
                config.state.pgproxy_snapshot(),
                specs.pgproxy_auth(),
                reports.pgproxy,
                supervisor.clone(),
                config.state.secrets(),
            ),
            observe: ObserveLink::new(&config.state, reports.observe, supervisor.clone()),
            supervisor,
            publisher,
            specs,
            equipment: watch::Sender::new(None),
            supervisor_ends,
        })
    }

    pub(super) fn equipment(&self) -> Result<Arc<Loaded>, StepError> {
        let equipment = self.equipment.borrow().clone();
        equipment.ok_or_else(|| StepError("no configuration was read yet".to_owned()))
    }

    pub(super) fn publish(&self, topology: &Topology) -> Result<Epoch, StepError> {
        self.certificates(topology)?;
        self.tell_where_limits_count(topology)?;
        self.publish_to_pgproxy(topology, None, None)?;
        self.observe.tell(topology);
        let epoch = self.publisher.publish(topology, self.edge.reported_epoch());
        self.acme.want(topology);
        epoch.map_err(|error| StepError(chain(&error)))
    }

    /// Edges look at the file each second, so it may come before or after their snapshot.
    pub(super) fn tell_where_limits_count(&self, topology: &Topology) -> Result<(), StepError> {
        let address = self.specs.limits_address(topology, || self.equipment())?;
        let path = self.specs.limits_url();
        let kept = match address.map(|address| address.url()) {
            None => private::remove(&path),
            // Most often it is as before.
            Some(url) if fs::read_to_string(&path).is_ok_and(|text| text == url) => Ok(()),
            Some(url) => private::replace(&path, url.as_bytes()),
        };
        kept.map_err(|error| StepError(format!("failed to write {}: {error}", path.display())))
    }

    /// Makes the certificate of the installation's own CA if the edge is to have one that is not there, or soon expires; it
    /// also serves until another CA has made one.
    fn certificates(&self, topology: &Topology) -> Result<(), StepError> {
        let tls = topology.edge.as_ref().and_then(|edge| edge.settings.tls.as_ref());
        let Some(tls) = tls.filter(|tls| !matches!(tls.certificates, Certificates::Files(_))) else {
            return Ok(());
        };
        let names = certificate_names(&tls.domains, rustix::system::uname().nodename().to_str().ok());
        let now = i64::try_from(Clock.unix_ms() / 1000).unwrap_or(i64::MAX);
        match self
            .specs
            .local_authority()
            .ensure(topology.app.as_str(), &names, now)
        {
            Ok(true) => tracing::info!(?names, "a certificate was made by the local CA"),
            Ok(false) => {}
            Err(error) => return Err(StepError(chain(&error))),
        }
        Ok(())
    }

    /// Tells the edge again what held before a step that failed; that failure is the one to report.
    ///
    /// Waits until the edge has it: what it refused must not be taken for an answer to the next step.
    pub(super) async fn take_back(&self, before: &Topology) {
        let Some(edge) = &before.edge else { return };
        let taken = match self.publish(before) {
            Ok(epoch) => self
                .edge
                .everywhere(edge, epoch, |_| Goal::Serves, EDGE_LIMIT)
                .await
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = taken {
            tracing::warn!(error, "the edge did not take back what it served before");
        }
    }

    pub(super) async fn runs(&self, id: &ChildId) -> bool {
        self.supervisor.status().await.iter().any(|child| child.id == *id)
    }

    pub(super) async fn stop(&self, id: &str) -> Option<String> {
        let report = self.supervisor.stop(&ChildId(id.to_owned())).await?;
        report
            .killed
            .then(|| format!("{id} did not stop by itself: {}", report.how))
    }

    /// Lets these children finish what is in flight, and ends them.
    pub(super) async fn stop_all(&self, which: impl Fn(&ChildId) -> bool) -> Option<String> {
        let mut notes = Vec::new();
        for child in self.supervisor.status().await {
            if which(&child.id) {
                notes.extend(self.stop(&child.id.0).await);
            }
        }
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    /// Removes the copies of banyan that neither side of the step runs.
    pub(super) fn keep_programs(&self, step: Move<'_>) {
        let sides = [step.before, step.after];
        let edges = sides
            .iter()
            .filter_map(|side| Some(side.edge.as_ref()?.program.as_str()));
        let proxies = sides
            .iter()
            .filter_map(|side| Some(side.pgproxy.as_ref()?.program.as_str()));
        self.specs
            .programs
            .keep(&edges.chain(proxies).collect::<Vec<_>>());
    }

    pub(super) async fn or_take_back(
        &self,
        met: Result<(), wait::Unmet>,
        step: Move<'_>,
    ) -> Result<(), StepError> {
        if let Err(error) = met {
            self.take_back(step.before).await;
            return Err(StepError(error.to_string()));
        }
        Ok(())
    }
}

impl Driver for Local {
    fn edge_program(&self) -> Option<String> {
        self.specs.programs.current()
    }

    fn certificate_problem(&self) -> Option<String> {
        self.acme.problem()
    }

    fn tend(&self, topology: &Topology) {
        if let Err(error) = self.certificates(topology) {
            tracing::error!(%error, "the edge's certificate could not be renewed");
        }
        self.acme.want(topology);
        self.supervisor.keep_logs((*topology.logs).clone());
        self.want_backups(topology);
        self.watch_redis(topology);
        self.observe.tell(topology);
    }

    fn redis(&self) -> Vec<RedisState> {
        self.redis.states()
    }

    fn backups(&self) -> Option<BackupState> {
        self.backups.state()
    }

    async fn back_up(
        &self,
        kind: Option<Kind>,
        progress: mpsc::UnboundedSender<BackupNow>,
    ) -> Result<Backup, String> {
        self.backups.now(kind, progress).await
    }

    fn equip(&self, loaded: &Loaded) -> Vec<String> {
        self.equipment.send_replace(Some(Arc::new(loaded.clone())));
        self.specs.identity(loaded).into_iter().collect()
    }

    async fn adopt(&self, expected: &Topology) -> Vec<String> {
        self.adopt_survivors(expected).await
    }

    async fn observe(&self, expected: &Topology) -> Topology {
        self.still_lives(expected).await
    }

    async fn hint(&self, step: &Step) -> String {
        let Step::StartInstance(instance) = step else {
            return std::future::pending().await;
        };
        let id = ChildId(instance.id.to_string());
        loop {
            if let Some(hint) = self.supervisor.hint(&id).await {
                return format!("{id} is not ready yet: {hint}");
            }
            // It is about to be started.
            tokio::time::sleep(HINT_EVERY).await;
        }
    }

    async fn perform(&self, step: Move<'_>) -> Result<Option<String>, StepError> {
        match step.step {
            Step::StartDatabase(database) => self.start_database(database, step.before).await?,
            Step::StopDatabase(database) => return Ok(self.stop_database(database).await),
            Step::AddReplica(node) => self.add_replica(node, step).await?,
            Step::RemoveReplica(node) => return self.remove_replica(node, step).await,
            Step::ConfigureDatabase { from, to } => self.configure_database(from, to, step).await?,
            Step::RestartDatabase { from, to } => self.restart_database(from, to, step).await?,
            Step::Switchover { from, to } => Box::pin(self.switchover(*from, *to, step)).await?,
            Step::StartPgproxy(pgproxy) => self.start_pgproxy(pgproxy, step).await?,
            Step::StopPgproxy(_) => return Ok(self.stop_all(is_pgproxy).await),
            Step::ReplacePgproxy { from, to } => return self.replace_pgproxy(from, to, step).await,
            Step::ConfigurePgproxy { from, to } => self.configure_pgproxy(from, to, step).await?,
            Step::StartRedis(redis) => self.start_redis(redis, step).await?,
            Step::StopRedis(redis) => return Ok(self.stop_redis(redis, step).await),
            Step::ConfigureRedis { from: _, to } => self.configure_redis(to, step).await?,
            Step::RestartRedis { from, to } => self.restart_redis(from, to, step).await?,
            Step::StartObserve(observe) => return Ok(self.start_observe(observe, step).await),
            Step::StopObserve(_) => return Ok(self.stop(OBSERVE).await),
            Step::ConfigureObserve { .. } => self.observe.tell(step.after),
            Step::RunRelease(release) => self.run_release(*release, step.before).await?,
            Step::SetRelease { .. } => {}
            Step::ConfigureProcess { from: _, to } => {
                if let Some(to) = to {
                    self.configure_process(to, step.after).await?;
                }
            }
            Step::ConfigureLogs { from: _, to } => self.supervisor.keep_logs(to.clone()),
            Step::StartInstance(instance) => self.start_instance(instance, step.before).await?,
            Step::StopInstance(instance) => {
                self.publish(step.after)?;
                return Ok(self.stop(&instance.id.to_string()).await);
            }
            Step::Admit(id) => self.admit(id, step).await?,
            Step::Drain(id) => return self.drain(id, step).await,
            Step::StartEdge(edge) => self.start_edge(edge, step).await?,
            Step::StopEdge(_) => return Ok(self.stop_edges(|_| true).await),
            Step::StartPlace { name, .. } => self.start_place(name, step).await?,
            Step::StopPlace { name, .. } => return self.stop_place(name, step).await,
            Step::ConfigureEdge { from: _, to } => self.configure_edge(to, step).await?,
            Step::ReplaceEdge { from: _, to } => return self.replace_edge(to, step).await,
        }
        Ok(None)
    }

    async fn settle(&self, topology: &Topology) -> Vec<String> {
        let mut notes = self.stop_unknown(topology).await;
        if let Err(error) = self.publish(topology) {
            notes.push(error.to_string());
        }
        notes
    }

    fn failing(&self, topology: &Topology) -> Failing {
        self.watch_primary(topology)
    }

    async fn mend(&self, topology: &Topology, failed: bool, save: &Save<'_>) -> Mended {
        Box::pin(self.mend_database(topology, failed, save)).await
    }

    async fn children(&self) -> Vec<ChildStatus> {
        let mut children = self.supervisor.status().await;
        for child in &mut children {
            if let Some(place) = edge_at(&child.id) {
                child.id.0 = edge_name(place.as_ref());
            } else if is_pgproxy(&child.id) {
                PGPROXY.clone_into(&mut child.id.0);
            }
        }
        children
    }

    async fn trial(&self, attempt: Attempt<'_>) -> Trial {
        let spec = self
            .equipment()
            .and_then(|loaded| self.specs.trial(attempt, &loaded));
        super::trial::run(&self.supervisor, spec, attempt).await
    }

    async fn kill_all(&self) {
        self.supervisor.kill_all().await;
    }
}

/// An error with its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// PostgreSQL ends by its own signal.
pub(super) fn stop_signal(id: &str) -> StopSignal {
    if postgres::node_of(&ChildId(id.to_owned())).is_some() {
        StopSignal::PostgresFast
    } else {
        StopSignal::Terminate
    }
}

/// What people on this machine and around it may call it by, besides its domains.
fn certificate_names(domains: &[String], host: Option<&str>) -> BTreeSet<String> {
    let sound = |name: &&str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
    };
    let own = ["localhost", "127.0.0.1", "::1"]
        .into_iter()
        .chain(host.filter(sound));
    own.chain(domains.iter().map(String::as_str))
        .map(str::to_lowercase)
        .collect()
}
