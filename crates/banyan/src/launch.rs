//! `banyan launch … -- ARGV`: the shim; becomes the child it launches.

use crate::cli::Launch;
use crate::exit::Exit;

pub(crate) fn run(_args: &Launch) -> anyhow::Result<Exit> {
    anyhow::bail!("the launch shim is not built yet")
}
