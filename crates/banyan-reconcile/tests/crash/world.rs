//! A machine without processes: children are names, and every operation may be the last of its controller.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use banyan_reconcile::StateDir;
use banyan_reconcile::controller::Loaded;
use banyan_reconcile::driver::{Attempt, Driver, Move, StepError};
use banyan_reconcile::durable::{Disk, Durable, DurableError};
use banyan_reconcile::execute::{Ended, Execution};
use banyan_reconcile::intent::Intent;
use banyan_reconcile::journal::{Entry, Header, Journal, Journals, OnFailure, Reason, Record};
use banyan_reconcile::proto::Trial;
use banyan_reconcile::takeover::{Decision, TakenOver, decide, take_over};
use banyan_runtime::{Clock, TaskKind, Tasks, shutdown, watched};
use banyan_supervisor::ChildStatus;
use banyan_topology::{InstanceId, ReleaseId, Step, Topology, plan};

/// What is true whether or not a controller lives.
#[derive(Default)]
struct Truth {
    /// Name of the child → how many processes run under it.
    children: BTreeMap<String, u32>,
    admitted: BTreeSet<InstanceId>,
    released: BTreeMap<ReleaseId, u32>,
    operations: usize,
    /// The operation that the controller does not live to see the end of.
    last: Option<usize>,
    failing: Option<String>,
}

/// Unwinds without the panic hook: a kill is not a bug.
struct Killed;

#[derive(Clone)]
pub(crate) struct World {
    truth: Arc<Mutex<Truth>>,
    folder: Arc<tempfile::TempDir>,
    on_failure: OnFailure,
}

impl World {
    /// A controller reached `topology` and ended.
    pub(crate) fn new(topology: &Topology) -> Self {
        // Each write is synced; in memory that costs nothing.
        let shared = Path::new("/dev/shm");
        let folder = tempfile::tempdir_in(shared).or_else(|_| tempfile::tempdir());
        let world = Self {
            truth: Arc::default(),
            folder: Arc::new(folder.unwrap()),
            on_failure: OnFailure::Revert,
        };
        world.state().prepare().unwrap();
        watched::publish(&world.state().topology(), topology).unwrap();
        let mut truth = world.truth.lock().unwrap();
        truth.children = names(topology).into_iter().map(|name| (name, 1)).collect();
        truth.admitted = topology.rotation.clone();
        truth.released = topology.released.iter().map(|release| (*release, 1)).collect();
        drop(truth);
        world
    }

    /// A step whose words begin so fails.
    pub(crate) fn failing(self, step: &str) -> Self {
        self.truth.lock().unwrap().failing = Some(step.to_owned());
        self
    }

    /// Plans stand still after a failure.
    pub(crate) fn standing(mut self) -> Self {
        self.on_failure = OnFailure::Stop;
        self
    }

    pub(crate) fn mend(&self) {
        self.truth.lock().unwrap().failing = None;
    }

    pub(crate) fn everything_dies(&self) {
        let mut truth = self.truth.lock().unwrap();
        truth.children.clear();
        truth.admitted.clear();
    }

    pub(crate) fn operations(&self) -> usize {
        self.truth.lock().unwrap().operations
    }

    /// A new plan, performed by a controller that is killed at an operation. `None`: it was killed.
    pub(crate) async fn change(&self, to: &Topology, kill_at: Option<usize>) -> Option<Ended> {
        let from: Topology = watched::read(&self.state().topology()).unwrap().unwrap();
        let (journal, record) = self.journals().create(self.header(&from, to)).unwrap();
        let world = self.clone();
        self.controller(kill_at, async move {
            world.execute(journal, record, from, false).await
        })
        .await
    }

    /// A new controller: adopts, ends what was left unfinished, then plans what is missing. `None`: it was killed.
    pub(crate) async fn take_over(&self, to: &Topology, kill_at: Option<usize>) -> Option<Topology> {
        let (world, to) = (self.clone(), to.clone());
        let taking = async move {
            let topology = Box::pin(world.finish_left(&to)).await;
            if plan::between(&topology, &to).is_empty() {
                return topology;
            }
            let (journal, record) = world.journals().create(world.header(&topology, &to)).unwrap();
            world.execute(journal, record, topology, false).await.topology
        };
        self.controller(kill_at, Box::pin(taking)).await
    }

    /// The first half of taking over: what an earlier controller left is resumed, undone or set aside.
    pub(crate) async fn finish_left(&self, to: &Topology) -> Topology {
        let taken = take_over(self, &self.state(), &to.app).await.unwrap();
        let TakenOver {
            topology, unfinished, ..
        } = taken;
        let Some((mut journal, record)) = unfinished else {
            return topology;
        };
        let decision = decide(&record, &topology);
        match decision {
            Decision::Resume | Decision::Revert => {
                self.execute(journal, record, topology, decision == Decision::Revert)
                    .await
                    .topology
            }
            Decision::Abandon(reason) => {
                journal.append(&Entry::Abandoned { reason }).unwrap();
                self.settle(&topology).await;
                topology
            }
        }
    }

