//! `banyan database`: what a person asks of the servers of the database.

use std::io;
use std::time::Duration;

use anyhow::Context as _;
use banyan_reconcile::proto::Change;
use banyan_runtime::control::{Connection, ControlError};
use banyan_topology::signals::{Signals, StatementSignal};

use super::{apply, plan};
use crate::cli::database::{Database, DatabaseWish, Queries, QueryOrder, Switchover, Tables};
use crate::exit::Exit;
use crate::output::Context;
use crate::render;
use crate::render::error::advised;

/// A proxy that takes longer does not answer.
const LIMIT: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &Database, context: &Context) -> anyhow::Result<Exit> {
    match &args.wish {
        DatabaseWish::Switchover(wish) => switchover(wish, context),
        DatabaseWish::Queries(wish) => queries(wish, context),
        DatabaseWish::Tables(wish) => tables(wish, context),
    }
}

fn queries(wish: &Queries, context: &Context) -> anyhow::Result<Exit> {
    let mut signals = signals(context)?;
    sort(&mut signals.statements, wish.sort);
    signals.statements.truncate(wish.limit);
    if context.json {
        signals.server.tables.clear();
        context.print_json(&signals)?;
    } else {
        context.print(&render::signals::queries(&signals, wish.full, context.paint))?;
    }
    Ok(Exit::Done)
}

fn tables(wish: &Tables, context: &Context) -> anyhow::Result<Exit> {
    let server = signals(context)?.server;
    if let Some(problem) = &server.problem {
        context.say(&format!("the primary cannot be asked: {problem}"));
    }
    let mut tables = server.tables;
    tables.truncate(wish.limit);
    if context.json {
        context.print_json(&tables)?;
    } else {
        context.print(&render::signals::tables(&tables, wish.indexes, context.paint))?;
    }
    Ok(Exit::Done)
}

/// The proxy itself is asked, so it works while the controller is dead.
fn signals(context: &Context) -> anyhow::Result<Signals> {
    let path = context.place.state()?.signals_socket();
    let asked = super::simple_runtime()?.block_on(async {
        let asking = async {
            let mut connection = Connection::connect(&path).await?;
            connection.receive::<Signals>().await
        };
        tokio::time::timeout(LIMIT, asking).await
    });
    match asked.context("the PostgreSQL proxy did not answer in time")? {
        Ok(Some(signals)) => Ok(signals),
        Ok(None) => Err(anyhow::anyhow!("the PostgreSQL proxy ended before it answered")),
        Err(ControlError::Socket { source, .. })
            if matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Err(advised(
                anyhow::anyhow!("no PostgreSQL proxy runs here: statements are counted by it"),
                format!(
                    "`{} up` starts it, unless `direct = true` or `url` is set in [database]",
                    context.place.command()
                ),
            ))
        }
        Err(other) => Err(other.into()),
    }
}

/// The most first.
fn sort(statements: &mut [StatementSignal], order: QueryOrder) {
    statements.sort_by(|a, b| match order {
        QueryOrder::Load => b.recent.load.total_cmp(&a.recent.load),
        QueryOrder::Total => b.totals.total_us.cmp(&a.totals.total_us),
        QueryOrder::Calls => b.totals.calls.cmp(&a.totals.calls),
        QueryOrder::P99 => b.totals.p99_us.cmp(&a.totals.p99_us),
        QueryOrder::Errors => b.totals.errors.cmp(&a.totals.errors),
    });
}

/// Shows the plan, then performs this one or none.
fn switchover(wish: &Switchover, context: &Context) -> anyhow::Result<Exit> {
    let change = Change::Switchover { to: wish.to };
    let made = plan::made(change.clone(), context)?;
    if wish.plan {
        return plan::show(&made, context);
    }
    // The notes come with the end.
    if !context.json {
        context.say(render::plan::render(&made.text, &[], context.paint_err).trim_end());
    }
    apply::change_to(change, Some(made.config_hash), context)
}
