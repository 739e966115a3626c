//! Children of this installation as the supervisor starts them: from topology, release and equipment.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use banyan_config::{Database as Configured, DatabaseAddress, LiveProbe, ProcessSettings, ReadyProbe};
use banyan_supervisor::{ChildId, ChildSpec, Handle, LiveRule, Probe, RunAs, StopSignal};
use banyan_topology::model::Launch;
use banyan_topology::{Database, Edge, Instance, InstanceId, Release, ReleaseId, Topology};

use super::local::{chain, stop_signal};
use super::render::{Names, render};
use super::{Attempt, StepError};
use crate::controller::{ControllerConfig, Loaded};
use crate::paths::StateDir;
use crate::releases::Releases;

pub(super) const EDGE: &str = "edge";
pub(super) const POSTGRES: &str = "postgres";
pub(super) const TRIAL: &str = "trial";

pub(super) struct Specs {
    state: StateDir,
    /// This binary.
    program: PathBuf,
    base_env: BTreeMap<String, String>,
}

impl Specs {
    pub(super) fn new(config: &ControllerConfig) -> Self {
        Self {
            state: config.state.clone(),
            program: config.program.clone(),
            base_env: config.base_env.clone(),
        }
    }

    pub(super) fn log(&self, id: &str) -> PathBuf {
        self.state.logs().join(format!("{id}.log"))
    }

    pub(super) fn edge(&self, edge: &Edge) -> ChildSpec {
        let state = self.state.path().to_string_lossy().into_owned();
        let argv = ["role", "edge", "--state", &state].map(str::to_owned);
        let program = self.program.to_string_lossy().into_owned();
        ChildSpec {
            argv: std::iter::once(program).chain(argv).collect(),
            env: self.base_env.clone(),
            // Its own drain must be over before it is killed.
            stop_grace: edge.settings.timeouts.drain + Duration::from_secs(5),
            port: Some(edge.listen.port()),
            ..self.plain(EDGE)
        }
    }

    pub(super) fn instance(
        &self,
        instance: &Instance,
        topology: &Topology,
        loaded: &Loaded,
    ) -> Result<ChildSpec, StepError> {
        let id = &instance.id;
        let release = self.release(id.release)?;
        let process = topology.processes.get(&id.process);
        let process =
            process.ok_or_else(|| StepError(format!("process {} is not configured", id.process)))?;
        // At the first start instances come before the edge: then the configuration says who will get requests.
        let edge_process = topology.edge.as_ref().map(|edge| &edge.process);
        let to_be = loaded.config.edge.as_ref().map(|edge| &edge.process);
        let listens = edge_process.or(to_be) == Some(&id.process) || process.settings.ready.is_some();
        let started = Started {
            child: id.to_string(),
            names: Names::instance(id, instance.port),
            settings: &process.settings,
            listens,
        };
        self.launched(
            &release,
            release.commands.get(&id.process),
            started,
            topology,
            loaded,
        )
    }

    pub(super) fn trial(&self, attempt: Attempt<'_>, loaded: &Loaded) -> Result<ChildSpec, StepError> {
        let Attempt {
            topology,
            release,
            process,
            port,
        } = attempt;
        let id = InstanceId {
            process: process.name.clone(),
            slot: 0,
            release: release.id,
        };
        let started = Started {
            child: TRIAL.to_owned(),
            names: Names::instance(&id, port),
            settings: &process.settings,
            listens: true,
        };
        self.launched(
            release,
            release.commands.get(&process.name),
            started,
            topology,
            loaded,
        )
    }

    /// `None`: the release has no such command.
    pub(super) fn release_command(
        &self,
        release: ReleaseId,
        topology: &Topology,
        loaded: &Loaded,
    ) -> Result<Option<ChildSpec>, StepError> {
        let release = self.release(release)?;
        let Some(launch) = &release.release_command else {
            return Ok(None);
        };
        let settings = ProcessSettings {
            ready: None,
            live: None,
            start_grace: Duration::from_secs(60),
            stop_grace: Duration::from_secs(30),
        };
        let started = Started {
            child: "release".to_owned(),
            names: Names::release(release.id),
            settings: &settings,
            listens: false,
        };
        self.launched(&release, Some(launch), started, topology, loaded)
            .map(Some)
    }

    /// A survivor that no topology explains: enough to stop it.
    pub(super) fn stray(&self, id: &ChildId) -> ChildSpec {
        ChildSpec {
            stop: stop_signal(&id.0),
            ..self.plain(&id.0)
        }
    }

