//! Children of this installation as the supervisor starts them: from topology, release and equipment.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use banyan_config::{
    CountLimits, DatabaseAddress, ExternalRedis, Placeholder, Purpose, RedisAddress, Template,
};
use banyan_supervisor::engine::app::{self, AppContext};
use banyan_supervisor::engine::identity;
use banyan_supervisor::engine::postgres::{self, Server};
use banyan_supervisor::engine::redis::{self, RedisError};
use banyan_supervisor::{ChildId, ChildSpec, Probe, RunAs, StopSignal};
use banyan_tls::local::Local;
use banyan_topology::snapshot::pgproxy::PgAuth;
use banyan_topology::{
    Database, Edge, Instance, InstanceId, NodeId, Observe, Pgproxy, PlaceName, Redis, Release, ReleaseId,
    Topology,
};
use sha2::{Digest, Sha256};

use super::local::{chain, stop_signal};
use super::program::Programs;
use super::{Attempt, StepError};
use crate::controller::{ControllerConfig, Loaded};
use crate::external;
use crate::paths::StateDir;
use crate::programs::hex;
use crate::releases::Releases;

/// What people call it; also the name of its log. Its child is named by [`edge_child`].
pub(super) const EDGE: &str = "edge";
pub(super) const PGPROXY: &str = "pgproxy";
pub(super) const OBSERVE: &str = "observe";
pub(super) const TRIAL: &str = "trial";

/// Two edges run while one replaces the other: they are told apart by what they were started as.
pub(super) fn edge_child(edge: &Edge, place: Option<&PlaceName>) -> ChildId {
    let name = edge_name(place);
    if edge.program.is_empty() {
        return ChildId(name);
    }
    let started_as = format!("{} {:?}", edge.program, edge.settings.workers);
    let digest = hex(&Sha256::digest(started_as.as_bytes())[..4]);
    ChildId(format!("{name}@{digest}"))
}

/// What people call the edge there; also the name of its log.
pub(super) fn edge_name(place: Option<&PlaceName>) -> String {
    match place {
        None => EDGE.to_owned(),
        Some(place) => format!("{EDGE}-{place}"),
    }
}

/// Where the edge runs that is this child; `None`: it is none.
pub(super) fn edge_at(child: &ChildId) -> Option<Option<PlaceName>> {
    let name = child.0.split('@').next()?;
    if name == EDGE {
        return Some(None);
    }
    // Instances have a dot in their names, places have none.
    let place = name.strip_prefix(EDGE)?.strip_prefix('-')?;
    place.parse().ok().map(Some)
}

/// As [`edge_child`].
pub(super) fn pgproxy_child(pgproxy: &Pgproxy) -> ChildId {
    ChildId(match pgproxy.program.as_str() {
        "" => PGPROXY.to_owned(),
        program => format!("{PGPROXY}@{program}"),
    })
}

pub(super) fn is_pgproxy(child: &ChildId) -> bool {
    child.0.split('@').next() == Some(PGPROXY)
}

pub(super) fn is_edge(child: &ChildId) -> bool {
    edge_at(child).is_some()
}

pub(crate) struct Specs {
    state: StateDir,
    pub(super) programs: Programs,
    base_env: BTreeMap<String, String>,
}

impl Specs {
    pub(super) fn new(config: &ControllerConfig) -> Self {
        Self::at(
            config.state.clone(),
            config.program.clone(),
            config.base_env.clone(),
        )
    }

    pub(crate) fn at(state: StateDir, program: PathBuf, base_env: BTreeMap<String, String>) -> Self {
        Self {
            programs: Programs::new(program, state.programs()),
            state,
            base_env,
        }
    }

    pub(super) fn log(&self, id: &str) -> PathBuf {
        self.state.logs().join(format!("{id}.log"))
    }

    pub(super) fn limits_url(&self) -> PathBuf {
        self.state.limits_url()
    }

    /// The installation's own CA.
    pub(super) fn local_authority(&self) -> Local {
        Local::new(self.state.tls())
    }