    /// `apply --resume` or `apply --revert`.
    pub(crate) async fn go_on(&self, revert: bool) -> Ended {
        let (journal, record) = self.journals().unfinished().unwrap().unwrap();
        let topology = watched::read(&self.state().topology()).unwrap().unwrap();
        self.execute(journal, record, topology, revert).await
    }

    async fn execute(
        &self,
        journal: Journal,
        mut record: Record,
        topology: Topology,
        backward: bool,
    ) -> Ended {
        let disk = Disk {
            journal,
            topology: self.state().topology(),
            intent: self.state().intent(),
        };
        let mut durable = Fragile {
            world: self.clone(),
            disk,
        };
        let execution = Execution {
            driver: self,
            durable: &mut durable,
            record: &mut record,
            topology,
            events: &mut |_| {},
            clock: Clock,
            notes: Vec::new(),
        };
        if backward {
            execution.backward().await
        } else {
            execution.forward().await
        }
    }

    async fn controller<T: Send + 'static>(
        &self,
        kill_at: Option<usize>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        {
            let mut truth = self.truth.lock().unwrap();
            truth.operations = 0;
            truth.last = kill_at;
        }
        let (trigger, _shutdown) = shutdown::channel();
        let ended = Tasks::new(trigger)
            .spawn(TaskKind::Background, "controller", work)
            .await;
        self.truth.lock().unwrap().last = None;
        ended.unwrap()
    }

    fn header(&self, from: &Topology, to: &Topology) -> Header {
        Header {
            number: 0,
            reason: Reason::Deploy,
            config_hash: String::new(),
            from: from.clone(),
            plan: plan::between(from, to),
            on_failure: self.on_failure,
            intent_before: Intent::default(),
            intent_after: Intent::default(),
        }
    }

    fn state(&self) -> StateDir {
        StateDir::new(self.folder.path())
    }

    fn journals(&self) -> Journals {
        Journals::new(self.state().journal())
    }

    /// Exactly the children, rotation and file of the topology; nothing runs twice.
    pub(crate) fn assert_matches(&self, topology: &Topology) {
        let truth = self.truth.lock().unwrap();
        let expected: BTreeMap<String, u32> = names(topology).into_iter().map(|name| (name, 1)).collect();
        assert_eq!(truth.children, expected);
        assert_eq!(truth.admitted, topology.rotation);
        let saved: Topology = watched::read(&self.state().topology()).unwrap().unwrap();
        assert_eq!(saved, *topology);
        assert!(self.journals().unfinished().unwrap().is_none());
    }

    pub(crate) fn assert_no_step_was_lost(&self, topology: &Topology, case: &str) {
        let truth = self.truth.lock().unwrap();
        for release in &topology.released {
            assert!(
                truth.released.get(release).is_some_and(|runs| *runs >= 1),
                "{case}: {release} was not run"
            );
        }
    }

    /// An operation begins or ends.
    fn operation(&self) {
        let mut truth = self.truth.lock().unwrap();
        let now = truth.operations;
        truth.operations += 1;
        if truth.last == Some(now) {
            drop(truth);
            std::panic::resume_unwind(Box::new(Killed));
        }
    }

    fn effect(&self, step: &Step) {
        let mut truth = self.truth.lock().unwrap();
        // A driver finds what runs already, so performing twice starts nothing twice.
        let mut start = |name: String| *truth.children.entry(name).or_default() = 1;
        match step {
            Step::StartDatabase(_) => start("postgres".to_owned()),
            Step::StartEdge(_) => start("edge".to_owned()),
            Step::StartInstance(instance) => start(instance.id.to_string()),
            Step::StopDatabase(_) => drop(truth.children.remove("postgres")),
            Step::StopEdge(_) => drop(truth.children.remove("edge")),
            Step::StopInstance(instance) => {
                assert!(!truth.admitted.contains(&instance.id), "stopped in rotation");
                truth.children.remove(&instance.id.to_string());
            }
            Step::RunRelease(release) => *truth.released.entry(*release).or_default() += 1,
            Step::Admit(id) => {
                assert!(
                    truth.children.contains_key(&id.to_string()),
                    "admitted while not running"
                );
                truth.admitted.insert(id.clone());
            }
            Step::Drain(id) => drop(truth.admitted.remove(id)),
            Step::AddReplica(node) => start(node.id.to_string()),
            Step::RemoveReplica(node) => drop(truth.children.remove(&node.id.to_string())),
            Step::StartPgproxy(_) => start("pgproxy".to_owned()),
            Step::StopPgproxy(_) => drop(truth.children.remove("pgproxy")),
            Step::StartObserve(_) => start("observe".to_owned()),
            Step::StopObserve(_) => drop(truth.children.remove("observe")),
            Step::StartPlace { name, .. } => start(format!("edge-{name}")),
            Step::StopPlace { name, .. } => drop(truth.children.remove(&format!("edge-{name}"))),
            Step::StartRedis(redis) => start(format!("redis-{}", redis.purpose)),
            Step::StopRedis(redis) => drop(truth.children.remove(&format!("redis-{}", redis.purpose))),
            Step::ConfigureRedis { to: redis, .. } | Step::RestartRedis { to: redis, .. } => {
                assert!(truth.children.contains_key(&format!("redis-{}", redis.purpose)));
            }
            Step::SetRelease { .. }
            | Step::ConfigureProcess { .. }
            | Step::ConfigureLogs { .. }
            | Step::ConfigureEdge { .. }
            | Step::ConfigureDatabase { .. }
            | Step::RestartDatabase { .. }
            | Step::Switchover { .. }
            | Step::ConfigureObserve { .. }
            | Step::ConfigurePgproxy { .. } => {}
            Step::ReplacePgproxy { .. } => assert!(truth.children.contains_key("pgproxy")),
            Step::ReplaceEdge { .. } => assert!(truth.children.contains_key("edge")),
        }
    }
}

