//! `banyan autoscale [status | pause | resume]`.

use anyhow::Context as _;
use banyan_reconcile::proto::{AutoscaleVerb, Reply, Request};

use crate::cli::{self, AutoscaleAction};
use crate::client::Client;
use crate::exit::Exit;
use crate::output::Context;
use crate::render::autoscale;
use crate::render::error::advised;

pub(crate) fn run(args: &cli::Autoscale, context: &Context) -> anyhow::Result<Exit> {
    let verb = match args.action.unwrap_or(AutoscaleAction::Status) {
        AutoscaleAction::Status => AutoscaleVerb::Show,
        AutoscaleAction::Pause => AutoscaleVerb::Pause,
        AutoscaleAction::Resume => AutoscaleVerb::GoOn,
    };
    super::simple_runtime()?.block_on(async {
        let client = Client::required(context).await?;
        let answer = client.ask(&Request::Autoscale { verb }, context).await?;
        let shown = answer.replies.into_iter().find_map(|reply| match reply {
            Reply::Autoscale { shown } => Some(shown),
            _ => None,
        });
        let shown = shown.context("the controller did not say how it scales (another version of banyan?)")?;
        let Some(shown) = shown else {
            let next = "write [scale.web] with min and max into banyan.toml, then `banyan apply`";
            return Err(advised(
                anyhow::anyhow!("no number of instances follows its load"),
                next.to_owned(),
            ));
        };
        if context.json {
            context.print_json(&shown)?;
        } else {
            context.print(&autoscale::page(&shown, context.paint))?;
        }
        Ok(Exit::Done)
    })
}
