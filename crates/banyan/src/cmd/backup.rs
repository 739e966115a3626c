//! `banyan backup now | list | verify`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use banyan_reconcile::proto::{Reply, Request};
use banyan_reconcile::restoring::Source;
use banyan_runtime::Clock;
use banyan_supervisor::engine::postgres::backup::moment::moment;
use banyan_supervisor::engine::postgres::backup::restore::{Restore, Target};
use banyan_supervisor::engine::postgres::backup::{Backup, Catalogue, Kind};
use serde_json::json;

use super::restore::{Shown, store_log};
use crate::cli::backup::{self as asked, BackupAction, BackupKind};
use crate::client::Client;
use crate::exit::Exit;
use crate::loading;
use crate::output::Context;
use crate::render::table::{self, Align, Cell};
use crate::render::{amount, error};

pub(crate) fn run(args: &asked::Backup, context: &Context) -> anyhow::Result<Exit> {
    match &args.action {
        BackupAction::Now { kind } => now(*kind, context),
        BackupAction::List => list(context),
        BackupAction::Verify { into } => verify(into.as_deref(), context),
    }
}

fn now(kind: Option<BackupKind>, context: &Context) -> anyhow::Result<Exit> {
    let kind = kind.map(|kind| match kind {
        BackupKind::Full => Kind::Full,
        BackupKind::Differential => Kind::Differential,
        BackupKind::Incremental => Kind::Incremental,
    });
    super::simple_runtime()?.block_on(async {
        let client = Client::required(context).await?;
        let answer = client.ask(&Request::Backup { kind }, context).await?;
        if let Some(why) = answer.error {
            return Err(error::from_controller(&why).context("no backup was made"));
        }
        let made = answer.replies.into_iter().find_map(|reply| match reply {
            Reply::Backup(backup) => Some(backup),
            _ => None,
        });
        let made = made.context("the controller did not say what it made (another version of banyan?)")?;
        if context.json {
            context.print_json(&made)?;
        } else {
            context.print(&format!("{}\n", made.label))?;
        }
        Ok(Exit::Done)
    })
}

fn list(context: &Context) -> anyhow::Result<Exit> {
    let source = Source::of(&loading::load_with_root(&context.place)?)?;
    let catalogue = source.catalogue()?;
    if context.json {
        context.print_json(&catalogue)?;
    } else {
        context.print(&render(&catalogue, &source.settings.path, context))?;
    }
    Ok(Exit::Done)
}

const HEADER: [(&str, Align); 6] = [
    ("BACKUP", Align::Left),
    ("KIND", Align::Left),
    ("COMPLETE", Align::Left),
    ("TOOK", Align::Right),
    ("DATABASE", Align::Right),
    ("STORED", Align::Right),
];

fn render(catalogue: &Catalogue, path: &Path, context: &Context) -> String {
    let Some(first) = catalogue.backups.first() else {
        return format!("{} holds no backup of this database yet\n", path.display());
    };
    let row = |backup: &Backup| {
        vec![
            Cell::new(backup.label.clone()),
            Cell::new(backup.kind.name()),
            Cell::new(moment(backup.stop_ms * 1000)),
            Cell::new(amount::took(std::time::Duration::from_millis(
                backup.stop_ms.saturating_sub(backup.start_ms),
            ))),
            Cell::new(amount::bytes(backup.size_bytes)),
            Cell::new(amount::bytes(backup.stored_bytes)),
        ]
    };
    let rows: Vec<Vec<Cell>> = catalogue.backups.iter().map(row).collect();
    let mut out = table::render(&HEADER, &rows, context.paint);
    for backup in catalogue.backups.iter().filter(|backup| backup.has_broken_pages) {
        out.push_str(&format!(
            "{} pages were broken when {} copied them: `banyan backup verify`\n",
            context.paint.red("!"),
            backup.label
        ));
    }
    out.push_str(&format!(
        "any moment from {} on can be restored\n",
        moment(first.stop_ms * 1000)
    ));
    out
}

fn verify(into: Option<&Path>, context: &Context) -> anyhow::Result<Exit> {
    let source = Source::of(&loading::load_with_root(&context.place)?)?;
    let state = context.place.state()?;
    let into = match into {
        Some(into) => super::restore::absolute(into)?,
        None => beside_the_data(&source, &state)?,
    };
    store_log(&state, context)?;
    let restore = source.restore(Target::Latest, into, &state)?;
    let (verified, took) = check(&restore, context)?;
    if context.json {
        context.print_json(&json!({ "verified": verified, "took_ms": took.as_millis() as u64 }))?;
    } else {
        let until = verified.restored.last_commit_ms.map(|ms| moment(ms * 1000));
        context.print(&format!(
            "{} is whole: {} pages, log until {}; restored and looked at in {}\n",
            verified.restored.backup.label,
            verified.pages,
            until.as_deref().unwrap_or("its end"),
            amount::took(took)
        ))?;
    }
    Ok(Exit::Done)
}

fn check(
    restore: &Restore,
    context: &Context,
) -> anyhow::Result<(
    banyan_supervisor::engine::postgres::backup::verify::Verified,
    std::time::Duration,
)> {
    let began = Clock.now();
    let backup = restore.check(Clock.unix_ms())?;
    let mut shown = Shown::new(4, context);
    let done = super::simple_runtime()?.block_on(restore.verify(backup, &mut |now| shown.say(&now)));
    shown.end(done.is_ok());
    let verified = done.context("the backup is not to be relied on")?;
    Ok((verified, Clock.now().duration_since(began)))
}

/// One that was cut short is in the way, and nobody's.
fn beside_the_data(source: &Source, state: &banyan_reconcile::StateDir) -> anyhow::Result<PathBuf> {
    state.prepare().context("failed to prepare the state folder")?;
    let data = source.own_place(state)?;
    let into = data.with_file_name("verify");
    if into.exists() {
        std::fs::remove_dir_all(&into).with_context(|| format!("failed to delete {}", into.display()))?;
    }
    Ok(into)
}
