//! `banyan autoscale [--shadow] [status | why | pause | resume]`.

use anyhow::Context as _;
use banyan_reconcile::controller::read_decisions;
use banyan_reconcile::proto::{AutoscaleVerb, Reply, Request};

use crate::cli::{self, AutoscaleAction};
use crate::client::Client;
use crate::exit::Exit;
use crate::output::Context;
use crate::render::autoscale;
use crate::render::error::advised;

pub(crate) fn run(args: &cli::Autoscale, context: &Context) -> anyhow::Result<Exit> {
    if args.shadow {
        return shadow(context);
    }
    let verb = match args.action.unwrap_or(AutoscaleAction::Status) {
        AutoscaleAction::Status => AutoscaleVerb::Show,
        AutoscaleAction::Why => AutoscaleVerb::Why,
        AutoscaleAction::Pause => AutoscaleVerb::Pause,
        AutoscaleAction::Resume => AutoscaleVerb::GoOn,
    };
    let replies = super::simple_runtime()?.block_on(async {
        let client = Client::required(context).await?;
        let answer = client.ask(&Request::Autoscale { verb }, context).await?;
        anyhow::Ok(answer.replies)
    })?;
    let answer = replies
        .into_iter()
        .find(|reply| matches!(reply, Reply::Autoscale { .. } | Reply::Decided { .. }));
    match answer.context("the controller did not say how it scales (another version of banyan?)")? {
        Reply::Autoscale { shown: Some(shown) } if context.json => context.print_json(&shown)?,
        Reply::Autoscale { shown: Some(shown) } => context.print(&autoscale::page(&shown, context.paint))?,
        Reply::Decided { decisions } if context.json => context.print_json(&decisions)?,
        Reply::Decided { decisions } => context.print(&autoscale::why(&decisions, context.paint))?,
        _ => {
            let next = "write [scale.web] with min and max into banyan.toml, then `banyan apply`";
            return Err(advised(
                anyhow::anyhow!("no number of instances follows its load"),
                next.to_owned(),
            ));
        }
    }
    Ok(Exit::Done)
}

/// From the file: neither the controller nor the app needs to run.
fn shadow(context: &Context) -> anyhow::Result<Exit> {
    let mut decisions = read_decisions(&context.place.state()?.decisions());
    decisions.retain(|decided| decided.shadow);
    if decisions.is_empty() {
        let next = "write shadow = true into [scale.web] in banyan.toml, then `banyan apply`";
        return Err(advised(
            anyhow::anyhow!("nothing was decided without being done"),
            next.to_owned(),
        ));
    }
    if context.json {
        context.print_json(&decisions)?;
    } else {
        context.print(&autoscale::shadow(&decisions, context.paint))?;
    }
    Ok(Exit::Done)
}
