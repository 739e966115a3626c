//! `banyan logs`: reads the files themselves, so it works with and without a controller.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use crate::cli::Logs;
use crate::exit::Exit;
use crate::logs::{Line, Tail, Wanted, render};
use crate::output::Context;
use crate::render::error::advised;

const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(crate) fn run(args: Logs, context: &Context) -> anyhow::Result<Exit> {
    let folder = context.place.state()?.logs();
    let mut tail = Tail::new(folder.clone(), Wanted(args.process.clone()));
    let read = || format!("failed to read the logs in {}", folder.display());
    let lines = tail.last(args.lines).with_context(read)?;
    if tail.children().with_context(read)?.is_empty() && !args.follow {
        return Err(nothing(&args, &folder, context));
    }
    let mut width = 0;
    show(&lines, &mut width, &tail, context)?;
    if !args.follow {
        return Ok(Exit::Done);
    }
    loop {
        std::thread::sleep(LOOK_EVERY);
        let lines = tail.new_lines().with_context(read)?;
        show(&lines, &mut width, &tail, context)?;
    }
}

fn nothing(args: &Logs, folder: &std::path::Path, context: &Context) -> anyhow::Error {
    let all = Tail::new(folder.to_owned(), Wanted::default())
        .children()
        .unwrap_or_default();
    if all.is_empty() {
        let next = format!("`{} up` starts what writes some", context.place.command());
        return advised(anyhow::anyhow!("there are no logs in {}", folder.display()), next);
    }
    advised(
        anyhow::anyhow!("no child matches {}", args.process.join(", ")),
        format!("there are logs of: {}", all.join(", ")),
    )
}

fn show(lines: &[Line], width: &mut usize, tail: &Tail, context: &Context) -> anyhow::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let names = tail.children().unwrap_or_default();
    *width = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0)
        .max(*width);
    let mut text = String::new();
    for line in lines {
        if context.json {
            let record = serde_json::from_str::<serde_json::Value>(&line.text)
                .ok()
                .filter(|r| r.is_object());
            let value = match record {
                Some(record) => json!({ "child": line.child, "record": record }),
                None => json!({ "child": line.child, "line": line.text }),
            };
            text.push_str(&value.to_string());
        } else {
            text.push_str(&render(line, *width, context.paint));
        }
        text.push('\n');
    }
    context.print(&text)
}