    /// As it runs or ran; [`Programs::provide`] comes before a start.
    pub(super) fn edge(&self, edge: &Edge, place: Option<&PlaceName>) -> ChildSpec {
        let state = self.state.path().to_string_lossy().into_owned();
        let argv = ["role", "edge", "--state", &state].map(str::to_owned);
        let at = place.map(|place| ["--place".to_owned(), place.to_string()]);
        let argv = argv.into_iter().chain(at.into_iter().flatten());
        let port = edge.addresses_at(place).first().map(SocketAddr::port);
        let program = self.programs.path(&edge.program);
        let program = program.to_string_lossy().into_owned();
        ChildSpec {
            argv: std::iter::once(program).chain(argv).collect(),
            env: self.base_env.clone(),
            // Its own drain must be over before it is killed.
            stop_grace: edge.settings.timeouts.drain + Duration::from_secs(5),
            port,
            // That it serves is told by its report; this only tells a start from an exit at once.
            ready: Probe::Running {
                for_at_least: Duration::from_millis(100),
            },
            id: edge_child(edge, place),
            ..self.plain(&edge_name(place))
        }
    }

    pub(super) fn pgproxy(&self, pgproxy: &Pgproxy) -> ChildSpec {
        ChildSpec {
            id: pgproxy_child(pgproxy),
            // Its own drain must be over before it is killed.
            stop_grace: Duration::from_secs(40),
            ..self.role(PGPROXY, &pgproxy.program, pgproxy.listen.port())
        }
    }

    pub(super) fn observe(&self, observe: &Observe) -> ChildSpec {
        self.role(OBSERVE, "", observe.port)
    }

    /// One of those that tell by their report how they are; `program`: its digest, or empty for the newest.
    fn role(&self, name: &str, program: &str, port: u16) -> ChildSpec {
        let state = self.state.path().to_string_lossy().into_owned();
        let argv = ["role", name, "--state", &state].map(str::to_owned);
        let program = self.programs.path(program);
        let program = program.to_string_lossy().into_owned();
        ChildSpec {
            argv: std::iter::once(program).chain(argv).collect(),
            env: self.base_env.clone(),
            port: Some(port),
            ready: Probe::Running {
                for_at_least: Duration::from_millis(100),
            },
            ..self.plain(name)
        }
    }

    /// How the proxy gets to know passwords' verifiers.
    pub(super) fn pgproxy_auth(&self) -> PgAuth {
        PgAuth::Function {
            role: postgres::PGPROXY_ROLE.to_owned(),
            password_file: self
                .state
                .secrets()
                .join(format!("postgres-{}", postgres::PGPROXY_ROLE)),
        }
    }

    pub(super) fn instance(
        &self,
        instance: &Instance,
        topology: &Topology,
        loaded: &Loaded,
    ) -> Result<ChildSpec, StepError> {
        let id = &instance.id;
        let process = topology.processes.get(&id.process);
        let process =
            process.ok_or_else(|| StepError(format!("process {} is not configured", id.process)))?;
        // At the first start instances come before the edge: then the configuration says who will get requests.
        // A route's process starts before the edge serves it, so the configuration counts then, too.
        let serves = |edge: &Edge| edge.serves(&id.process);
        let to_be = |edge: &banyan_config::EdgeTable| {
            let mut routed = edge.routes.iter().flat_map(banyan_config::Route::processes);
            edge.process == id.process || routed.any(|process| *process == id.process)
        };
        let served = topology.edge.as_ref().is_some_and(serves)
            || loaded.config.edge.as_ref().is_some_and(to_be)
            || process.settings.ready.is_some();
        let release = self.release(id.release)?;
        self.within(&release, topology, loaded, |context| {
            app::instance(context, id, instance.port, process, served)
        })
    }

    /// What a launch of the release needs on the disk.
    pub(super) fn prepare(
        &self,
        release: ReleaseId,
        topology: &Topology,
        loaded: &Loaded,
    ) -> Result<(), StepError> {
        self.prepare_for(&self.release(release)?, topology, loaded)
    }

    pub(super) fn prepare_for(
        &self,
        release: &Release,
        topology: &Topology,
        loaded: &Loaded,
    ) -> Result<(), StepError> {
        self.within(release, topology, loaded, |context| {
            app::prepare_data(context.data, &context.run_as)?;
            app::write_files(context)
        })
    }

    /// `None`: the release has no such command.
    pub(super) fn release_command(
        &self,
        release: ReleaseId,
        topology: &Topology,
        loaded: &Loaded,
    ) -> Result<Option<ChildSpec>, StepError> {
        let release = self.release(release)?;
        self.within(&release, topology, loaded, app::release_command)
    }

