//! `banyan database`: what a person asks of the servers of the database.

use banyan_reconcile::proto::Change;

use super::{apply, plan};
use crate::cli::{Database, DatabaseWish, Switchover};
use crate::exit::Exit;
use crate::output::Context;
use crate::render;

pub(crate) fn run(args: &Database, context: &Context) -> anyhow::Result<Exit> {
    match &args.wish {
        DatabaseWish::Switchover(wish) => switchover(wish, context),
    }
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
