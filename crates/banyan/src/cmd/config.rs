//! `banyan config`
use crate::cli::Config;
use crate::exit::Exit;
use crate::output::Context;

pub(crate) fn run(_args: &Config, _context: &Context) -> anyhow::Result<Exit> {
    anyhow::bail!("config is not built yet")
}
