//! An installation in a scratch folder whose children are names, with a controller that answers on a real socket.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use banyan_config::{FileError, Source, Sources};
use banyan_reconcile::controller::build_with;
use banyan_reconcile::driver::{Attempt, Driver, Move, StepError};
use banyan_reconcile::proto::{Change, ConfigPaths, Progress, ProgressState, Reply, Request, Trial};
use banyan_reconcile::{BuildError, ControllerConfig, Done, Ending, Handle, Loaded, StateDir};
use banyan_runtime::control::Connection;
use banyan_runtime::shutdown::{self, ShutdownTrigger};
use banyan_runtime::{TaskKind, Tasks, watched};
use banyan_supervisor::ChildStatus;
use banyan_topology::{Step, Topology};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) struct Installation {
    pub(crate) driver: Pretend,
    pub(crate) handle: Handle,
    pub(crate) trigger: ShutdownTrigger,
    service: JoinHandle<Option<Ending>>,
    folder: tempfile::TempDir,
}

impl Installation {
    /// A controller that was not told to bring anything up.
    pub(crate) fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("banyan.toml"), config).unwrap();
        let driver = Pretend::default();
        let (handle, trigger, service) = start(folder.path(), &driver);
        Self {
            driver,
            handle,
            trigger,
            service,
            folder,
        }
    }

    pub(crate) async fn up(config: &str) -> Self {
        let installation = Self::new(config);
        let done = installation.handle.bring_up(|_| {}).await;
        assert_eq!(done.error, None);
        installation
    }

    pub(crate) fn write(&self, config: &str) {
        std::fs::write(self.folder.path().join("banyan.toml"), config).unwrap();
    }

    pub(crate) fn paths(&self) -> ConfigPaths {
        paths(self.folder.path())
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::connect(&state(self.folder.path()).control_socket())
            .await
            .unwrap()
    }

    /// Over the socket; every reply.
    pub(crate) async fn ask(&self, request: Request) -> Vec<Reply> {
        let mut connection = self.connect().await;
        connection.send(&request).await.unwrap();
        let mut replies = Vec::new();
        while let Some(reply) = connection.receive().await.unwrap() {
            replies.push(reply);
        }
        replies
    }

    pub(crate) async fn apply(&self, change: Change) -> Done {
        let config = self.paths();
        let replies = self
            .ask(Request::Apply {
                config,
                change,
                config_hash: None,
            })
            .await;
        match replies.into_iter().last() {
            Some(Reply::Done {
                outcome,
                error,
                notes,
            }) => Done {
                outcome,
                error,
                notes,
            },
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn begin_apply(&self) -> Connection {
        let mut connection = self.connect().await;
        let (config, change) = (self.paths(), Change::Configuration);
        connection
            .send(&Request::Apply {
                config,
                change,
                config_hash: None,
            })
            .await
            .unwrap();
        connection
    }

    pub(crate) async fn down(&mut self) -> Ending {
        let done = self.handle.request(Request::Down, |_| {}).await;
        assert_eq!(done.error, None);
        self.ending().await
    }

    pub(crate) async fn ending(&mut self) -> Ending {
        (&mut self.service).await.unwrap().unwrap()
    }

    /// As by SIGKILL: nothing is said to anybody.
    pub(crate) async fn kill_controller(&mut self) {
        self.service.abort();
        assert!((&mut self.service).await.is_err());
    }

    pub(crate) fn restart(&mut self) {
        (self.handle, self.trigger, self.service) = start(self.folder.path(), &self.driver);
    }

    /// Another controller for the same folder.
    pub(crate) fn second(&self) -> Result<(), BuildError> {
        let tasks = Tasks::new(self.trigger.clone());
        build_with(config(self.folder.path()), self.driver.clone(), &tasks).map(drop)
    }

    pub(crate) fn port_of(&self, instance: &str) -> u16 {
        let topology: Topology = watched::read(&state(self.folder.path()).topology())
            .unwrap()
            .unwrap();
        topology.instances[&instance.parse().unwrap()].port
    }
}

fn start(folder: &Path, driver: &Pretend) -> (Handle, ShutdownTrigger, JoinHandle<Option<Ending>>) {
    let (trigger, shutdown) = shutdown::channel();
    let tasks = Tasks::new(trigger.clone());
    let (service, handle) = build_with(config(folder), driver.clone(), &tasks).unwrap();
    let service = tasks.spawn(TaskKind::Role, "controller", service.run(shutdown));
    (handle, trigger, service)
}

fn config(folder: &Path) -> ControllerConfig {
    ControllerConfig {
        state: state(folder),
        program: PathBuf::from("banyan"),
        config: paths(folder),
        load: Arc::new(load),
        base_env: Default::default(),
    }
}

fn state(folder: &Path) -> StateDir {
    StateDir::new(folder.join(".banyan"))
}

fn paths(folder: &Path) -> ConfigPaths {
    ConfigPaths {
        file: folder.join("banyan.toml"),
        overlay: None,
    }
}

fn load(paths: &ConfigPaths) -> Result<Loaded, Vec<String>> {
    let bytes = std::fs::read(&paths.file).unwrap();
    let hash = bytes.len().to_string();
    let sources = Sources {
        main: Source::new("banyan.toml", bytes),
        overlay: None,
        files: &|_| Err(FileError::Missing),
        certificates: &|_, _| Ok(Vec::new()),
    };
    let mut loaded = banyan_config::load(&sources).map_err(|errors| vec![errors.to_string()])?;
    if let Some(edge) = &mut loaded.config.edge {
        // No port of this machine matters: nothing listens.
        edge.listen.set_port(0);
    }
    Ok(Loaded {
        config: loaded.config,
        root: paths.file.parent().unwrap().to_owned(),
        secrets: loaded.secrets,
        hash,
        notes: Vec::new(),
    })
}

/// `3/5 done start web.2@r1`
pub(crate) fn words(progress: &Progress) -> String {
    let state = match progress.state {
        ProgressState::Begun => "begun",
        ProgressState::Done => "done",
        ProgressState::Skipped => "skipped",
        ProgressState::Failed => "failed",
        ProgressState::Reverting => "reverting",
        ProgressState::Waits => "waits",
    };
    format!("{}/{} {state} {}", progress.step, progress.of, progress.what)
}

/// Children are names; a step can be told to fail or to wait.
#[derive(Clone)]
pub(crate) struct Pretend {
    truth: Arc<Mutex<Truth>>,
    held: watch::Sender<Option<bool>>,
}

#[derive(Default)]
struct Truth {
    children: BTreeSet<String>,
    fail: Option<String>,
    hold: Option<String>,
}

impl Default for Pretend {
    fn default() -> Self {
        Self {
            truth: Arc::default(),
            held: watch::Sender::new(None),
        }
    }
}

impl Pretend {
    pub(crate) fn children(&self) -> BTreeSet<String> {
        self.truth.lock().unwrap().children.clone()
    }

    pub(crate) fn fail(&self, step: &str) {
        self.truth.lock().unwrap().fail = Some(step.to_owned());
    }

    /// The step waits until [`Pretend::release`].
    pub(crate) fn hold(&self, step: &str) {
        self.truth.lock().unwrap().hold = Some(step.to_owned());
    }

    /// Returns once the step waits.
    pub(crate) async fn held(&self) {
        self.held
            .subscribe()
            .wait_for(|held| *held == Some(true))
            .await
            .unwrap();
    }

    pub(crate) fn release(&self) {
        self.held.send_replace(Some(false));
    }
}

impl Driver for Pretend {
    fn tend(&self, _topology: &Topology) {}

    fn equip(&self, _loaded: &Loaded) -> Vec<String> {
        Vec::new()
    }

    async fn adopt(&self, _expected: &Topology) -> Vec<String> {
        Vec::new()
    }

    async fn observe(&self, expected: &Topology) -> Topology {
        let children = self.children();
        let mut seen = expected.clone();
        seen.edge = seen.edge.filter(|_| children.contains("edge"));
        seen.instances.retain(|id, _| children.contains(&id.to_string()));
        seen.rotation.retain(|id| seen.instances.contains_key(id));
        seen
    }

    async fn perform(&self, step: Move<'_>) -> Result<Option<String>, StepError> {
        let words = step.step.to_string();
        let told = |told: &Option<String>| {
            told.as_ref()
                .is_some_and(|start| words.starts_with(start.as_str()))
        };
        let (fails, waits) = {
            let truth = self.truth.lock().unwrap();
            (told(&truth.fail), told(&truth.hold))
        };
        if fails {
            return Err(StepError("it was told to fail".to_owned()));
        }
        if waits {
            self.held.send_replace(Some(true));
            self.held
                .subscribe()
                .wait_for(|held| *held == Some(false))
                .await
                .unwrap();
        }
        let mut truth = self.truth.lock().unwrap();
        match step.step {
            Step::StartEdge(_) => drop(truth.children.insert("edge".to_owned())),
            Step::StopEdge(_) => drop(truth.children.remove("edge")),
            Step::StartInstance(instance) => drop(truth.children.insert(instance.id.to_string())),
            Step::StopInstance(instance) => drop(truth.children.remove(&instance.id.to_string())),
            _ => {}
        }
        Ok(None)
    }

    async fn settle(&self, topology: &Topology) -> Vec<String> {
        let known = |name: &String| name == "edge" || topology.instances.contains_key(&name.parse().unwrap());
        self.truth.lock().unwrap().children.retain(known);
        Vec::new()
    }

    async fn children(&self) -> Vec<ChildStatus> {
        Vec::new()
    }

    async fn trial(&self, _attempt: Attempt<'_>) -> Trial {
        Trial {
            process: "web".to_owned(),
            findings: Vec::new(),
        }
    }

    async fn kill_all(&self) {
        self.truth.lock().unwrap().children.clear();
    }
}
