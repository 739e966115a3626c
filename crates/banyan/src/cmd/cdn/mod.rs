//! `banyan cdn …`

mod sign;

use crate::cli::cdn::{Cdn, CdnAction};
use crate::exit::Exit;
use crate::output::Context;

pub(crate) fn run(args: &Cdn, context: &Context) -> anyhow::Result<Exit> {
    match &args.action {
        CdnAction::Sign(args) => sign::run(args, context),
        CdnAction::Purge(args) => super::purge::run(args, context),
    }
}
