//! The app: a release and an instance rendered into a child.
//!
//! The environment is built from empty; secrets go there and into files of the app's user only, never into arguments.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_config::{
    DatabaseAddress, DatabaseUrlError, Placeholder, Protocol, Purpose, RedisAddress, RenderError, Secrets,
    Template,
};
use banyan_topology::model::Launch;
use banyan_topology::{AppName, InstanceId, Process, ProcessName, Release};

use super::files::{Owner, write_private};
use crate::account;
use crate::child::{ChildId, ChildSpec, LiveRule, Probe, RunAs, StopSignal};

/// What is the same for every child of a release.
pub struct AppContext<'a> {
    pub app: &'a AppName,
    pub release: &'a Release,
    /// The app's folder, absolute.
    pub folder: &'a Path,
    /// Survives deploys; given to the app as `BANYAN_DATA_DIR`.
    pub data: &'a Path,
    pub logs: &'a Path,
    pub run_as: RunAs,
    /// `PATH`, `LANG`, `TZ` as the controller has them, and nothing else of its environment.
    pub base: &'a BTreeMap<String, String>,
    pub secrets: &'a Secrets,
    /// The managed server's; `None`: there is none, or it is the user's own (then the release holds its URL).
    pub database: Option<&'a DatabaseAddress>,
    /// PostgreSQL itself, past the proxy; the same as `database` where there is none.
    pub direct: Option<&'a DatabaseAddress>,
    /// Of those that the release uses, managed or not.
    pub redis: &'a BTreeMap<Purpose, RedisAddress>,
    /// Where the release's copy of a program lies, by the path that commands name it with.
    pub program: &'a dyn Fn(&str) -> Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("release {release} has no process `{process}`")]
    NoProcess { release: u32, process: String },
    #[error("failed to render the {what} of {of}")]
    Render {
        what: String,
        of: String,
        #[source]
        source: RenderError,
    },
    #[error("the `url` in [database] cannot be used")]
    DatabaseUrl(#[source] DatabaseUrlError),
    #[error("failed to write {path}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Without settings of its own: ready when it accepts connections (edge process), or still runs after a second.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
const DEFAULT_RUNNING: Duration = Duration::from_secs(1);

/// One instance. `served`: the edge sends it requests, so it must listen on its port.
pub fn instance(
    context: &AppContext<'_>,
    id: &InstanceId,
    port: u16,
    process: &Process,
    served: bool,
) -> Result<ChildSpec, AppError> {
    let launch = launch_of(context, &id.process)?;
    let name = format!("{}.{}", id.process, id.slot);
    let own = Own {
        instance: Some(name),
        port: Some(port),
        ..Own::new(context, id.process.as_str())?
    };
    let (argv, env) = render(context, launch, &own)?;
    let settings = &process.settings;
    Ok(ChildSpec {
        id: ChildId(id.to_string()),
        argv,
        env,
        cwd: context.folder.to_owned(),
        user: context.run_as.clone(),
        log: context.logs.join(format!("{id}.log")),
        ready: ready_probe(process, launch.protocol, port, served),
        live: settings.live.as_ref().map(|live| {
            let probe = Probe::Http {
                address: address(port),
                greeting: greeting(process),
                protocol: launch.protocol,
                path: live.path.clone(),
                host: live.host.clone(),
                service: None,
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
        }),
        start_grace: settings.start_grace,
        stop: StopSignal::Terminate,
        stop_grace: settings.stop_grace,
        port: served.then_some(port),
    })
}

/// The release command; `None`: the release has none.
pub fn release_command(context: &AppContext<'_>) -> Result<Option<ChildSpec>, AppError> {
    let Some(launch) = &context.release.release_command else {
        return Ok(None);
    };
    let own = Own::new(context, "release")?;
    let (argv, env) = render(context, launch, &own)?;
    let id = format!("release@{}", context.release.id);
    Ok(Some(command(context, id, argv, env)))
}

/// A command that a person runs beside the instances of a process, with all that those get; `argv` as it was typed.
/// Its instance is `web.0`, a slot that no instance has.
pub fn one_off(
    context: &AppContext<'_>,
    process: &ProcessName,
    port: u16,
    argv: Vec<String>,
) -> Result<ChildSpec, AppError> {
    let launch = launch_of(context, process)?;
    let own = Own {
        instance: Some(format!("{process}.0")),
        port: Some(port),
        ..Own::new(context, process.as_str())?
    };
    let env = environment(context, launch, &own)?;
    Ok(command(context, "run".to_owned(), argv, env))
}

/// Something that runs to its end.
fn command(
    context: &AppContext<'_>,
    id: String,
    argv: Vec<String>,
    env: BTreeMap<String, String>,
) -> ChildSpec {
    ChildSpec {
        log: context.logs.join(format!("{id}.log")),
        id: ChildId(id),
        argv,
        env,
        cwd: context.folder.to_owned(),
        user: context.run_as.clone(),
        ready: Probe::Running {
            for_at_least: Duration::ZERO,
        },
        live: None,
        start_grace: Duration::ZERO,
        stop: StopSignal::Terminate,
        stop_grace: Duration::from_secs(10),
        port: None,
    }
}

fn launch_of<'a>(context: &AppContext<'a>, process: &ProcessName) -> Result<&'a Launch, AppError> {
    let launch = context.release.commands.get(process);
    launch.ok_or_else(|| AppError::NoProcess {
        release: context.release.id.0,
        process: process.to_string(),
    })
}

