//! `banyan advise`.

use std::time::Duration;

use banyan_config::units::parse_duration;
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Advise {
    /// Look at so much of the past; when it is less than 30 min, less is enough: 10m, 24h, 7d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    pub(crate) over: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    let known = parse_duration(text).filter(|time| time.as_secs() > 0);
    known.ok_or_else(|| format!("`{text}` is no time; they look like 10m, 24h, 7d"))
}