fn names(topology: &Topology) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = topology.instances.keys().map(ToString::to_string).collect();
    names.extend(topology.database.as_ref().map(|_| "postgres".to_owned()));
    let replicas = topology
        .database
        .iter()
        .flat_map(banyan_topology::Database::replicas);
    names.extend(replicas.map(|node| node.id.to_string()));
    let redis = topology.redis.keys();
    names.extend(redis.map(|purpose| format!("redis-{purpose}")));
    names.extend(topology.pgproxy.as_ref().map(|_| "pgproxy".to_owned()));
    names.extend(topology.observe.as_ref().map(|_| "observe".to_owned()));
    names.extend(topology.edge.as_ref().map(|_| "edge".to_owned()));
    names
}

impl Driver for World {
    fn tend(&self, _topology: &Topology) {}

    fn equip(&self, _loaded: &Loaded) -> Vec<String> {
        Vec::new()
    }

    async fn adopt(&self, expected: &Topology) -> Vec<String> {
        let names = names(expected);
        self.truth
            .lock()
            .unwrap()
            .children
            .retain(|name, _| names.contains(name));
        Vec::new()
    }

    async fn observe(&self, expected: &Topology) -> Topology {
        let truth = self.truth.lock().unwrap();
        let mut seen = expected.clone();
        seen.database = seen.database.filter(|_| truth.children.contains_key("postgres"));
        seen.redis
            .retain(|purpose, _| truth.children.contains_key(&format!("redis-{purpose}")));
        seen.edge = seen.edge.filter(|_| truth.children.contains_key("edge"));
        seen.instances
            .retain(|id, _| truth.children.contains_key(&id.to_string()));
        seen.rotation.retain(|id| seen.instances.contains_key(id));
        seen
    }

    async fn perform(&self, step: Move<'_>) -> Result<Option<String>, StepError> {
        self.operation();
        let words = step.step.to_string();
        if self
            .truth
            .lock()
            .unwrap()
            .failing
            .as_ref()
            .is_some_and(|failing| words.starts_with(failing.as_str()))
        {
            return Err(StepError("it was told to fail".to_owned()));
        }
        self.effect(step.step);
        // Others of its wave go on before its end is seen.
        tokio::task::yield_now().await;
        self.operation();
        Ok(None)
    }

    async fn settle(&self, topology: &Topology) -> Vec<String> {
        let names = names(topology);
        let mut truth = self.truth.lock().unwrap();
        truth.children.retain(|name, _| names.contains(name));
        truth.admitted = topology.rotation.clone();
        Vec::new()
    }

    async fn children(&self) -> Vec<ChildStatus> {
        Vec::new()
    }

    async fn trial(&self, _attempt: Attempt<'_>) -> Trial {
        unreachable!("no test tries an instance")
    }

    async fn kill_all(&self) {}
}

/// The real files, whose writer may be killed before, within and after each write.
struct Fragile {
    world: World,
    disk: Disk,
}

impl Durable for Fragile {
    fn append(&mut self, entry: &Entry) -> Result<(), DurableError> {
        self.world.operation();
        let whole = serde_json::to_vec(entry).unwrap();
        let torn = Torn {
            world: &self.world,
            half: &whole[..whole.len() / 2],
        };
        torn.write_if_killed_now();
        self.disk.append(entry)?;
        self.world.operation();
        Ok(())
    }

    fn save_topology(&mut self, topology: &Topology) -> Result<(), DurableError> {
        self.world.operation();
        self.disk.save_topology(topology)?;
        self.world.operation();
        Ok(())
    }

    fn save_intent(&mut self, intent: &Intent) -> Result<(), DurableError> {
        self.world.operation();
        self.disk.save_intent(intent)?;
        self.world.operation();
        Ok(())
    }
}

struct Torn<'a> {
    world: &'a World,
    half: &'a [u8],
}

impl Torn<'_> {
    fn write_if_killed_now(&self) {
        let due = {
            let truth = self.world.truth.lock().unwrap();
            truth.last == Some(truth.operations)
        };
        if due {
            let folder = self.world.state().journal();
            let newest = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .max()
                .unwrap();
            OpenOptions::new()
                .append(true)
                .open(newest)
                .unwrap()
                .write_all(self.half)
                .unwrap();
        }
        self.world.operation();
    }
}
