//! `banyan role NAME`: a process of the data plane.

use crate::cli::{Role, RoleName};
use crate::exit::Exit;
use crate::output::Context;

pub(crate) fn run(args: &Role, _context: &Context) -> anyhow::Result<Exit> {
    match args.role {
        RoleName::Edge => anyhow::bail!("the edge is not built yet"),
    }
}