/// Writes the release's files from their templates, readable by the app's user only.
pub fn write_files(context: &AppContext<'_>) -> Result<(), AppError> {
    let own = Own::new(context, "")?;
    for file in &context.release.files {
        let value = |placeholder: &Placeholder| value(context, &own, placeholder);
        let text = file.text.render(&value).map_err(|source| AppError::Render {
            what: format!("file {}", file.to.display()),
            of: context.app.to_string(),
            source,
        })?;
        let path = context.folder.join(&file.to);
        write_private(&path, text.as_bytes(), &Owner::of(&context.run_as))
            .map_err(|source| AppError::File { path, source })?;
    }
    Ok(())
}

/// Makes the folder that survives deploys, owned by the app's user.
pub fn prepare_data(data: &Path, run_as: &RunAs) -> Result<(), AppError> {
    let make = || {
        fs::create_dir_all(data)?;
        Owner::of(run_as).take(data)
    };
    make().map_err(|source| AppError::File {
        path: data.to_owned(),
        source,
    })
}

/// What differs between the children of a release.
struct Own {
    process: String,
    instance: Option<String>,
    port: Option<u16>,
    database: Option<DatabaseAddress>,
}

impl Own {
    fn new(context: &AppContext<'_>, process: &str) -> Result<Self, AppError> {
        let mut own = Self {
            process: process.to_owned(),
            instance: None,
            port: None,
            database: context.database.cloned(),
        };
        if let (None, Some(_)) = (context.database, &context.release.database_url) {
            let url = database_url(context, &own)?.unwrap_or_default();
            own.database = Some(DatabaseAddress::parse(&url).map_err(AppError::DatabaseUrl)?);
        }
        Ok(own)
    }

    fn failed(&self, what: String) -> impl FnOnce(RenderError) -> AppError {
        let of = self.instance.clone().unwrap_or_else(|| self.process.clone());
        move |source| AppError::Render { what, of, source }
    }
}

fn database_url(context: &AppContext<'_>, own: &Own) -> Result<Option<String>, AppError> {
    let value = |placeholder: &Placeholder| value(context, own, placeholder);
    let template = context.release.database_url.as_ref();
    let rendered = template.map(|template| template.render(&value)).transpose();
    rendered.map_err(|source| AppError::Render {
        what: "database url".to_owned(),
        of: own.process.clone(),
        source,
    })
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn ready_probe(process: &Process, protocol: Protocol, port: u16, served: bool) -> Probe {
    match (&process.settings.ready, served) {
        (Some(ready), _) => Probe::Http {
            address: address(port),
            greeting: greeting(process),
            protocol,
            path: ready.path.clone(),
            host: ready.host.clone(),
            service: ready.service.clone(),
            status: ready.status,
            interval: ready.interval,
            timeout: ready.timeout,
            rise: ready.rise,
            fall: ready.fall,
        },
        (None, true) => Probe::Tcp {
            address: address(port),
            interval: DEFAULT_INTERVAL,
            timeout: DEFAULT_TIMEOUT,
        },
        (None, false) => Probe::Running {
            for_at_least: DEFAULT_RUNNING,
        },
    }
}

fn greeting(process: &Process) -> &'static [u8] {
    process
        .settings
        .proxy_protocol
        .map_or(&[], |version| version.own())
}

