//! `banyan config`: what is in force, or the manual and the schema of what can be.

use banyan_config::{render_resolved, resolved_json};

use crate::cli::Config;
use crate::exit::Exit;
use crate::loading;
use crate::output::Context;

pub(crate) fn run(_args: &Config, context: &Context) -> anyhow::Result<Exit> {
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