    pub(super) fn trial(&self, attempt: Attempt<'_>, loaded: &Loaded) -> Result<ChildSpec, StepError> {
        let id = InstanceId {
            process: attempt.process.name.clone(),
            slot: 0,
            release: attempt.release.id,
        };
        let spec = self.within(attempt.release, attempt.topology, loaded, |context| {
            app::prepare_data(context.data, &context.run_as)?;
            app::write_files(context)?;
            app::instance(context, &id, attempt.port, attempt.process, true)
        })?;
        Ok(ChildSpec {
            id: ChildId(TRIAL.to_owned()),
            log: self.log(TRIAL),
            ..spec
        })
    }

    /// A survivor that no topology explains: enough to stop it.
    pub(super) fn stray(&self, id: &ChildId) -> ChildSpec {
        ChildSpec {
            stop: stop_signal(&id.0),
            ..self.plain(&id.0)
        }
    }

    pub(crate) fn server(&self, database: &Database, node: NodeId, app: &str) -> Result<Server, StepError> {
        let make = || {
            let run_as = postgres::run_as()?;
            let dir = database.nodes.get(&node).and_then(|node| node.dir.as_deref());
            let data = postgres::place(self.state.path(), app, &run_as, node, dir)?;
            let installed = postgres::installed(&[]);
            let installation = postgres::choose(&installed, Some(database.version), Some(database.version))?;
            Ok(Server {
                database: database.clone(),
                node,
                bin: installation.bin.clone(),
                data,
                secrets: self.state.secrets(),
                log: self.log(&postgres::child_id(node).0),
                run_as,
            })
        };
        make().map_err(|error: postgres::PostgresError| StepError(chain(&error)))
    }

    pub(crate) fn redis(&self, redis: &Redis, app: &str) -> Result<redis::Server, StepError> {
        let make = || {
            let run_as = redis::run_as();
            Ok(redis::Server {
                redis: redis.clone(),
                data: redis::place(self.state.path(), app, &run_as, redis.purpose)?,
                secrets: self.state.secrets(),
                log: self.log(&redis::child_id(redis.purpose).0),
                run_as,
            })
        };
        make().map_err(|error: RedisError| StepError(chain(&error)))
    }

    /// Whom the app's processes run as, and what people should know about that.
    pub(super) fn identity(&self, loaded: &Loaded) -> Option<String> {
        let folder = loaded.root.join(&loaded.config.app.dir);
        let facts = identity::app_facts(loaded.config.app.user.as_deref(), &folder).ok()?;
        identity::of_app(&facts).warning
    }

    fn release(&self, id: ReleaseId) -> Result<Release, StepError> {
        let release = Releases::new(self.state.releases()).get(id);
        release.map_err(|error| StepError(chain(&error)))
    }

