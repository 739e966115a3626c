//! `banyan role NAME`: a process of the data plane, wired to its signals and its log.

use anyhow::Context as _;
use banyan_runtime::{Shutdown, TaskKind, Tasks, shutdown};
use banyan_telemetry::log;

use crate::cli::{Role, RoleName};
use crate::exit::Exit;
use crate::output::Context;

pub(crate) fn run(args: &Role, context: &Context) -> anyhow::Result<Exit> {
    log::init(
        log::Format::Json,
        if context.verbose > 0 { "debug" } else { "info" },
    )?;
    match args.role {
        RoleName::Edge => edge(args, context),
        RoleName::Pgproxy => pgproxy(context),
        RoleName::Observe => observe(context),
    }
}

fn edge(args: &Role, context: &Context) -> anyhow::Result<Exit> {
    let config = banyan_edge::Config {
        place: args.place.clone(),
        ..banyan_edge::Config::new(context.place.state()?.path())
    };
    serve("edge", "the edge", |shutdown| {
        let (service, _handle) = banyan_edge::build(config)?;
        Ok(service.run(shutdown))
    })
}

fn pgproxy(context: &Context) -> anyhow::Result<Exit> {
    let config = banyan_pgproxy::Config::new(context.place.state()?.path());
    serve("pgproxy", "the PostgreSQL proxy", |shutdown| {
        let (service, _handle) = banyan_pgproxy::build(config)?;
        Ok(service.run(shutdown))
    })
}

fn observe(context: &Context) -> anyhow::Result<Exit> {
    let config = banyan_observe::Config::new(context.place.state()?.path());
    serve("observe", "what keeps the measurements", |shutdown| {
        let (service, _handle) = banyan_observe::build(config)?;
        Ok(service.run(shutdown))
    })
}

/// The control task runs here; clients are served on the role's own threads. `said`: its name in a sentence.
fn serve<R, E>(
    name: &'static str,
    said: &str,
    start: impl FnOnce(Shutdown) -> Result<R, E>,
) -> anyhow::Result<Exit>
where
    R: Future<Output = Result<(), E>> + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    small_pages();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (trigger, shutdown) = shutdown::channel();
        let tasks = Tasks::new(trigger.clone());
        trigger
            .on_signals(&tasks)
            .context("failed to listen for signals")?;
        let running = tasks.spawn(TaskKind::Role, name, start(shutdown)?);
        running
            .await?
            .with_context(|| format!("{said} ended by a bug"))??;
        Ok(Exit::Done)
    })
}

/// Without huge pages: thousands of connections have a few small blocks each, and the allocator's large areas would be
/// paid for whole (measured: a third less memory at 512 connections, no more CPU).
fn small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay on: more memory per connection");
    }
}
