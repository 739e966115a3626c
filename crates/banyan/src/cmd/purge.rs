//! `banyan purge`: names for the controller, and what every edge said.

use anyhow::Context as _;
use banyan_reconcile::proto::{Purged, Reply, Request};
use banyan_topology::purge::{Mode, Scope};
use serde_json::json;

use crate::cli::cdn::Purge;
use crate::client::Client;
use crate::exit::Exit;
use crate::output::Context;
use crate::render::error;

pub(crate) fn run(args: &Purge, context: &Context) -> anyhow::Result<Exit> {
    let scopes = scopes(args);
    for scope in &scopes {
        scope.check().map_err(|why| anyhow::anyhow!(why))?;
    }
    anyhow::ensure!(
        !scopes.is_empty(),
        "nothing to purge: name URLs, --prefix, --glob, --tag, or --all"
    );
    let mode = if args.hard { Mode::Hard } else { Mode::Soft };
    super::simple_runtime()?.block_on(async {
        let client = Client::required(context).await?;
        let answer = client.ask(&Request::Purge { scopes, mode }, context).await?;
        let purged = answer.replies.into_iter().find_map(|reply| match reply {
            Reply::Purged(purged) => Some(purged),
            _ => None,
        });
        if let (Some(purged), true) = (&purged, context.json) {
            let complete = purged.stragglers().is_none();
            context.print_json(&json!({ "purged": purged, "complete": complete }))?;
        }
        if let Some(why) = answer.error {
            let what = if purged.is_some() {
                "not every edge has it"
            } else {
                "nothing was purged"
            };
            return Err(error::from_controller(&why).context(what));
        }
        let purged =
            purged.context("the controller did not say what it purged (another version of banyan?)")?;
        if !context.json {
            context.print(&said(&purged))?;
        }
        Ok(Exit::Done)
    })
}

fn scopes(args: &Purge) -> Vec<Scope> {
    let urls = args.urls.iter().cloned().map(Scope::Url);
    let prefixes = args.prefix.iter().cloned().map(Scope::Prefix);
    let globs = args.glob.iter().cloned().map(Scope::Glob);
    let tags = args.tag.iter().cloned().map(Scope::Tag);
    let all = args.all.then_some(Scope::All);
    urls.chain(prefixes).chain(globs).chain(tags).chain(all).collect()
}

fn said(purged: &Purged) -> String {
    match purged.edges.len() {
        0 => format!("purge {} is noted; no edge runs\n", purged.seq),
        1 => format!(
            "purge {} is applied by the edge, after {} ms\n",
            purged.seq, purged.took_ms
        ),
        count => format!(
            "purge {} is applied by {count} edges, after {} ms\n",
            purged.seq, purged.took_ms
        ),
    }
}
