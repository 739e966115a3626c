//! `banyan plan`: shows the steps, changes nothing.

use std::path::Path;

use anyhow::Context as _;
use banyan_reconcile::proto::{Change, Outcome, Reply, Request};
use banyan_topology::Plan as Steps;
use serde::{Deserialize, Serialize};

use crate::cli::Plan;
use crate::client::Answer;
use crate::exit::Exit;
use crate::output::Context;
use crate::{controller, loading, render};

/// What `--out` writes and `apply PLAN` reads.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) change: Change,
    pub(crate) config_hash: String,
    pub(crate) plan: Steps,
    pub(crate) notes: Vec<String>,
    /// The steps in words.
    pub(crate) text: Vec<String>,
}

pub(crate) fn run(args: &Plan, context: &Context) -> anyhow::Result<Exit> {
    let change = if args.deploy {
        Change::Deploy
    } else {
        Change::Configuration
    };
    let saved = made(change, context)?;
    if let Some(path) = &args.out {
        write(path, &saved)?;
    }
    show(&saved, context)
}

/// The steps of a change.
pub(super) fn made(change: Change, context: &Context) -> anyhow::Result<Saved> {
    loading::load(&context.place)?;
    let request = Request::Plan {
        config: context.place.config_paths()?,
        change: change.clone(),
    };
    saved(controller::ask_anyhow(&request, context)?, change)
}

pub(super) fn show(saved: &Saved, context: &Context) -> anyhow::Result<Exit> {
    if context.json {
        context.print_json(saved)?;
    } else {
        context.print(&render::plan::render(&saved.text, &saved.notes, context.paint))?;
    }
    Ok(if saved.plan.steps.is_empty() {
        Exit::Done
    } else {
        Exit::Findings
    })
}

fn saved(answer: Answer, change: Change) -> anyhow::Result<Saved> {
    for reply in answer.replies {
        if let Reply::Plan {
            plan,
            config_hash,
            notes,
            ..
        } = reply
        {
            let text = plan
                .steps
                .iter()
                .map(|planned| planned.step.to_string())
                .collect();
            return Ok(Saved {
                change,
                config_hash,
                plan,
                notes,
                text,
            });
        }
    }
    match (answer.outcome, answer.error) {
        (_, Some(error)) => Err(render::error::from_controller(&error)),
        (Outcome::Refused, None) => anyhow::bail!("the controller refused to plan"),
        _ => anyhow::bail!("the controller gave no plan (another version of banyan?)"),
    }
}

fn write(path: &Path, saved: &Saved) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(saved)? + "\n";
    std::fs::write(path, text).with_context(|| format!("failed to write the plan to {}", path.display()))
}

pub(crate) fn read(path: &Path) -> anyhow::Result<Saved> {
    let text = std::fs::read(path).with_context(|| format!("failed to read the plan {}", path.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is not a plan that `banyan plan --out` wrote", path.display()))
}
