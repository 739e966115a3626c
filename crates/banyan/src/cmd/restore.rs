//! `banyan restore`: the database as it was, in a folder or in its own place.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use banyan_reconcile::proto::{Progress as Step, ProgressState};
use banyan_reconcile::restoring::{self, Source};
use banyan_reconcile::{Lock, StateDir};
use banyan_runtime::Clock;
use banyan_supervisor::engine::postgres::backup::moment::moment;
use banyan_supervisor::engine::postgres::backup::restore::{Progress, Restore, Restored, Target};
use serde_json::json;

use crate::cli;
use crate::exit::Exit;
use crate::output::{Context, ignore};
use crate::remains::Remains;
use crate::render::amount;
use crate::render::error::{Advise, advised};
use crate::render::progress::ProgressLine;
use crate::{loading, machine};

pub(crate) fn run(args: &cli::backup::Restore, context: &Context) -> anyhow::Result<Exit> {
    let source = Source::of(&loading::load_with_root(&context.place)?)?;
    let state = context.place.state()?;
    let target = args.at.map_or(Target::Latest, Target::At);
    match &args.into {
        Some(into) => {
            let into = absolute(into)?;
            store_log(&state, context)?;
            finish(&source.restore(target, into, &state)?, false, context)
        }
        None => {
            state.prepare().context("failed to prepare the state folder")?;
            let _alone = nothing_runs(&state, context)?;
            let restore = source.restore(target, source.own_place(&state)?, &state)?;
            finish(&restore, true, context)
        }
    }
}

fn finish(restore: &Restore, in_place: bool, context: &Context) -> anyhow::Result<Exit> {
    let began = Clock.now();
    let into = restore.into.display();
    let backup = restore.check(Clock.unix_ms());
    let backup = if in_place && restore.into.exists() {
        backup.next_step(format!(
            "the data of before stays until you decide: `mv {into} {into}.before`"
        ))?
    } else {
        backup?
    };
    enough_room(restore, backup.size_bytes)?;
    let mut shown = Shown::new(2, context);
    let done = super::simple_runtime()?.block_on(restore.run(backup, &mut |now| shown.say(&now)));
    shown.end(done.is_ok());
    let restored = done.with_context(|| format!("nothing was restored into {into}"))?;
    tell(
        &restored,
        restore,
        Clock.now().duration_since(began),
        in_place,
        context,
    )?;
    Ok(Exit::Done)
}

fn tell(
    restored: &Restored,
    restore: &Restore,
    took: Duration,
    in_place: bool,
    context: &Context,
) -> anyhow::Result<()> {
    let into = restore.into.display();
    if context.json {
        return context.print_json(&json!({
            "into": restore.into,
            "restored": restored,
            "took_ms": took.as_millis() as u64,
        }));
    }
    let last = restored.last_commit_ms.map(|ms| moment(ms * 1000));
    context.print(&format!(
        "restored into {into} in {}: {}, last commit {}\n",
        amount::took(took),
        restored.backup.label,
        last.as_deref().unwrap_or("that of the backup"),
    ))?;
    context.say(&if in_place {
        format!("next: `{} up`", context.place.command())
    } else {
        format!(
            "next: {}/postgres -D {into} -p PORT starts a copy, as the user who owns it",
            restore.bin.display()
        )
    });
    Ok(())
}

/// Held while data is put in place.
fn nothing_runs(state: &StateDir, context: &Context) -> anyhow::Result<Lock> {
    let down = format!("`{} down` stops it first", context.place.command());
    let lock = Lock::take(&state.lock()).next_step(down.clone())?;
    if !Remains::find(state).children.is_empty() {
        return Err(advised(
            anyhow::anyhow!("children of a controller that is gone still run"),
            down,
        ));
    }
    Ok(lock)
}

/// The files; the log between them comes and goes piece by piece.
fn enough_room(restore: &Restore, needed: u64) -> anyhow::Result<()> {
    let parent = restore.into.parent().unwrap_or(Path::new("/"));
    let free = machine::free_disk(parent).unwrap_or(u64::MAX);
    anyhow::ensure!(
        free > needed,
        "the backup needs {}, and {} has {} free",
        amount::bytes(needed),
        parent.display(),
        amount::bytes(free)
    );
    Ok(())
}

/// What a running server has written until now is stored first. One that cannot store it is no reason not to restore.
pub(super) fn store_log(state: &StateDir, context: &Context) -> anyhow::Result<()> {
    let stored = super::simple_runtime()?.block_on(restoring::store_log(state));
    if let Err(error) = stored {
        let mark = context.paint_err.yellow("note:");
        context.say(&format!(
            "{mark} the newest log is not stored, so it is not restored: {error}"
        ));
    }
    Ok(())
}

/// The folder need not exist; the one it lies in must.
pub(super) fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let name = path
        .file_name()
        .context("name a folder, for example --into ./restored")?;
    let parent = parent
        .canonicalize()
        .with_context(|| format!("failed to find {}", parent.display()))?;
    Ok(parent.join(name))
}

/// Progress on stderr.
pub(super) struct Shown {
    line: ProgressLine<io::Stderr>,
    of: usize,
    now: Option<(usize, String)>,
    began: Instant,
}

impl Shown {
    pub(super) fn new(of: usize, context: &Context) -> Self {
        Self {
            line: ProgressLine::new(io::stderr(), context.paint_err, context.stderr_is_terminal),
            of,
            now: None,
            began: Clock.now(),
        }
    }

    pub(super) fn say(&mut self, now: &Progress) {
        let (step, what) = words(now);
        if self.now.as_ref().is_some_and(|(running, _)| *running != step) {
            self.end(true);
        }
        if self.now.as_ref().is_none_or(|(_, said)| *said != what) {
            self.now = Some((step, what));
            self.event(ProgressState::Begun, None);
        }
        ignore(self.line.tick(Clock.now()));
    }

    /// Of the running step.
    pub(super) fn end(&mut self, done: bool) {
        let took = Clock.now().duration_since(self.began);
        let state = if done {
            ProgressState::Done
        } else {
            ProgressState::Failed
        };
        self.event(state, u64::try_from(took.as_millis()).ok());
        self.now = None;
        self.began = Clock.now();
    }

    fn event(&mut self, state: ProgressState, took_ms: Option<u64>) {
        let Some((step, what)) = self.now.clone() else {
            return;
        };
        let of = self.of;
        let step = Step {
            step,
            of,
            what,
            state,
            took_ms,
        };
        ignore(self.line.event(&step, Clock.now()));
    }
}

fn words(now: &Progress) -> (usize, String) {
    match now {
        Progress::Copying { label, percent } => (1, format!("copy {label}, {percent:.0} %")),
        Progress::Replaying { until_ms: Some(ms) } => {
            (2, format!("replay the log, at {}", moment(ms / 1000 * 1_000_000)))
        }
        Progress::Replaying { until_ms: None } => (2, "replay the log".to_owned()),
        Progress::Checking(what @ "tables and indexes") => (3, format!("look at {what}")),
        Progress::Checking(what) => (4, format!("look at {what}")),
    }
}
