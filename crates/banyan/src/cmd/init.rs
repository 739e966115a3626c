//! `banyan init`: looks at the folder, writes a banyan.toml to read and correct, and says what it saw.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use banyan_config::detect::{Folder, Proposal, detect};
use serde_json::json;

use crate::cli::Init;
use crate::exit::Exit;
use crate::output::Context;
use crate::render::error::advised;

pub(crate) fn run(args: &Init, context: &Context) -> anyhow::Result<Exit> {
    let file = target(args, context);
    let folder = crate::loading::folder(&file);
    let proposal = look(&folder).with_context(|| format!("failed to look at {}", folder.display()))?;
    write(&file, &proposal.to_toml(), args.force)?;
    if context.json {
        context.print_json(&json!({
            "written": file,
            "name": proposal.name,
            "kind": proposal.kind,
            "processes": names(&proposal),
        }))?;
    }
    for line in report(&proposal, &file) {
        context.say(&line);
    }
    // What Banyan wrote itself must be readable by Banyan; what the folder adds (its Procfile) may still be wrong.
    if let Err(failure) = crate::loading::load_files(&file, None) {
        context.say(&format!(
            "{} {file} needs a correction before `banyan up`:",
            context.paint_err.yellow("!"),
            file = file.display()
        ));
        return Err(failure.into());
    }
    let there = args
        .dir
        .as_ref()
        .map(|dir| format!("cd {} && ", dir.display()))
        .unwrap_or_default();
    context.say(&format!("{} {there}banyan up", context.paint_err.cyan("next:")));
    Ok(Exit::Done)
}

fn target(args: &Init, context: &Context) -> PathBuf {
    match &args.dir {
        Some(dir) => dir.join(
            context
                .place
                .config()
                .file_name()
                .unwrap_or("banyan.toml".as_ref()),
        ),
        None => context.place.config().to_owned(),
    }
}

fn look(folder: &Path) -> io::Result<Proposal> {
    let absolute = folder.canonicalize()?;
    let name = absolute
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut entries: Vec<String> = fs::read_dir(&absolute)?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    entries.sort();
    Ok(detect(&Folder {
        name: &name,
        entries: &entries,
        read: &|path| fs::read_to_string(absolute.join(path)).ok(),
    }))
}

/// Never over an existing file, not even one that appears in this moment.
fn write(file: &Path, text: &str, force: bool) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    match options
        .open(file)
        .and_then(|mut open| open.write_all(text.as_bytes()))
    {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(advised(
            anyhow::anyhow!("{} exists already; nothing was changed", file.display()),
            "`banyan check` judges it, `banyan up` runs it, `banyan init --force` replaces it",
        )),
        other => other.with_context(|| format!("failed to write {}", file.display())),
    }
}

/// What was seen and what was guessed, a line each.
fn report(proposal: &Proposal, file: &Path) -> Vec<String> {
    let mut lines = vec![match &proposal.kind {
        Some(kind) => format!("looks like {kind}; wrote {}", file.display()),
        None => format!("nothing was recognised; wrote {} to fill in", file.display()),
    }];
    let names = names(proposal);
    if !names.is_empty() {
        let from = if proposal.processes.is_empty() {
            " (from the Procfile)"
        } else {
            ""
        };
        lines.push(format!("  processes: {}{from}", names.join(", ")));
    }
    lines.extend(
        proposal
            .release
            .iter()
            .map(|release| format!("  release command: {release}")),
    );
    lines.extend(
        proposal
            .database
            .iter()
            .map(|why| format!("  database: PostgreSQL, because of {why}")),
    );
    lines.extend(proposal.guesses.iter().map(|guess| format!("  guessed: {guess}")));
    lines.extend(proposal.check.iter().map(|check| format!("  to check: {check}")));
    lines
}

fn names(proposal: &Proposal) -> Vec<String> {
    let own = proposal.processes.iter().map(|process| process.name.clone());
    own.chain(proposal.procfile.iter().cloned()).collect()
}
