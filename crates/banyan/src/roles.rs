//! `banyan role NAME`: a process of the data plane, wired to its signals and its log.

use anyhow::Context as _;
use banyan_runtime::{TaskKind, Tasks, shutdown};
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
        RoleName::Edge => edge(context),
        RoleName::Pgproxy => pgproxy(context),
    }
}

/// The control task runs here; requests run on the edge's own threads, one per core.
fn edge(context: &Context) -> anyhow::Result<Exit> {
    let state = context.place.state()?;
    small_pages();
    let config = banyan_edge::Config::new(state.path());
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
        let (service, _handle) = banyan_edge::build(config)?;
        let running = tasks.spawn(TaskKind::Role, "edge", service.run(shutdown));
        running.await?.context("the edge ended by a bug")??;
        Ok(Exit::Done)
    })
}

/// As with the edge: the control task here, clients on the proxy's own threads.
fn pgproxy(context: &Context) -> anyhow::Result<Exit> {
    let state = context.place.state()?;
    small_pages();
    let config = banyan_pgproxy::Config::new(state.path());
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
        let (service, _handle) = banyan_pgproxy::build(config)?;
        let running = tasks.spawn(TaskKind::Role, "pgproxy", service.run(shutdown));
        running.await?.context("the PostgreSQL proxy ended by a bug")??;
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
