//! The managed PostgreSQL and its proxy: version, servers and memory, and what may not change while it runs.

mod external;
mod servers;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use banyan_config::{AppName, Database as Configured, Durability, ManagedDatabase, PgproxyTable, Reads};

use crate::facts::Facts;
use crate::model::{Database, Pgproxy, Topology};
use crate::resolve::ResolveError;
use crate::resolve::instances::uses;

/// What Debian 12 has: the version to name when there is nothing to choose from.
const DEBIAN_VERSION: u32 = 15;

/// What is known beside the configuration.
pub(super) struct Known<'a> {
    pub(super) app: &'a AppName,
    pub(super) facts: &'a Facts,
    pub(super) current: &'a Topology,
    /// The release that is to run connects to the proxy.
    pub(super) proxied: bool,
    /// The release that is to run is the one that runs.
    pub(super) keeps_instances: bool,
}

impl Known<'_> {
    /// What connects now does so through the proxy, so servers can change behind it.
    fn gentle(&self) -> bool {
        let release = self.current.release.and_then(|id| self.facts.releases.get(&id));
        let served = release.is_none_or(|release| release.proxied) || self.current.instances.is_empty();
        self.current.pgproxy.is_some() && served
    }
}

pub(super) fn resolve(
    configured: Option<&Configured>,
    known: &Known<'_>,
    errors: &mut Vec<ResolveError>,
    notes: &mut Vec<String>,
) -> (Option<Database>, Option<Pgproxy>) {
    match configured {
        Some(Configured::Managed(table)) => managed(table, known, errors, notes).unwrap_or_default(),
        Some(Configured::External(table)) => external::resolve(table, known, errors, notes),
        None => {
            if let Some(running) = &known.current.database {
                let version = running.version;
                notes.push(format!(
                    "PostgreSQL {version} is no longer configured: it stops, its data stays"
                ));
            }
            (None, None)
        }
    }
}

/// `None`: errors say why.
fn managed(
    table: &ManagedDatabase,
    known: &Known<'_>,
    errors: &mut Vec<ResolveError>,
    notes: &mut Vec<String>,
) -> Option<(Option<Database>, Option<Pgproxy>)> {
    let Known {
        app, facts, current, ..
    } = known;
    let ManagedDatabase {
        postgres,
        port,
        dir,
        memory_bytes,
        max_connections,
        name,
        replicas,
        durability,
        reads,
        pgproxy,
        backup,
        settings,
    } = table;
    let running = current.database.as_ref();
    if external::is_elsewhere(known) {
        errors.push(ResolveError::FromExternal);
        return None;
    }
    let version = version(*postgres, facts, errors);
    let mut ports = Ports::new(facts, current, [*port, pgproxy.port]);
    errors.extend(facts.dir_problem.clone().map(ResolveError::Dir));
    let to_be = servers::ToBe {
        port: *port,
        dir: dir.clone(),
        replicas: *replicas,
        direct: pgproxy.direct,
    };
    let servers = match servers::choose(&to_be, known, &mut ports, notes) {
        Ok(servers) => servers,
        Err(error) => {
            errors.push(error);
            return None;
        }
    };
    // A machine's memory as seen differs a little from boot to boot: what runs keeps what it was tuned for.
    let kept_memory = running.map(|database| database.memory_bytes);
    let memory_bytes = memory_bytes.or(kept_memory).unwrap_or(facts.memory_bytes / 4);
    let name = name_of(name.as_deref(), app);
    let user = name.clone();
    let wanted = Database {
        version: version?,
        nodes: servers.nodes,
        primary: servers.primary,
        durability: *durability,
        memory_bytes,
        max_connections: *max_connections,
        name,
        user,
        backup: backup.as_deref().cloned(),
        settings: settings.clone(),
    };
    if let (Some(_), Some(problem)) = (&wanted.backup, &facts.backup.problem) {
        errors.push(ResolveError::Backup(problem.clone()));
    }
    if let Some(running) = running {
        refuse_changes(running, &wanted, known.gentle(), errors);
        note_moves(running, &wanted, current, notes);
    }
    if wanted.backup.is_some()
        && facts.backup.same_disk
        && running.is_none_or(|running| running.backup.is_none())
    {
        notes.push(
            "backups lie on the database's own disk: they help after a mistake, not after the loss of that disk \
             (database.backup.path)"
                .to_owned(),
        );
    }
    if wanted.durability == Durability::Async
        && wanted.replicas().next().is_some()
        && running.is_none_or(Database::is_alone)
    {
        notes.push(
            "durability is \"async\": if the primary is lost, the last writes that it acknowledged may be lost with it"
                .to_owned(),
        );
    }
    let pgproxy = match proxy(pgproxy, *reads, known, &mut ports) {
        Ok(pgproxy) => pgproxy,
        Err(error) => {
            errors.push(error);
            None
        }
    };
    Some((Some(wanted), pgproxy))
}

