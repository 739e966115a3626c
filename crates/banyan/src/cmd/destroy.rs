//! `banyan destroy`: the only verb that deletes data; asks, and refuses while anything runs.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use banyan_config::Purpose;
use banyan_reconcile::{Lock, StateDir};
use banyan_supervisor::engine::{postgres, redis};
use banyan_topology::Topology;
use serde_json::json;

use crate::cli::Destroy;
use crate::exit::Exit;
use crate::loading;
use crate::output::Context;
use crate::remains::Remains;
use crate::render::error::{Advise, advised};

/// Where data lies that a user of its own could not reach in the state folder.
const OUTSIDE: &str = "/var/lib/banyan";

pub(crate) fn run(args: &Destroy, context: &Context) -> anyhow::Result<Exit> {
    let state = context.place.state()?;
    if !state.path().exists() {
        context.say(&format!(
            "nothing to destroy: there is no {}",
            state.path().display()
        ));
        return Ok(Exit::Done);
    }
    let down = format!("`{} down` stops it first", context.place.command());
    let lock = Lock::take(&state.lock()).next_step(down.clone())?;
    if !Remains::find(&state).children.is_empty() {
        return Err(advised(
            anyhow::anyhow!("children of a controller that is gone still run"),
            down,
        ));
    }
    let doomed = doomed(&state);
    agree(args, &name(&state, context)?, &doomed, context)?;
    // First, because only these know whether a server still runs on the data.
    redis::destroy(state.path())?;
    postgres::destroy(state.path())?;
    for path in &doomed {
        remove(path).with_context(|| format!("failed to delete {}", path.display()))?;
    }
    drop(lock);
    if context.json {
        context.print_json(&json!({ "deleted": doomed }))?;
    }
    context.say("deleted; banyan.toml and the app's own files stay");
    Ok(Exit::Done)
}

/// What is deleted, the folder that remembers the rest last.
fn doomed(state: &StateDir) -> Vec<PathBuf> {
    let redis = Purpose::ALL.map(|purpose| redis::child_id(purpose).0);
    let names = std::iter::once("postgres").chain(redis.iter().map(String::as_str));
    let mut targets = names.filter_map(|name| fs::read_link(state.path().join("data").join(name)).ok());
    let outside =
        targets.find(|target| target.starts_with(OUTSIDE) && target.parent() != Some(Path::new(OUTSIDE)));
    let own_folder = outside.and_then(|target| target.parent().map(Path::to_owned));
    own_folder.into_iter().chain([state.path().to_owned()]).collect()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The name that the person must know: the state's own, for the configuration may have changed or be broken.
fn name(state: &StateDir, context: &Context) -> anyhow::Result<String> {
    let reached: Option<Topology> = banyan_runtime::watched::read(&state.topology()).ok().flatten();
    match reached {
        Some(topology) => Ok(topology.app.to_string()),
        None => Ok(loading::load(&context.place)?.config.name.to_string()),
    }
}

fn agree(args: &Destroy, name: &str, doomed: &[PathBuf], context: &Context) -> anyhow::Result<()> {
    if let Some(typed) = &args.yes_delete_data {
        anyhow::ensure!(
            typed == name,
            "this installation is named {name}, not {typed}; nothing was deleted"
        );
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(advised(
            anyhow::anyhow!("deleting data needs an answer, and stdin is no terminal"),
            format!("`{} destroy --yes-delete-data {name}`", context.place.command()),
        ));
    }
    context.say(
        &context
            .paint_err
            .red("This deletes, for ever, the database and everything the app has stored:"),
    );
    for path in doomed {
        context.say(&format!("  {}", path.display()));
    }
    write!(io::stderr(), "Type {name} to delete it: ")?;
    io::stderr().flush()?;
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed)?;
    anyhow::ensure!(typed.trim() == name, "nothing was deleted");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_outside_is_deleted_only_where_banyan_puts_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().join(".banyan"));
        let data = state.path().join("data");
        fs::create_dir_all(&data).unwrap();
        let link = data.join("postgres");
        for (target, outside) in [
            (
                "/var/lib/banyan/photos-0a1b2c3d/postgres",
                Some("/var/lib/banyan/photos-0a1b2c3d"),
            ),
            ("/var/lib/banyan/postgres", None),
            ("/home/someone/postgres", None),
        ] {
            std::os::unix::fs::symlink(target, &link).unwrap();
            let expected: Vec<PathBuf> = outside
                .map(PathBuf::from)
                .into_iter()
                .chain([state.path().to_owned()])
                .collect();
            assert_eq!(doomed(&state), expected);
            fs::remove_file(&link).unwrap();
        }
    }
}
