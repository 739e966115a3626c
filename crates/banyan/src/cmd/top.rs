//! `banyan top`: the dashboard in the terminal.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::anyhow;
use banyan_observe::view::View;
use banyan_observe::view_socket;
use banyan_runtime::control::Connection;
use tokio::time::sleep;

use crate::cli::Top;
use crate::exit::Exit;
use crate::output::Context;
use crate::render;

const AGAIN: Duration = Duration::from_secs(1);
/// For the first rates two moments are needed.
const FIRST: Duration = Duration::from_millis(1500);

pub(crate) fn run(args: &Top, context: &Context) -> anyhow::Result<Exit> {
    let lives = std::io::stdout().is_terminal() && !args.once && !context.json;
    super::simple_runtime()?.block_on(async {
        if !lives {
            return once(context).await;
        }
        context.print(CLEAR)?;
        loop {
            let view = ask(context).await?;
            let text = render::top::render(&view, context.paint);
            // Each line ends what was there before, the last one all below: nothing flickers.
            let text = text.replace('\n', "\x1b[K\n");
            context.print(&format!("\x1b[H{text}\x1b[J"))?;
            sleep(AGAIN).await;
        }
    })
}

const CLEAR: &str = "\x1b[H\x1b[2J";

async fn once(context: &Context) -> anyhow::Result<Exit> {
    let mut view = ask(context).await?;
    if view.total.per_second.is_none() {
        sleep(FIRST).await;
        view = ask(context).await?;
    }
    if context.json {
        context.print_json(&view)?;
    } else {
        context.print(&render::top::render(&view, context.paint))?;
    }
    Ok(Exit::Done)
}

async fn ask(context: &Context) -> anyhow::Result<View> {
    let banyan = context.place.command();
    let absent = || {
        anyhow!("observe does not run here: `{banyan} up` starts it, unless [observe] has enabled = false")
    };
    let socket = view_socket(context.place.state()?.path());
    let mut connection = Connection::connect(&socket).await.map_err(|_nobody| absent())?;
    connection.receive().await?.ok_or_else(absent)
}