fn name_of(configured: Option<&str>, app: &AppName) -> String {
    configured.map_or_else(|| app.as_str().replace('-', "_"), str::to_owned)
}

/// Of the app's database and role.
pub fn database_name(table: &ManagedDatabase, app: &AppName) -> String {
    name_of(table.name.as_deref(), app)
}

fn proxy(
    table: &PgproxyTable,
    reads: Reads,
    known: &Known<'_>,
    ports: &mut Ports,
) -> Result<Option<Pgproxy>, ResolveError> {
    let PgproxyTable {
        direct,
        port,
        pool,
        hold,
        measure,
        admins,
    } = table;
    let running = known.current.pgproxy.as_ref();
    // A release of before keeps it while it is the one that serves.
    if *direct && !known.proxied {
        return Ok(None);
    }
    let runs_at = running.map(|pgproxy| pgproxy.listen.port());
    let port = port
        .or(runs_at)
        .or_else(|| ports.take(known.facts.remembered.pgproxy_port));
    let port = port.ok_or(ResolveError::NoPorts { needed: 1, wanted: 1 })?;
    let listen = (Ipv4Addr::LOCALHOST, port).into();
    // Instances that stay connect where they always did.
    let kept = running.filter(|_| known.keeps_instances);
    Ok(Some(Pgproxy {
        listen,
        before: kept
            .map(|running| running.beside(listen).before)
            .unwrap_or_default(),
        pool: pool.clone(),
        hold: hold.clone(),
        reads,
        measure: measure.clone(),
        admins: admins.clone(),
        external: None,
        program: program(known),
    }))
}

/// What a proxy is started from now; what runs stays if that cannot be read, or if it is of before proxies could be replaced.
fn program(known: &Known<'_>) -> String {
    let running = known
        .current
        .pgproxy
        .as_ref()
        .map(|pgproxy| pgproxy.program.clone());
    let now = known.facts.edge_program.as_deref();
    let short = now.map(|digest| digest.get(..16).unwrap_or(digest).to_owned());
    match running {
        Some(running) if running.is_empty() => running,
        running => short.or(running).unwrap_or_default(),
    }
}

/// Ports to give: free, and of nobody who runs or will come back.
pub(super) struct Ports {
    free: Vec<u16>,
    taken: Vec<u16>,
    /// The proxy's of before: what instances of before connect to.
    kept: Option<u16>,
}

impl Ports {
    pub(super) fn new(
        facts: &Facts,
        current: &Topology,
        configured: impl IntoIterator<Item = Option<u16>>,
    ) -> Self {
        let instances = &facts.remembered.instance_ports;
        let usable = |port: &u16| !instances.values().any(|taken| taken == port) && !uses(current, *port);
        Self {
            free: facts.free_ports.iter().copied().filter(usable).collect(),
            taken: configured.into_iter().flatten().collect(),
            kept: facts.remembered.pgproxy_port,
        }
    }

