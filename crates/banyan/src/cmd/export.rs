//! `banyan export`: alerting rules and dashboards for other monitoring systems. Nothing needs to run.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use std::io::Write as _;

use anyhow::Context as _;
use banyan_alert::export;
use banyan_config::Config;
use serde_json::{Map, Value};

use crate::cli::export::{Export, What};
use crate::exit::Exit;
use crate::loading;
use crate::output::Context;
use crate::render::error::advised;

pub(crate) fn run(args: &Export, context: &Context) -> anyhow::Result<Exit> {
    if args.what == What::Grafana {
        return dashboards(args.out.as_deref(), context);
    }
    let loaded = loading::load(&context.place)?;
    let text = text(args.what, &loaded.config)?;
    match &args.out {
        Some(path) => {
            write(path, &text)?;
            context.say(&format!("written: {}", path.display()));
        }
        None => context.print(&text)?,
    }
    Ok(Exit::Done)
}

fn text(what: What, config: &Config) -> anyhow::Result<String> {
    let Some(alerts) = &config.alerts else {
        let next = "remove enabled = false from [alerts]".to_owned();
        return Err(advised(anyhow::anyhow!("no rule is judged"), next));
    };
    let rules = banyan_alert::rules(alerts, config.edge.is_some());
    Ok(match what {
        What::Alertmanager => export::alertmanager(alerts),
        What::Prometheus | What::Grafana => export::prometheus(&rules, config.name.as_str(), alerts.every),
    })
}

fn dashboards(out: Option<&Path>, context: &Context) -> anyhow::Result<Exit> {
    let boards = export::dashboards();
    let Some(folder) = out else {
        let all: Map<String, Value> = boards.into_iter().map(|board| (board.file, board.json)).collect();
        context.print_json(&all)?;
        return Ok(Exit::Done);
    };
    fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    for board in boards {
        let path = folder.join(&board.file);
        write(&path, &(serde_json::to_string_pretty(&board.json)? + "\n"))?;
        context.say(&format!("written: {}", path.display()));
    }
    Ok(Exit::Done)
}

/// A new file is for its owner only: addresses of receivers can be secrets.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = fs::OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("failed to write {}", path.display()))
}
