//! Wiring of the controller into this process: for `up`, and for verbs that need one for a moment.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use banyan_reconcile::proto::{ConfigPaths, Reply, Request};
use banyan_reconcile::{BuildError, ControllerConfig, Ending, Handle, Loader, StateDir};
use banyan_runtime::shutdown::ShutdownTrigger;
use banyan_runtime::{Clock, TaskKind, Tasks, shutdown};
use tokio::task::JoinHandle;

use crate::client::{Answer, Client};
use crate::loading;
use crate::output::{Context, environment, ignore};
use crate::render::progress::ProgressLine;

/// A peer that does not read must not keep a stopped controller alive.
const LAST_REPLIES_WITHIN: Duration = Duration::from_secs(1);

/// A controller that runs in this process.
pub(crate) struct Running {
    pub(crate) handle: Handle,
    /// Ends it: `Draining` stops everything in order, `Now` at once.
    pub(crate) trigger: ShutdownTrigger,
    tasks: Tasks,
    service: JoinHandle<Option<Ending>>,
    ending: Option<Ending>,
}

impl Running {
    /// Takes the lock and runs it; starts nothing of the app. Within a multi-threaded runtime.
    pub(crate) fn start(state: StateDir, config: ConfigPaths, load: Loader) -> anyhow::Result<Self> {
        let (trigger, shutdown) = shutdown::channel();
        let tasks = Tasks::new(trigger.clone());
        let config = ControllerConfig {
            state,
            program: std::env::current_exe().context("failed to find the path of this program")?,
            config,
            load,
            base_env: base_env(),
        };
        let (service, handle) = banyan_reconcile::build(config, &tasks).map_err(building)?;
        let service = tasks.spawn(TaskKind::Role, "controller", service.run(shutdown));
        Ok(Self {
            handle,
            trigger,
            tasks,
            service,
            ending: None,
        })
    }

    /// Waits for its end, and until those who asked have their last reply (`banyan down` in another terminal).
    pub(crate) async fn ended(&mut self) -> anyhow::Result<Ending> {
        // Kept: this wait may be cut short by a signal and begun again.
        let ending = match self.ending {
            Some(ending) => ending,
            None => (&mut self.service)
                .await
                .context("the controller's task was lost")?
                .context("the controller ended by a bug; its children run on, `banyan up` takes over")?,
        };
        self.ending = Some(ending);
        let replied = tokio::time::timeout(LAST_REPLIES_WITHIN, self.tasks.finished()).await;
        if replied.is_err() {
            tracing::debug!("a peer did not take its last reply in time");
        }
        Ok(ending)
    }
}

/// Reads the configuration as it is written.
pub(crate) fn loader() -> Loader {
    Arc::new(loading::load_for_controller)
}

/// The lock's message is complete; others get the operation in front.
fn building(error: BuildError) -> anyhow::Error {
    match error {
        BuildError::Lock(lock) => anyhow::Error::new(lock),
        other => anyhow::Error::new(other).context("failed to start the controller"),
    }
}

/// What children inherit. The rest of this environment is nobody's business.
pub(crate) fn base_env() -> BTreeMap<String, String> {
    ["PATH", "HOME", "LANG", "TZ"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), environment(name)?)))
        .collect()
}

pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    // The controller waits most of the time; two threads keep it answering while one looks through /proc.
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}

/// Asks the controller; when none runs, one in this process that starts nothing.
pub(crate) fn ask_anyhow(request: &Request, context: &Context) -> anyhow::Result<Answer> {
    let simple = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match simple.block_on(Client::connect(context))? {
        Some(client) => simple.block_on(client.ask(request, context)),
        None => ask_temporary(request, context),
    }
}

/// Becomes the controller for one request. State that did not exist before is removed again.
pub(crate) fn ask_temporary(request: &Request, context: &Context) -> anyhow::Result<Answer> {
    let state = context.place.state()?;
    let existed = state.path().exists();
    let runtime = runtime()?;
    let answer = runtime.block_on(async {
        let running = Running::start(state.clone(), context.place.config_paths()?, loader())?;
        let replies = running.handle.ask(request.clone()).await;
        Ok(collect(replies, context).await)
    });
    // Dropping it stops no child; what was down stays down.
    drop(runtime);
    if !existed && state.path().exists() {
        std::fs::remove_dir_all(state.path())
            .with_context(|| format!("failed to remove {}", state.path().display()))?;
    }
    answer
}

pub(crate) async fn collect(
    mut replies: tokio::sync::mpsc::UnboundedReceiver<Reply>,
    context: &Context,
) -> Answer {
    let mut answer = Answer::empty();
    let mut line = ProgressLine::new(io::stderr(), context.paint_err, context.stderr_is_terminal);
    while let Some(reply) = ticking(replies.recv(), &mut line).await {
        match reply {
            Reply::Progress(progress) => {
                ignore(line.event(&progress, Clock.now()));
                answer.progress.push(progress);
            }
            Reply::Done {
                outcome,
                error,
                notes,
            } => {
                answer.outcome = outcome;
                answer.error = error;
                answer.notes = notes;
                break;
            }
            other => answer.replies.push(other),
        }
    }
    ignore(line.finish());
    answer
}

/// Waits for `work` and keeps the progress line moving meanwhile.
pub(crate) async fn ticking<T, W: io::Write>(work: impl Future<Output = T>, line: &mut ProgressLine<W>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return result,
            () = tokio::time::sleep(crate::client::TICK) => {
                ignore(line.tick(Clock.now()));
            }
        }
    }
}