    /// `again`, if it can be had, else another one.
    pub(super) fn take(&mut self, again: Option<u16>) -> Option<u16> {
        let usable = |port: &u16| self.free.contains(port) && !self.taken.contains(port);
        let found = again.filter(usable).or_else(|| {
            let mut unused = self.free.iter().copied().filter(|port| Some(*port) != self.kept);
            unused.find(usable)
        })?;
        self.taken.push(found);
        Some(found)
    }
}

/// As configured, else that of the data, else the newest installed; it must be installed and fit the data.
fn version(configured: Option<u32>, facts: &Facts, errors: &mut Vec<ResolveError>) -> Option<u32> {
    if let (Some(wanted), Some(data)) = (configured, facts.data_version)
        && wanted != data
    {
        errors.push(ResolveError::OtherDataVersion { wanted, data });
        return None;
    }
    let newest = facts.postgres_installed.last().copied();
    let version = facts
        .data_version
        .or(configured)
        .or(newest)
        .unwrap_or(DEBIAN_VERSION);
    if facts.postgres_installed.contains(&version) {
        return Some(version);
    }
    errors.push(ResolveError::PostgresMissing {
        version,
        installed: facts.postgres_installed.iter().copied().collect(),
        may_choose: facts.data_version.is_none(),
    });
    None
}

/// `gentle`: statements can wait in the proxy while servers start anew or change places.
fn refuse_changes(running: &Database, wanted: &Database, gentle: bool, errors: &mut Vec<ResolveError>) {
    let Database {
        version,
        nodes: _,
        primary: _,
        durability: _,
        memory_bytes,
        max_connections,
        name,
        user: _,
        backup: _,
        settings,
    } = running;
    let mut differ = |key, from: String, to: String| {
        if from != to {
            errors.push(ResolveError::DatabaseChange { key, from, to });
        }
    };
    differ(
        "database.postgres",
        version.to_string(),
        wanted.version.to_string(),
    );
    differ("database.name", name.clone(), wanted.name.clone());
    if gentle {
        return;
    }
    let bytes = banyan_config::units::format_bytes;
    differ(
        "database.port",
        running.port().to_string(),
        wanted.port().to_string(),
    );
    let shown = |side: &Database| {
        let dir = side.dir().map(|dir| dir.display().to_string());
        dir.unwrap_or_else(|| "the state folder".to_owned())
    };
    differ("database.dir", shown(running), shown(wanted));
    differ(
        "database.memory",
        bytes(*memory_bytes),
        bytes(wanted.memory_bytes),
    );
    differ(
        "database.max_connections",
        max_connections.to_string(),
        wanted.max_connections.to_string(),
    );
    let text = |settings: &BTreeMap<String, String>| {
        let lines: Vec<String> = settings
            .iter()
            .map(|(key, value)| format!("{key} = {value}"))
            .collect();
        if lines.is_empty() {
            "none".to_owned()
        } else {
            lines.join(", ")
        }
    };
    let same_elsewhere = Database {
        settings: settings.clone(),
        ..wanted.clone()
    };
    if same_elsewhere.restarts_for(wanted) {
        differ("database.settings", text(settings), text(&wanted.settings));
    }
}

/// What the user should know of it beforehand.
pub(super) fn note_moves(running: &Database, wanted: &Database, current: &Topology, notes: &mut Vec<String>) {
    let moves = running.primary != wanted.primary;
    let restarts = running.restarts_for(&running.with_settings_of(wanted));
    let Some(pgproxy) = current.pgproxy.as_ref().filter(|_| moves || restarts) else {
        return;
    };
    let grace = banyan_config::units::format_duration(pgproxy.hold.grace);
    let why = if moves {
        "the primary changes"
    } else {
        "PostgreSQL restarts"
    };
    notes.push(format!(
        "statements wait while {why}; transactions that are still open after {grace} (database.pgproxy.grace) make the \
         step fail, and nothing changes"
    ));
    if moves {
        notes.push("sessions on DATABASE_DIRECT_URL end with the old primary".to_owned());
    }
}