    pub(super) async fn database(
        &self,
        _supervisor: &Handle,
        _database: &Database,
    ) -> Result<ChildSpec, StepError> {
        Err(StepError("PostgreSQL is not managed yet".to_owned()))
    }

    pub(super) async fn prepare_database(&self, _database: &Database) -> Result<(), StepError> {
        Ok(())
    }

    fn release(&self, id: ReleaseId) -> Result<Release, StepError> {
        let release = Releases::new(self.state.releases()).get(id);
        release.map_err(|error| StepError(chain(&error)))
    }

    fn launched(
        &self,
        release: &Release,
        launch: Option<&Launch>,
        started: Started<'_>,
        topology: &Topology,
        loaded: &Loaded,
    ) -> Result<ChildSpec, StepError> {
        let Started {
            child,
            names,
            settings,
            listens,
        } = started;
        let what = || format!("{} has no command for {}", release.id, names.process);
        let launch = launch.ok_or_else(|| StepError(what()))?;
        let database = self.database_address(topology, loaded)?;
        let mut env = self.base_env.clone();
        env.extend(names.env(&loaded.config.name, &self.data()));
        let rendered = render(
            launch,
            env,
            &names,
            database.as_ref(),
            &loaded.secrets,
            &self.data(),
        );
        let mut rendered = rendered.map_err(|error| StepError(chain(&error)))?;
        let written = launch.argv.first().map_or("", |argument| argument.as_str());
        if let Some(copy) = Releases::new(self.state.releases()).program(release, written)
            && copy.exists()
        {
            rendered.argv[0] = copy.to_string_lossy().into_owned();
        }
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, names.port));
        Ok(ChildSpec {
            argv: rendered.argv,
            env: rendered.env,
            cwd: loaded.root.join(&release.dir),
            ready: ready(settings.ready.as_ref(), address, listens),
            live: settings.live.as_ref().map(|live| live_probe(live, address)),
            start_grace: settings.start_grace,
            stop_grace: settings.stop_grace,
            port: listens.then_some(names.port),
            ..self.plain(&child)
        })
    }

    fn database_address(
        &self,
        topology: &Topology,
        loaded: &Loaded,
    ) -> Result<Option<DatabaseAddress>, StepError> {
        match (&loaded.config.database, &topology.database) {
            (Some(Configured::External(external)), _) => {
                let secret = |placeholder: &banyan_config::Placeholder| match placeholder {
                    banyan_config::Placeholder::Secret(name) => {
                        Some(loaded.secrets.get(name)?.expose().to_owned())
                    }
                    _ => None,
                };
                let url = external
                    .url
                    .render(&secret)
                    .map_err(|error| StepError(chain(&error)))?;
                let address = DatabaseAddress::parse(&url);
                address
                    .map(Some)
                    .map_err(|error| StepError(format!("database.url: {error}")))
            }
            _ => Ok(None),
        }
    }

    /// Given to the app as `BANYAN_DATA_DIR`.
    fn data(&self) -> PathBuf {
        self.state.path().join("data").join("app")
    }

    fn plain(&self, id: &str) -> ChildSpec {
        ChildSpec {
            id: ChildId(id.to_owned()),
            argv: vec!["true".to_owned()],
            env: BTreeMap::new(),
            cwd: self.state.path().to_owned(),
            user: RunAs::Same,
            log: self.log(id),
            ready: Probe::Running {
                for_at_least: Duration::from_secs(1),
            },
            live: None,
            start_grace: Duration::from_secs(60),
            stop: StopSignal::Terminate,
            stop_grace: Duration::from_secs(30),
            port: None,
        }
    }
}

struct Started<'a> {
    child: String,
    names: Names,
    settings: &'a ProcessSettings,
    listens: bool,
}

fn ready(probe: Option<&ReadyProbe>, address: SocketAddr, listens: bool) -> Probe {
    match probe {
        Some(probe) => Probe::Http {
            address,
            path: probe.path.clone(),
            host: probe.host.clone(),
            status: probe.status,
            interval: probe.interval,
            timeout: probe.timeout,
            rise: probe.rise,
            fall: probe.fall,
        },
        None if listens => Probe::Tcp {
            address,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
        },
        None => Probe::Running {
            for_at_least: Duration::from_secs(1),
        },
    }
}

fn live_probe(live: &LiveProbe, address: SocketAddr) -> (Probe, LiveRule) {
    let probe = Probe::Http {
        address,
        path: live.path.clone(),
        host: live.host.clone(),
        status: 200,
        interval: live.interval,
        timeout: live.timeout,
        rise: 1,
        fall: live.failures,
    };
    let rule = LiveRule {
        failures: live.failures,
        interval: live.interval,
    };
    (probe, rule)
}