    pub(super) fn within<T>(
        &self,
        release: &Release,
        topology: &Topology,
        loaded: &Loaded,
        work: impl FnOnce(&AppContext<'_>) -> Result<T, app::AppError>,
    ) -> Result<T, StepError> {
        let folder = loaded.root.join(&release.dir);
        let facts = identity::app_facts(release.user.as_deref(), &folder).map_err(|error| {
            let folder = folder.display();
            StepError(format!("failed to look at the app's folder {folder}: {error}"))
        })?;
        let direct = self.database_address(release, topology, loaded)?;
        let database = self.before_the_proxy(release, topology, direct.as_ref())?;
        let redis = self.redis_addresses(release, topology, loaded)?;
        let releases = Releases::new(self.state.releases());
        let context = AppContext {
            app: &topology.app,
            release,
            folder: &folder,
            data: &self.state.path().join("data").join("app"),
            logs: &self.state.logs(),
            run_as: identity::of_app(&facts).run_as,
            base: &self.base_env,
            secrets: &loaded.secrets,
            database: database.as_ref(),
            direct: direct.as_ref(),
            redis: &redis,
            program: &|path| releases.program(release, path).filter(|copy| copy.exists()),
        };
        work(&context).map_err(|error| StepError(chain(&error)))
    }

    /// What `DATABASE_URL` leads to.
    fn before_the_proxy(
        &self,
        release: &Release,
        topology: &Topology,
        direct: Option<&DatabaseAddress>,
    ) -> Result<Option<DatabaseAddress>, StepError> {
        if !release.proxied {
            return Ok(direct.cloned());
        }
        let pgproxy = topology.pgproxy.as_ref();
        let pgproxy =
            pgproxy.ok_or_else(|| StepError("the PostgreSQL proxy of the app does not run".to_owned()))?;
        let external = pgproxy.external.as_ref();
        let address = pgproxy.address_for(release.proxy_port);
        Ok(direct.map(|direct| DatabaseAddress {
            host: address.ip().to_string(),
            port: address.port(),
            options: external.and_then(|external| external.options.clone()),
            ..direct.clone()
        }))
    }

    /// Of PostgreSQL itself.
    fn database_address(
        &self,
        release: &Release,
        topology: &Topology,
        loaded: &Loaded,
    ) -> Result<Option<DatabaseAddress>, StepError> {
        if let Some(database) = &topology.database {
            let address = self
                .server(database, database.primary, topology.app.as_str())?
                .address();
            return address.map(Some).map_err(|error| StepError(chain(&error)));
        }
        let external = topology
            .pgproxy
            .as_ref()
            .and_then(|proxy| proxy.external.as_ref());
        if let Some(external) = external.filter(|_| release.proxied) {
            let address = external::direct(&self.state.secrets(), external);
            return address.map(Some).map_err(|error| StepError(chain(&error)));
        }
        let Some(url) = &release.database_url else {
            return Ok(None);
        };
        if url.placeholders().any(|placeholder| placeholder.is_database()) {
            return Err(StepError("the database of the app does not run".to_owned()));
        }
        let secret = |placeholder: &Placeholder| match placeholder {
            Placeholder::Secret(name) => Some(loaded.secrets.get(name)?.expose().to_owned()),
            _ => None,
        };
        let url = url.render(&secret).map_err(|error| StepError(chain(&error)))?;
        let address = DatabaseAddress::parse(&url);
        // Without the URL: it holds the password.
        address
            .map(Some)
            .map_err(|error| StepError(format!("database.url: {error}")))
    }

    /// Of those that the release uses.
    fn redis_addresses(
        &self,
        release: &Release,
        topology: &Topology,
        loaded: &Loaded,
    ) -> Result<BTreeMap<Purpose, RedisAddress>, StepError> {
        let address = |(purpose, url): (&Purpose, &Template)| {
            let address = match topology.redis.get(purpose) {
                Some(redis) => {
                    let address = self.redis(redis, topology.app.as_str())?.address();
                    address.map_err(|error| StepError(chain(&error)))?
                }
                None if url
                    .placeholders()
                    .any(|placeholder| placeholder.redis().is_some()) =>
                {
                    return Err(StepError(format!("the Redis of {purpose} does not run")));
                }
                None => {
                    let external = ExternalRedis { url: url.clone() };
                    // Without the URL: it holds the password.
                    let address = external.address(&loaded.secrets);
                    address.map_err(|error| StepError(format!("{purpose}.url: {}", chain(&error))))?
                }
            };
            Ok((*purpose, address))
        };
        release.redis.iter().map(address).collect()
    }

    /// Where edges count rate limits together; `None`: nowhere, or not yet. `loaded`: the configuration, for a Redis of the
    /// user's own.
    pub(super) fn limits_address(
        &self,
        topology: &Topology,
        loaded: impl FnOnce() -> Result<Arc<Loaded>, StepError>,
    ) -> Result<Option<RedisAddress>, StepError> {
        let together = |edge: &Edge| edge.settings.count_limits == CountLimits::Redis;
        if !topology.edge.as_ref().is_some_and(together) {
            return Ok(None);
        }
        if let Some(redis) = topology.redis.get(&Purpose::Sessions) {
            let server = self.redis(redis, topology.app.as_str())?;
            let address = server.address_for_edges();
            return address.map(Some).map_err(|error| StepError(chain(&error)));
        }
        let loaded = loaded()?;
        let Some(banyan_config::Redis::External(external)) = loaded.config.redis.get(&Purpose::Sessions)
        else {
            return Ok(None);
        };
        // Without the URL: it holds the password.
        let address = external.address(&loaded.secrets);
        address
            .map(Some)
            .map_err(|error| StepError(format!("sessions.url: {}", chain(&error))))
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