type Rendered = (Vec<String>, BTreeMap<String, String>);

fn render(context: &AppContext<'_>, launch: &Launch, own: &Own) -> Result<Rendered, AppError> {
    let env = environment(context, launch, own)?;
    let value = |placeholder: &Placeholder| value(context, own, placeholder);
    let variable = |name: &str| env.get(name).cloned();
    let render = |template: &Template| template.render_argument(&value, &variable);
    let argv: Result<Vec<String>, RenderError> = launch.argv.iter().map(render).collect();
    let mut argv = argv.map_err(own.failed("command".to_owned()))?;
    if let Some(first) = argv.first_mut()
        && let Some(copy) = (context.program)(first)
    {
        *first = copy.to_string_lossy().into_owned();
    }
    Ok((argv, env))
}

fn environment(
    context: &AppContext<'_>,
    launch: &Launch,
    own: &Own,
) -> Result<BTreeMap<String, String>, AppError> {
    let value = |placeholder: &Placeholder| value(context, own, placeholder);
    let url = database_url(context, own)?.or_else(|| own.database.as_ref().map(DatabaseAddress::url));
    let mut env = own_environment(context, own, url);
    for (name, template) in &launch.env {
        let text = template
            .render(&value)
            .map_err(own.failed(format!("environment variable {name}")))?;
        env.insert(name.clone(), text);
    }
    Ok(env)
}

/// What every child is told, before the user's own variables.
fn own_environment(context: &AppContext<'_>, own: &Own, url: Option<String>) -> BTreeMap<String, String> {
    let home = match &context.run_as {
        RunAs::User(user) => account::find(user).map(|account| account.home),
        RunAs::Same => account::find_by_uid(rustix::process::geteuid().as_raw()).map(|account| account.home),
    };
    // A user without a home (nobody) gets the app's folder: many tools fail on a HOME that does not exist.
    let home = home
        .filter(|home| home.is_dir())
        .unwrap_or_else(|| context.folder.to_owned());
    let mut env = context.base.clone();
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("HOME", home.to_string_lossy().into_owned());
    set("HOST", Ipv4Addr::LOCALHOST.to_string());
    set("BANYAN_APP", context.app.to_string());
    set("BANYAN_PROCESS", own.process.clone());
    set("BANYAN_RELEASE", context.release.id.0.to_string());
    set("BANYAN_DATA_DIR", context.data.to_string_lossy().into_owned());
    if let Some(port) = own.port {
        set("PORT", port.to_string());
    }
    if let Some(instance) = &own.instance {
        set("BANYAN_INSTANCE", instance.clone());
    }
    if let Some(url) = url {
        set("DATABASE_URL", url);
    }
    env
}

fn value(context: &AppContext<'_>, own: &Own, placeholder: &Placeholder) -> Option<String> {
    match placeholder {
        Placeholder::Host => Some(Ipv4Addr::LOCALHOST.to_string()),
        Placeholder::Port => own.port.map(|port| port.to_string()),
        Placeholder::Process => Some(own.process.clone()).filter(|process| !process.is_empty()),
        Placeholder::Instance => own.instance.clone(),
        Placeholder::Release => Some(context.release.id.0.to_string()),
        Placeholder::Data => Some(context.data.to_string_lossy().into_owned()),
        Placeholder::Secret(name) => context.secrets.get(name).map(|secret| secret.expose().to_owned()),
        Placeholder::DatabaseDirectUrl if context.direct.is_some() => {
            context.direct.map(DatabaseAddress::url)
        }
        Placeholder::Redis(purpose, part) => context.redis.get(purpose)?.part(*part),
        database => own.database.as_ref()?.value(database),
    }
}

#[cfg(test)]
mod tests;
