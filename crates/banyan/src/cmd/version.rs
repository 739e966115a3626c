//! `banyan version`

use serde_json::json;

use crate::exit::Exit;
use crate::output::Context;

pub(crate) fn run(context: &Context) -> anyhow::Result<Exit> {
    let version = env!("CARGO_PKG_VERSION");
    if context.json {
        context.print_json(&json!({ "name": "banyan", "version": version }))?;
    } else {
        context.print(&format!("banyan {version}\n"))?;
    }
    Ok(Exit::Done)
}
