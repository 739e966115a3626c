//! `banyan logs`: reads the files themselves, so it works with and without a controller.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use banyan_runtime::Clock;

use crate::cli::Logs;
use crate::exit::Exit;
use crate::logs::{Filter, History, Line, Tail, Wanted, render};
use crate::output::Context;
use crate::render::error::advised;

const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Lines that are printed at once.
const BATCH: usize = 500;
/// Without filters, per child.
const LAST: usize = 20;

pub(crate) fn run(args: Logs, context: &Context) -> anyhow::Result<Exit> {
    let folder = context.place.state()?.logs();
    let wanted = Wanted(args.process.clone());
    let filter = filter(&args);
    let mut tail = Tail::new(folder.clone(), wanted.clone());
    let read = || format!("failed to read the logs in {}", folder.display());
    let last = if filter.is_empty() {
        args.lines.unwrap_or(LAST)
    } else {
        0
    };
    let lines = tail.last(last).with_context(read)?;
    if tail.children().with_context(read)?.is_empty() && !args.follow {
        return Err(nothing(&args, &folder, context));
    }
    let mut width = 0;
    if filter.is_empty() {
        show(&lines, &mut width, &tail, context)?;
    } else {
        let since = filter.since_ms.unwrap_or(0);
        let history = History::open(&folder, &wanted, since, &tail).with_context(read)?;
        look_back(history, &filter, args.lines, |lines| {
            show(lines, &mut width, &tail, context)
        })?;
    }
    if !args.follow {
        return Ok(Exit::Done);
    }
    loop {
        std::thread::sleep(LOOK_EVERY);
        let mut lines = tail.new_lines().with_context(read)?;
        lines.retain(|line| filter.takes(line));
        show(&lines, &mut width, &tail, context)?;
    }
}

fn filter(args: &Logs) -> Filter {
    let now_ms = Clock.unix_ms();
    Filter {
        since_ms: args.since.map(|since| since.unix_ms(now_ms)),
        until_ms: args.until.map(|until| until.unix_ms(now_ms)),
        level: args.level.map(Into::into),
        trace: args.trace.as_ref().map(|trace| trace.to_ascii_lowercase()),
        grep: args.grep.clone(),
    }
}

/// All lines that the filter takes, or the last `count` of each child.
fn look_back(
    mut history: History,
    filter: &Filter,
    count: Option<usize>,
    mut show: impl FnMut(&[Line]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    let mut last: BTreeMap<String, VecDeque<Line>> = BTreeMap::new();
    while let Some(line) = history.next_line().context("failed to read the logs")? {
        if !filter.takes(&line) {
            continue;
        }
        let Some(count) = count else {
            lines.push(line);
            if lines.len() >= BATCH {
                show(&std::mem::take(&mut lines))?;
            }
            continue;
        };
        let kept = last.entry(line.child.clone()).or_default();
        kept.push_back(line);
        if kept.len() > count {
            kept.pop_front();
        }
    }
    lines.extend(last.into_values().flatten());
    lines.sort_by_key(|line| line.time_ms);
    show(&lines)
}

fn nothing(args: &Logs, folder: &Path, context: &Context) -> anyhow::Error {
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
            text.push_str(&line.record.json(&line.child, line.time_ms).to_string());
        } else {
            text.push_str(&render(line, *width, context.paint));
        }
        text.push('\n');
    }
    context.print(&text)
}
