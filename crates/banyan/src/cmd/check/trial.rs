//! One more instance, judged: by the controller that runs, or by one in a scratch folder that leaves no trace.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use banyan_config::{Config, Database, Durability};
use banyan_reconcile::proto::{Reply, Request, Trial};
use banyan_reconcile::{Loader, StateDir};

use super::Group;
use crate::client::{Answer, Client};
use crate::controller::{self, Running};
use crate::loading;
use crate::machine;
use crate::output::Context;
use crate::remains::Remains;
use crate::render::findings::{Finding, Level};

pub(crate) fn run(config: &Config, context: &Context) -> anyhow::Result<Group> {
    let request = Request::Trial {
        config: context.place.config_paths()?,
    };
    let simple = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (means, findings) = match simple.block_on(Client::connect(context))? {
        Some(client) => {
            let answer = simple.block_on(client.ask(&request, context))?;
            ("one more instance beside those that run", findings(answer))
        }
        None if !Remains::find(&context.place.state()?).children.is_empty() => {
            let seen = "the controller is gone and its children run on";
            let fix = format!("{} up", context.place.command());
            (
                "not tried",
                vec![Finding::new(Level::Warning, "trial", seen).fix(fix)],
            )
        }
        None => (
            "one instance in a scratch folder, gone again",
            scratch(config, &request, context)?,
        ),
    };
    Ok(Group {
        class: "Trial",
        means,
        findings,
    })
}

fn scratch(config: &Config, request: &Request, context: &Context) -> anyhow::Result<Vec<Finding>> {
    if config.edge.is_none() {
        return Ok(vec![Finding::new(
            Level::Note,
            "trial",
            "nothing to try: no process gets requests",
        )]);
    }
    let folder = Scratch::new()?;
    let runtime = controller::runtime()?;
    let findings = runtime.block_on(async {
        let paths = context.place.config_paths()?;
        let running = Running::start(StateDir::new(&folder.0), paths, alone()?)?;
        let done = running.handle.bring_up(|_| {}).await;
        if let Some(error) = done.error {
            // A first start that fails is undone, and its controller ends: there is nothing to take down.
            let fix = "see what it says above; then try again";
            return Ok(vec![Finding::new(Level::Problem, "start", error).fix(fix)]);
        }
        let replies = running.handle.ask(request.clone()).await;
        let found = findings(controller::collect(replies, context).await);
        let down = running.handle.request(Request::Down, |_| {}).await;
        if let Some(error) = down.error {
            running.handle.request(Request::Down, |_| {}).await;
            anyhow::bail!("failed to take the trial down: {error}");
        }
        anyhow::Ok(found)
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    findings
}

/// The same app with one instance of its front process, on a port that disturbs nobody, and nothing around it: no other
/// listener, no replica, no backup (it would be one of an empty database). A database that is the person's own is used but
/// not migrated.
fn alone() -> anyhow::Result<Loader> {
    let listen = machine::free_address().context("failed to find a free port for the trial")?;
    Ok(Arc::new(move |paths| {
        let mut loaded = loading::load_for_controller(paths)?;
        let config = &mut loaded.config;
        if let Some(edge) = &mut config.edge {
            edge.listen = listen;
            edge.https = None;
            edge.settings.tls = None;
            edge.settings.cache = None;
            edge.routes.clear();
            edge.listeners.clear();
            edge.passthrough.clear();
            let front = edge.process.clone();
            config.processes.retain(|name, _| *name == front);
        }
        for process in config.processes.values_mut() {
            process.count = 1;
            process.max = None;
        }
        match &mut config.database {
            Some(Database::External(external)) => {
                config.app.release = None;
                external.pgproxy.port = None;
            }
            Some(Database::Managed(managed)) => {
                managed.port = None;
                managed.pgproxy.port = None;
                managed.dir = None;
                managed.replicas = 0;
                managed.durability = Durability::Async;
                managed.backup = None;
            }
            None => {}
        }
        Ok(loaded)
    }))
}

fn findings(answer: Answer) -> Vec<Finding> {
    let trial = answer.replies.into_iter().find_map(|reply| match reply {
        Reply::Trial(trial) => Some(trial),
        _ => None,
    });
    match (trial, answer.error) {
        (Some(trial), _) => of_trial(trial),
        (None, Some(error)) => vec![Finding::new(Level::Problem, "trial", error)],
        (None, None) => vec![Finding::new(
            Level::Problem,
            "trial",
            "the controller gave no verdict",
        )],
    }
}

fn of_trial(trial: Trial) -> Vec<Finding> {
    let level = |holds| if holds { Level::Good } else { Level::Problem };
    trial
        .findings
        .into_iter()
        .map(|finding| Finding::new(level(finding.holds), finding.name, finding.detail))
        .collect()
}

/// A folder under the system's temporary one, removed when dropped. Engines of other users pass through it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let name = format!("banyan-check-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        DirBuilder::new()
            .mode(0o711)
            .create(&path)
            .with_context(|| format!("failed to create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "the scratch folder of the check stays");
        }
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    std::fs::remove_dir_all(path)
}
