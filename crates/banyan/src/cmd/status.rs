//! `banyan status`: asks the controller; without one, says what survives it.

use std::io::IsTerminal;
use std::time::Duration;

use banyan_observe::Book;
use banyan_runtime::Clock;
use serde_json::json;

use crate::cli::Status;
use crate::client::Client;
use crate::exit::Exit;
use crate::output::Context;
use crate::remains::Remains;
use crate::render;

const AGAIN: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &Status, context: &Context) -> anyhow::Result<Exit> {
    super::simple_runtime()?.block_on(async {
        if !args.watch {
            let (text, exit) = once(context).await?;
            context.print(&text)?;
            return Ok(exit);
        }
        let clear = if std::io::stdout().is_terminal() {
            "\x1b[H\x1b[2J"
        } else {
            ""
        };
        loop {
            let (text, _) = once(context).await?;
            context.print(&format!("{clear}{text}"))?;
            tokio::time::sleep(AGAIN).await;
        }
    })
}

async fn once(context: &Context) -> anyhow::Result<(String, Exit)> {
    if let Some(client) = Client::connect(context).await? {
        let status = client.status(context).await?;
        // What cannot be read is told by `banyan alerts`.
        let alerts = Book::at(context.place.state()?.path()).shown(0).ok();
        let text = if context.json {
            let mut value = serde_json::to_value(&status)?;
            value["alerts"] = serde_json::to_value(&alerts)?;
            serde_json::to_string_pretty(&value)? + "\n"
        } else {
            let told = alerts.map(|shown| render::alerts::summary(&shown, context.paint));
            render::status::render(&status, Clock.unix_ms(), context.paint) + &told.unwrap_or_default()
        };
        return Ok((text, Exit::Done));
    }
    let remains = Remains::find(&context.place.state()?);
    if context.json {
        let value = json!({ "controller_pid": null, "children": remains.children });
        return Ok((serde_json::to_string_pretty(&value)? + "\n", Exit::Done));
    }
    Ok((without_controller(&remains, context), Exit::Done))
}

fn without_controller(remains: &Remains, context: &Context) -> String {
    let banyan = context.place.command();
    if remains.children.is_empty() {
        return format!("nothing runs here; `{banyan} up` starts it\n");
    }
    let count = remains.children.len();
    let (noun, verb) = if count == 1 {
        ("child", "survives")
    } else {
        ("children", "survive")
    };
    let mut out = format!("controller not running; {count} {noun} {verb}:\n");
    for child in &remains.children {
        out.push_str(&format!("  {}  pid {}\n", child.id, child.pid));
    }
    out.push_str(&format!("`{banyan} up` takes over, `{banyan} down` stops them\n"));
    out
}
