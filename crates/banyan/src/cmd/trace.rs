//! `banyan trace`: reads what the role observe has kept, so it works with and without it.

use anyhow::Context as _;
use banyan_observe::traces::tree::Tree;
use banyan_observe::traces::{api, store};
use banyan_runtime::Clock;

use crate::cli::Trace;
use crate::exit::Exit;
use crate::output::Context;
use crate::render::error::advised;
use crate::render::trace;

/// The least of an id that names a trace.
const LEAST: usize = 4;

pub(crate) fn run(args: &Trace, context: &Context) -> anyhow::Result<Exit> {
    let folder = store::folder(context.place.state()?.path());
    let read = || format!("failed to read the traces in {}", folder.display());
    if let Some(id) = &args.id {
        let id = id.to_ascii_lowercase();
        if id.len() < LEAST || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let next = "`banyan trace` lists them";
            return Err(advised(
                anyhow::anyhow!("`{id}` is no id of a trace, nor the beginning of one"),
                next,
            ));
        }
        let found = store::find(&folder, &id).with_context(read)?;
        return one(&id, found.into_values().filter_map(Tree::of).collect(), context);
    }
    let since_ms = args.since.map_or(0, |since| since.unix_ms(Clock.unix_ms()));
    let wanted = api::Wanted {
        since_us: since_ms.saturating_mul(1000),
        failed: args.failed,
        slow: args.slow,
        most: args.lines,
    };
    let trees = api::list(&folder, wanted).with_context(read)?;
    list(&trees, context)
}

fn one(id: &str, mut trees: Vec<Tree>, context: &Context) -> anyhow::Result<Exit> {
    match trees.len() {
        1 => {}
        0 => {
            let why = "failed and slow requests are kept, and some of the others; `edge.trace` must be on";
            return Err(advised(anyhow::anyhow!("no trace {id} was kept"), why));
        }
        count => {
            let next = "write more of it";
            return Err(advised(anyhow::anyhow!("{count} traces begin with {id}"), next));
        }
    }
    let tree = trees.remove(0);
    if context.json {
        context.print(&format!("{}\n", serde_json::to_value(&tree)?))?;
    } else {
        context.print(&trace::tree(&tree, context.paint))?;
    }
    Ok(Exit::Done)
}

fn list(trees: &[Tree], context: &Context) -> anyhow::Result<Exit> {
    if context.json {
        let all: Vec<_> = trees.iter().map(api::Summary::of).collect();
        context.print(&format!("{}\n", serde_json::to_value(all)?))?;
    } else {
        context.print(&trace::list(trees, context.paint))?;
    }
    Ok(Exit::Done)
}
