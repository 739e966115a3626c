//! `banyan alerts [list | history | silence | unsilence]`.

use anyhow::Context as _;
use banyan_alert::Silence;
use banyan_observe::Book;
use banyan_runtime::Clock;
use serde_json::json;

use crate::cli::alerts::{Alerts, AlertsAction};
use crate::exit::Exit;
use crate::output::Context;
use crate::render::alerts;

pub(crate) fn run(args: &Alerts, context: &Context) -> anyhow::Result<Exit> {
    let book = Book::at(context.place.state()?.path());
    match args.action.as_ref().unwrap_or(&AlertsAction::List) {
        AlertsAction::List => {
            let shown = book.shown(0).context("failed to read what fires")?;
            if context.json {
                context.print_json(&shown)?;
            } else {
                context.print(&alerts::page(&shown, shown.age_ms(), context.paint))?;
            }
        }
        AlertsAction::History(args) => {
            let shown = book.shown(args.lines).context("failed to read what happened")?;
            if context.json {
                context.print_json(&shown.history)?;
            } else {
                context.print(&alerts::history(&shown.history))?;
            }
        }
        AlertsAction::Silence(args) => {
            let from_ms = Clock.unix_ms();
            let silence = Silence {
                rule: args.rule.0,
                from_ms,
                until_ms: from_ms.saturating_add(u64::try_from(args.time.as_millis()).unwrap_or(u64::MAX)),
                why: args.why.clone(),
            };
            let told = silence.clone();
            book.change_silences(|silences| silences.add(silence))
                .context("failed to note the silence")?;
            if context.json {
                context.print_json(&told)?;
            } else {
                context.print(&alerts::silenced(&told))?;
            }
        }
        AlertsAction::Unsilence(args) => {
            let was = book.change_silences(|silences| silences.remove(args.rule.0));
            let was = was.context("failed to end the silence")?;
            if context.json {
                context.print_json(&json!({ "rule": args.rule.0, "was_silenced": was }))?;
            } else {
                let name = alerts::which(args.rule.0);
                let told = if was {
                    "is told of again"
                } else {
                    "was not silenced"
                };
                context.print(&format!("{name} {told}\n"))?;
            }
        }
    }
    Ok(Exit::Done)
}
