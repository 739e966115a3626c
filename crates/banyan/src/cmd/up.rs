//! `banyan up`: this process becomes the controller, in the foreground or (`--detach`) in the background.
//!
//! SIGINT, SIGTERM and SIGHUP mean the same: stop everything in order; the second one: at once. Only a killed controller leaves
//! its children running, for the next one to take over.

mod audience;
mod detach;
mod summary;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use banyan_reconcile::StateDir;
use banyan_reconcile::proto::{Progress, Request, Status};
use banyan_reconcile::{Done, Ending, LockError};
use banyan_runtime::shutdown::{ShutdownStage, ShutdownTrigger};
use banyan_runtime::{Clock, Shutdown, TaskKind, Tasks, shutdown};
use banyan_supervisor::Adopted;
use banyan_telemetry::log;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use self::audience::Audience;
use self::summary::{Answered, Summary};
use crate::cli::Up;
use crate::client::{Client, TICK};
use crate::controller::{self, Running};
use crate::exit::Exit;
use crate::output::Context;
use crate::remains::Remains;
use crate::render::error::{Advise, advised, from_controller};
use crate::{loading, machine, serving};

/// How long an answer through the edge may take once all steps are done.
const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(15);

pub(crate) fn run(args: &Up, context: &Context) -> anyhow::Result<Exit> {
    let began = Clock.now();
    let loaded = loading::load(&context.place)?;
    for warning in &loaded.warnings {
        context.say(&format!("{} {warning}", context.paint_err.yellow("warning:")));
    }
    if args.detach {
        return detach::run(context);
    }
    start_log(context, 0)?;
    live(Audience::person(context), began, context)
}

/// The hidden verb that `--detach` starts.
pub(crate) fn controller(context: &Context) -> anyhow::Result<Exit> {
    let began = Clock.now();
    // Fails when this process leads a group already: then it has a session of its own anyhow.
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "no session of its own");
    }
    start_log(context, 1)?;
    let audience = Audience::parent(context);
    let result = live(audience, began, context);
    if let Err(error) = &result {
        Audience::parent(context).failed(error);
    }
    result
}

fn start_log(context: &Context, least: u8) -> anyhow::Result<()> {
    let level = match context.verbose.max(least) {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let color = context.paint_err.is_on();
    Ok(log::init(log::Format::Text { color }, level)?)
}

/// From nothing to serving to nothing.
fn live(mut audience: Audience, began: Instant, context: &Context) -> anyhow::Result<Exit> {
    let runtime = controller::runtime()?;
    let exit = runtime.block_on(async {
        let state = context.place.state()?;
        let survivors = Remains::find(&state).children;
        let running = Running::start(state, context.place.config_paths()?, controller::loader());
        let mut running = match running {
            Err(error) => return Err(explain_lock(error, context).await),
            Ok(running) => running,
        };
        audience.notes(&taken_over(&survivors));
        let (trigger, mut signals) = shutdown::channel();
        // Apart from the controller's tasks, whose end is waited for: these end only with the process.
        let listening = Tasks::new(trigger.clone());
        trigger
            .on_signals(&listening)
            .context("failed to listen for signals")?;
        on_hangup(trigger, &listening).context("failed to listen for signals")?;
        bring_up(&mut running, &mut signals, &mut audience, began, context).await?;
        if signals.stage() == ShutdownStage::Running {
            tokio::select! {
                ending = running.ended() => return finish(ending?, context),
                () = signals.draining() => {}
            }
        }
        let ending = stop(&mut running, &mut signals, &mut audience).await?;
        finish(ending, context)
    });
    // Tasks that still wait for peers have nobody to serve any more.
    runtime.shutdown_background();
    exit
}

/// Said before the first step: nothing of this is started again.
fn taken_over(survivors: &[Adopted]) -> Vec<String> {
    if survivors.is_empty() {
        return Vec::new();
    }
    let names: Vec<String> = survivors.iter().map(|child| child.id.to_string()).collect();
    vec![format!(
        "an earlier controller is gone; its children run on and are taken over: {}",
        names.join(", ")
    )]
}

/// A closed terminal is like Ctrl-C: a controller that nobody sees any more must not leave its children behind.
fn on_hangup(trigger: ShutdownTrigger, tasks: &Tasks) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tasks.spawn(TaskKind::Background, "hangup", async move {
        hangup.recv().await;
        trigger.advance(ShutdownStage::Draining);
    });
    Ok(())
}

