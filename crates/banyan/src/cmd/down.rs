//! `banyan down`: by the controller, or without one by becoming it for as long as that takes.

use banyan_reconcile::proto::{Outcome, Request};
use banyan_runtime::Clock;
use serde_json::json;

use crate::client::{Answer, Client};
use crate::exit::Exit;
use crate::output::Context;
use crate::remains::Remains;
use crate::{controller, render};

pub(crate) fn run(context: &Context) -> anyhow::Result<Exit> {
    let began = Clock.now();
    let runtime = super::simple_runtime()?;
    let answer = match runtime.block_on(Client::connect(context))? {
        Some(client) => runtime.block_on(client.ask(&Request::Down, context))?,
        None if Remains::find(&context.place.state()?).children.is_empty() => {
            return nothing(context);
        }
        None => {
            context.say("the controller is gone, its children are not: taking over to stop them");
            drop(runtime);
            controller::ask_temporary(&Request::Down, context)?
        }
    };
    finish(answer, Clock.now().duration_since(began), context)
}

fn nothing(context: &Context) -> anyhow::Result<Exit> {
    if context.json {
        context.print_json(&json!({ "outcome": Outcome::Nothing, "steps": [] }))?;
    }
    context.say("nothing runs here");
    Ok(Exit::Done)
}

fn finish(answer: Answer, took: std::time::Duration, context: &Context) -> anyhow::Result<Exit> {
    for note in &answer.notes {
        context.say(&format!("{} {note}", context.paint_err.yellow("note:")));
    }
    if context.json {
        context.print_json(&json!({
            "outcome": answer.outcome, "error": answer.error, "steps": answer.progress,
        }))?;
    }
    match answer.error {
        Some(error) => {
            Err(render::error::from_controller(&error).context("failed to stop everything in order"))
        }
        None => {
            context.say(&format!(
                "everything is stopped, in {}; data stays",
                render::amount::took(took)
            ));
            Ok(Exit::Done)
        }
    }
}
