//! `banyan cdn …`

mod push;
mod sight;
mod sign;
pub(super) mod warm;

use crate::cli::cdn::{Cdn, CdnAction};
use crate::exit::Exit;
use crate::output::Context;

pub(crate) fn run(args: &Cdn, context: &Context) -> anyhow::Result<Exit> {
    match &args.action {
        CdnAction::Sign(args) => sign::run(args, context),
        CdnAction::Push(args) => push::run(args, context),
        CdnAction::Warm(args) => warm::run(args, context),
        CdnAction::Stats => sight::stats(context),
        CdnAction::Explain(args) => sight::explain(args, context),
        CdnAction::Purge(args) => super::purge::run(args, context),
    }
}
