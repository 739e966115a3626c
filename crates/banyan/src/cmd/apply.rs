//! `banyan apply`, `deploy`, `rollback`: changes of the running system, by its controller.

use std::time::Duration;

use banyan_reconcile::proto::{Change, Outcome, Request};
use banyan_runtime::Clock;
use banyan_topology::ReleaseId;
use serde_json::{Value, json};

use crate::cli::{Apply, Rollback};
use crate::client::{Answer, Client};
use crate::cmd::cdn::warm;
use crate::exit::Exit;
use crate::output::Context;
use crate::{loading, render};

pub(crate) fn run(args: &Apply, context: &Context) -> anyhow::Result<Exit> {
    if args.resume {
        return perform(&Request::Resume, context);
    }
    if args.revert {
        return perform(&Request::Revert, context);
    }
    let saved = args.plan.as_deref().map(super::plan::read).transpose()?;
    let (change, config_hash) = match saved {
        Some(saved) => (saved.change, Some(saved.config_hash)),
        None => (Change::Configuration, None),
    };
    change_to(change, config_hash, context)
}

pub(crate) fn deploy(context: &Context) -> anyhow::Result<Exit> {
    change_to(Change::Deploy, None, context)
}

pub(crate) fn rollback(args: &Rollback, context: &Context) -> anyhow::Result<Exit> {
    let to = args.to.map(ReleaseId);
    change_to(Change::Rollback { to }, None, context)
}

/// `config_hash`: of the plan that was shown; another one is refused.
pub(super) fn change_to(
    change: Change,
    config_hash: Option<String>,
    context: &Context,
) -> anyhow::Result<Exit> {
    loading::load(&context.place)?;
    let request = Request::Apply {
        config: context.place.config_paths()?,
        change,
        config_hash,
    };
    perform(&request, context)
}

fn perform(request: &Request, context: &Context) -> anyhow::Result<Exit> {
    super::simple_runtime()?.block_on(async {
        let began = Clock.now();
        let answer = Client::required(context).await?.ask(request, context).await?;
        let took = Clock.now().duration_since(began);
        let deployed = matches!(
            request,
            Request::Apply {
                change: Change::Deploy,
                ..
            }
        ) && (answer.outcome, &answer.error) == (Outcome::Changed, &None);
        let warmed = if deployed {
            warm::after_deploy(context).await
        } else {
            None
        };
        finish(answer, took, warmed, context)
    })
}

/// Shows how it ended.
fn finish(answer: Answer, took: Duration, warmed: Option<Value>, context: &Context) -> anyhow::Result<Exit> {
    for note in &answer.notes {
        context.say(&format!("{} {note}", context.paint_err.yellow("note:")));
    }
    if context.json {
        let mut told = json!({
            "outcome": answer.outcome,
            "error": answer.error,
            "notes": answer.notes,
            "steps": answer.progress,
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        });
        if let Some(warmed) = warmed {
            told["warmed"] = warmed;
        }
        context.print_json(&told)?;
    }
    let sentence = render::plan::outcome(answer.outcome);
    match (answer.outcome, answer.error) {
        (Outcome::Nothing, None) => {
            context.say(sentence);
            Ok(Exit::Done)
        }
        (Outcome::Changed, None) => {
            context.say(&format!("{sentence} in {}", render::amount::took(took)));
            Ok(Exit::Done)
        }
        // Nothing failed: it was asked for.
        (Outcome::RolledBack, None) => {
            let time = render::amount::took(took);
            context.say(&format!("undone in {time}: the system is as before that plan"));
            Ok(Exit::Done)
        }
        (_, None) => Err(anyhow::anyhow!(sentence)),
        (_, Some(error)) => {
            let error = render::error::from_controller(&error);
            Err(if answer.outcome == Outcome::Refused {
                error
            } else {
                error.context(sentence)
            })
        }
    }
}
