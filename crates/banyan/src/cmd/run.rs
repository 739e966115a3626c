//! `banyan run -- COMMAND`: becomes a command of the app, as its instances are: environment, user, folder.
//!
//! Nothing is between it and the terminal: signals reach it, and its end is this process's end.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::Context as _;
use banyan_reconcile::StateDir;
use banyan_reconcile::driver::{OneOff, OneOffError};
use banyan_supervisor::engine::identity;
use banyan_supervisor::{ChildSpec, StartError, account, become_command};

use crate::cli::Run;
use crate::exit::{self, Exit};
use crate::output::{Context, environment};
use crate::render::error::{Advise, advised};
use crate::{controller, loading, machine};

pub(crate) fn run(args: Run, context: &Context) -> anyhow::Result<Exit> {
    let state = context.place.state()?;
    refuse_strangers(&state, context)?;
    let mut spec = prepare(args, &state, context)?;
    // Interactive programs draw by it; instances have no terminal.
    if let Some(term) = environment("TERM") {
        spec.env.entry("TERM".to_owned()).or_insert(term);
    }
    let program = std::env::current_exe().context("failed to find the path of this program")?;
    let error = become_command(&program, &spec);
    let missing = matches!(error, StartError::ProgramMissing { .. });
    let folder = spec.cwd.display();
    let error = anyhow::Error::new(error).context(format!("failed to run the command in {folder}"));
    if missing {
        exit::report(&error, context.paint_err);
        return Ok(Exit::NoProgram);
    }
    Err(error)
}

fn prepare(args: Run, state: &StateDir, context: &Context) -> anyhow::Result<ChildSpec> {
    let loaded = loading::load_with_root(&context.place)?;
    let port = machine::free_address()
        .context("failed to find a free port")?
        .port();
    let one_off = OneOff {
        state,
        loaded: &loaded,
        base_env: controller::base_env(),
        process: args.process.as_deref(),
        argv: args.command,
        port,
    };
    // Of one thread, and gone before the command: the launch shim gives up rights for the whole process.
    match super::simple_runtime()?.block_on(one_off.prepare()) {
        Err(error @ OneOffError::DatabaseDown) => {
            Err(error).next_step(format!("`{} up` first", context.place.command()))
        }
        prepared => Ok(prepared?),
    }
}

/// Secrets are for the user of the controller, and for root.
fn refuse_strangers(state: &StateDir, context: &Context) -> anyhow::Result<()> {
    let Ok(metadata) = fs::metadata(state.secrets()) else {
        return Ok(());
    };
    let owner = metadata.uid();
    if identity::controller_is_root() || owner == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let owner = account::find_by_uid(owner).map_or_else(|| owner.to_string(), |account| account.name);
    Err(advised(
        anyhow::anyhow!("this installation runs as {owner}, and only {owner} may read its secrets"),
        format!("`sudo -u {owner} {} run …`", context.place.command()),
    ))
}
