//! `banyan doctor`: facts about this machine, judged; each finding with the command that settles it.

mod judge;
mod proxy;
mod redis;

use std::path::PathBuf;

use banyan_config::{Config, Database, Purpose, Redis};
use banyan_reconcile::proto::{BackupState, Status};
use banyan_runtime::Clock;
use banyan_supervisor::CgroupUse;
use banyan_supervisor::engine::identity::{self, Identity};
use banyan_supervisor::engine::postgres;

use self::proxy::ProxyFact;
use self::redis::RedisFact;
use crate::client::Client;
use crate::exit::Exit;
use crate::machine::{self, Holder, System};
use crate::output::{Context, environment};
use crate::render::findings;
use crate::{loading, place::Place};

/// Everything that is judged.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) system: System,
    pub(crate) config: ConfigFact,
    pub(crate) installed_postgres: Vec<u32>,
    /// `None`: no managed database.
    pub(crate) wanted_postgres: Option<WantedPostgres>,
    /// `None`: none are configured.
    pub(crate) backups: Option<BackupFact>,
    pub(crate) ports: Vec<PortFact>,
    pub(crate) programs: Vec<ProgramFact>,
    /// `None`: the app goes through none, or nothing runs.
    pub(crate) pgproxy: Option<ProxyFact>,
    /// Of each table of banyan.toml that there is.
    pub(crate) redis: Vec<RedisFact>,
    /// `None`: no configuration, or no folder.
    pub(crate) identity: Option<Identity>,
    pub(crate) open_files: (Option<u64>, Option<u64>),
    pub(crate) cgroup: CgroupUse,
    pub(crate) disk: Option<(PathBuf, u64)>,
    pub(crate) memory: Option<u64>,
    pub(crate) now_ms: u64,
    /// The latest change of a file that Banyan or the person wrote.
    pub(crate) newest_file_ms: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) enum ConfigFact {
    Missing(String),
    Wrong(String),
    Good(String),
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WantedPostgres {
    pub(crate) configured: Option<u32>,
    /// Major version of the data directory that exists.
    pub(crate) of_data: Option<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct BackupFact {
    pub(crate) path: PathBuf,
    pub(crate) installed: bool,
    /// What the controller wrote down last.
    pub(crate) state: Option<BackupState>,
}

#[derive(Clone, Debug)]
pub(crate) struct PortFact {
    pub(crate) port: u16,
    /// "edge", "database"
    pub(crate) purpose: &'static str,
    pub(crate) key: &'static str,
    pub(crate) holder: Option<Holder>,
    /// The holder belongs to this installation.
    pub(crate) ours: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct ProgramFact {
    pub(crate) process: String,
    pub(crate) program: String,
    pub(crate) found: Option<PathBuf>,
}

pub(crate) fn run(context: &Context) -> anyhow::Result<Exit> {
    let status = super::simple_runtime()?.block_on(running(context));
    let findings = super::simple_runtime()?.block_on(async {
        let facts = gather(&context.place, status.as_ref()).await;
        judge::judge(&facts)
    });
    if context.json {
        context.print_json(&findings)?;
    } else {
        context.print(&findings::render(&findings, context.paint))?;
        context.say(&findings::summary(&findings));
    }
    let any = findings.iter().any(|finding| finding.level.is_finding());
    Ok(if any { Exit::Findings } else { Exit::Done })
}

/// `None`: nothing runs, or it does not say.
async fn running(context: &Context) -> Option<Status> {
    let client = Client::connect(context).await.ok().flatten()?;
    client.status(context).await.ok()
}

async fn gather(place: &Place, status: Option<&Status>) -> Facts {
    let file = place.config().display().to_string();
    let (fact, config) = match (place.config().exists(), loading::load(place)) {
        (false, _) => (ConfigFact::Missing(file), None),
        (true, Ok(loaded)) => (ConfigFact::Good(file), Some(loaded)),
        (true, Err(error)) => (ConfigFact::Wrong(format!("{error:#}")), None),
    };
    let redis = match &config {
        Some(loaded) => redis::facts(&loaded.config, &loaded.secrets, status).await,
        None => Vec::new(),
    };
    let config = config.map(|loaded| loaded.config);
    let state = place.state().ok().map(|state| state.path().to_owned());
    let data = state
        .as_ref()
        .map(|state| state.join("data").join("postgres").join("PG_VERSION"));
    let of_data = data.and_then(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok());
    let managed = |config: &Config| match &config.database {
        Some(Database::Managed(managed)) => Some(WantedPostgres {
            configured: managed.postgres,
            of_data,
        }),
        _ => None,
    };
    let state_text = state
        .as_ref()
        .map(|state| state.display().to_string())
        .unwrap_or_default();
    Facts {
        system: machine::system(),
        installed_postgres: installed_postgres(),
        identity: config.as_ref().and_then(|config| identity(config, place)),
        wanted_postgres: config.as_ref().map_or(Some(WantedPostgres::default()), managed),
        backups: config.as_ref().and_then(|config| backups(config, place)),
        ports: config
            .as_ref()
            .map(|config| ports(config, &state_text))
            .unwrap_or_default(),
        programs: config
            .as_ref()
            .map(|config| programs(config, place))
            .unwrap_or_default(),
        pgproxy: config.as_ref().and_then(|config| proxy::fact(config, status?)),
        redis,
        open_files: machine::open_files(),
        cgroup: banyan_supervisor::cgroup_use(),
        disk: state.and_then(|state| Some((state.clone(), machine::free_disk(&state)?))),
        memory: machine::memory(),
        now_ms: Clock.unix_ms(),
        newest_file_ms: machine::modified_ms(place.config()),
        config: fact,
    }
}

/// Major versions, ascending.
fn installed_postgres() -> Vec<u32> {
    let path = environment("PATH").unwrap_or_default();
    let search: Vec<PathBuf> = path.split(':').map(PathBuf::from).collect();
    let mut majors: Vec<u32> = postgres::installed(&search)
        .iter()
        .map(|found| found.major)
        .collect();
    majors.sort_unstable();
    majors
}

fn backups(config: &Config, place: &Place) -> Option<BackupFact> {
    let Some(Database::Managed(managed)) = &config.database else {
        return None;
    };
    let state = place.state().ok()?;
    Some(BackupFact {
        path: managed.backup.as_ref()?.path.clone(),
        installed: postgres::backup::program::is_installed(),
        state: banyan_runtime::watched::read(&state.backup()).ok().flatten(),
    })
}

fn identity(config: &Config, place: &Place) -> Option<Identity> {
    let folder = place.folder().join(&config.app.dir);
    let facts = identity::app_facts(config.app.user.as_deref(), &folder).ok()?;
    Some(identity::of_app(&facts))
}

fn ports(config: &Config, state: &str) -> Vec<PortFact> {
    let edge = config
        .edge
        .as_ref()
        .map(|edge| (edge.listen.port(), "edge", "edge.port"));
    let places = config.edge.iter().flat_map(|edge| edge.places.values());
    let places = places.map(|place| (place.listen.port(), "edge", "edge.place"));
    let managed = match &config.database {
        Some(Database::Managed(managed)) => Some(managed),
        _ => None,
    };
    let database = managed.and_then(|managed| managed.port);
    let database = database.map(|port| (port, "database", "database.port"));
    let pgproxy = managed.and_then(|managed| managed.pgproxy.port);
    let pgproxy = pgproxy.map(|port| (port, "pgproxy", "database.pgproxy.port"));
    let fact = |(port, purpose, key)| {
        let holder = machine::port_holder(port);
        let ours = holder
            .as_ref()
            .is_some_and(|holder| holder.argv.iter().any(|arg| arg.contains(state)));
        PortFact {
            port,
            purpose,
            key,
            holder,
            ours,
        }
    };
    let redis = config
        .redis
        .iter()
        .filter_map(|(purpose, redis)| match (purpose, redis) {
            (Purpose::Sessions, Redis::Managed(table)) => {
                Some((table.port?, "redis of sessions", "sessions.port"))
            }
            (Purpose::Cache, Redis::Managed(table)) => Some((table.port?, "redis of cache", "cache.port")),
            (_, Redis::External(_)) => None,
        });
    let servers = database.into_iter().chain(pgproxy).chain(redis);
    let all = edge.into_iter().chain(places).chain(servers);
    all.map(fact).collect()
}

fn programs(config: &Config, place: &Place) -> Vec<ProgramFact> {
    let folder = place.folder().join(&config.app.dir);
    let path = environment("PATH").unwrap_or_default();
    let release = config
        .app
        .release
        .as_ref()
        .map(|argv| ("release".to_owned(), argv));
    let processes = config
        .processes
        .iter()
        .map(|(name, table)| (name.to_string(), &table.argv));
    processes
        .chain(release)
        .filter_map(|(process, argv)| {
            let program = argv.first()?.as_str().to_owned();
            let found = machine::find_program(&program, &folder, &path);
            Some(ProgramFact {
                process,
                program,
                found,
            })
        })
        .filter(|fact| !fact.program.contains("{{"))
        .collect()
}
