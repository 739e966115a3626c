//! `banyan config`: what is in force, or the manual and the schema of what can be.

use banyan_config::{MANUAL, render_resolved, resolved_json, schema};

use crate::cli::Config;
use crate::exit::Exit;
use crate::loading;
use crate::output::Context;

pub(crate) fn run(args: &Config, context: &Context) -> anyhow::Result<Exit> {
    if args.manual {
        context.print(MANUAL)?;
        return Ok(Exit::Done);
    }
    if args.schema {
        context.print(&schema())?;
        return Ok(Exit::Done);
    }
    let loaded = loading::load(&context.place)?;
    for warning in &loaded.warnings {
        context.say(&format!("{} {warning}", context.paint_err.yellow("warning:")));
    }
    if context.json {
        context.print_json(&resolved_json(&loaded.config, true))?;
    } else {
        context.print(&render_resolved(&loaded.config, true))?;
    }
    Ok(Exit::Done)
}
