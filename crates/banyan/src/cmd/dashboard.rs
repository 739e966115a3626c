//! `banyan dashboard`: where a person sees the system, with the token that lets in.

use anyhow::{Context as _, anyhow};
use banyan_reconcile::StateDir;
use banyan_runtime::{token, watched};
use banyan_topology::snapshot::ObserveSnapshot;
use serde_json::json;

use crate::exit::Exit;
use crate::output::Context;

pub(crate) fn run(context: &Context) -> anyhow::Result<Exit> {
    let snapshot = snapshot(&context.place.state()?, context)?;
    let token = token::read(&snapshot.token_file)
        .with_context(|| format!("failed to read {}", snapshot.token_file.display()))?;
    let url = format!("http://{}/?token={token}", snapshot.listen);
    if context.json {
        context.print_json(&json!({ "url": url, "address": snapshot.listen }))?;
    } else {
        context.print(&format!("{url}\n"))?;
        context.say("open it in a browser on this machine; it lets in whoever has it");
    }
    Ok(Exit::Done)
}

/// What observe was told last.
fn snapshot(state: &StateDir, context: &Context) -> anyhow::Result<ObserveSnapshot> {
    let banyan = context.place.command();
    watched::read(&state.observe_snapshot())?.ok_or_else(|| {
        anyhow!("there is no dashboard here: `{banyan} up` starts it, unless [observe] has enabled = false")
    })
}
