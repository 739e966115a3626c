//! `banyan init`
use crate::cli::Init;
use crate::exit::Exit;
use crate::output::Context;

pub(crate) fn run(_args: &Init, _context: &Context) -> anyhow::Result<Exit> {
    anyhow::bail!("init is not built yet")
}