/// A start that failed and left nothing running is an error; one that left something goes on as its controller.
async fn bring_up(
    running: &mut Running,
    signals: &mut Shutdown,
    audience: &mut Audience,
    began: Instant,
    context: &Context,
) -> anyhow::Result<()> {
    let (sender, events) = mpsc::unbounded_channel();
    let handle = running.handle.clone();
    let work = handle.bring_up(move |progress| drop(sender.send(progress)));
    let done = tokio::select! {
        done = watch(work, events, audience) => done,
        () = signals.draining() => return Ok(()),
    };
    audience.notes(&done.notes);
    let status = handle.status().await;
    match (done.error, status) {
        (None, Some(status)) => {
            let answered = first_answer(&status, began).await;
            audience.serving(&Summary {
                status,
                answered,
                banyan: context.place.command(),
            });
            Ok(())
        }
        (None, None) => anyhow::bail!("the controller ended while it started"),
        (Some(error), Some(status)) if !status.children.is_empty() => {
            audience.failed(&advised(
                from_controller(&error),
                format!(
                    "what ran before still runs; `{} status` shows it",
                    context.place.command()
                ),
            ));
            Ok(())
        }
        (Some(error), _) => {
            // Nothing runs: the controller ends by itself, and ending it touches nothing.
            running.trigger.advance(ShutdownStage::Draining);
            drop(running.ended().await);
            audience.notes(&Vec::from_iter(port_taken(&error, context)));
            Err(from_controller(&error))
        }
    }
}

/// The plan knows that a port is taken; who has it can be seen here.
fn port_taken(error: &str, context: &Context) -> Option<String> {
    if !error.contains("in use") {
        return None;
    }
    let port = loading::load(&context.place).ok()?.config.edge?.listen.port();
    let holder = machine::port_holder(port)?;
    Some(format!(
        "port {port} is held by {} (pid {})",
        holder.program?, holder.pid?
    ))
}

/// Shows the progress of `work` until it is done.
async fn watch(
    work: impl Future<Output = Done>,
    mut events: mpsc::UnboundedReceiver<Progress>,
    audience: &mut Audience,
) -> Done {
    let mut work = std::pin::pin!(work);
    let done = loop {
        tokio::select! {
            biased;
            Some(progress) = events.recv() => audience.progress(&progress),
            done = &mut work => break done,
            () = tokio::time::sleep(TICK) => audience.tick(),
        }
    };
    while let Ok(progress) = events.try_recv() {
        audience.progress(&progress);
    }
    audience.settle();
    done
}

/// Everything down in order; at once when a second signal comes.
async fn stop(
    running: &mut Running,
    signals: &mut Shutdown,
    audience: &mut Audience,
) -> anyhow::Result<Ending> {
    audience.say("stopping in order; again to stop at once");
    let (sender, events) = mpsc::unbounded_channel();
    let handle = running.handle.clone();
    let work = handle.request(Request::Down, move |progress| drop(sender.send(progress)));
    let stopped_in_order = async {
        let done = watch(work, events, audience).await;
        audience.notes(&done.notes);
        if let Some(error) = done.error {
            audience.failed(&from_controller(&error));
        }
    };
    tokio::select! {
        () = stopped_in_order => {}
        () = signals.now() => {
            running.trigger.advance(ShutdownStage::Now);
            return running.ended().await;
        }
    }
    // The service ends by itself after a Down; if that Down was refused, this says it once more.
    running.trigger.advance(ShutdownStage::Draining);
    tokio::select! {
        ending = running.ended() => ending,
        () = signals.now() => {
            running.trigger.advance(ShutdownStage::Now);
            running.ended().await
        }
    }
}

fn finish(ending: Ending, context: &Context) -> anyhow::Result<Exit> {
    match ending {
        Ending::Down => {
            context.say("everything is stopped; data stays");
            Ok(Exit::Done)
        }
        Ending::NotStarted => anyhow::bail!("nothing was started"),
        Ending::Killed => {
            context.say("everything was killed; data stays, PostgreSQL recovers at its next start");
            Ok(Exit::Failed)
        }
        Ending::Incomplete => {
            Err(anyhow::anyhow!("not everything could be stopped in order")).next_step(format!(
                "`{0} status` shows what is left, `{0} down` tries again",
                context.place.command()
            ))
        }
    }
}

/// A GET through the edge, measured: that it answers is seen, not assumed.
async fn first_answer(status: &Status, began: Instant) -> Option<Answered> {
    let edge = status.edge.as_ref()?;
    let state = StateDir::new(&status.state_dir);
    let deadline = Clock.now() + FIRST_ANSWER_WITHIN;
    loop {
        if let Some(code) = serving::get(edge, &state, "/").await.filter(|code| *code < 500) {
            let took = Clock.now().duration_since(began);
            return Some(Answered { code, took });
        }
        if Clock.now() >= deadline {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The lock says which process holds it; its controller says where it serves.
async fn explain_lock(error: anyhow::Error, context: &Context) -> anyhow::Error {
    let Some(LockError::Held { .. }) = error.downcast_ref::<LockError>() else {
        return error;
    };
    let Ok(Some(client)) = Client::connect(context).await else {
        return error;
    };
    match client.status(context).await {
        Ok(Status { url: Some(url), .. }) => advised(error, format!("it serves {url}")),
        _ => error,
    }
}
