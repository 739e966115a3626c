//! `banyan cdn …`

use std::time::Duration;

use banyan_config::Network;
use banyan_config::units::parse_duration;
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Cdn {
    #[command(subcommand)]
    pub(crate) action: CdnAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CdnAction {
    /// Make a link that opens what a route with signed links has, until it expires
    ///
    /// Reads the configuration and the key file only; nothing needs to run. The first key of the file signs.
    #[command(
        after_help = "Example:\n  banyan cdn sign https://shop.example/private/a.jpg --expires 1h\n  \
                      banyan cdn sign https://shop.example/albums/7/ --prefix --expires 7d"
    )]
    Sign(Sign),
    /// The same as `banyan purge`
    #[command(after_help = "Example:\n  banyan cdn purge --tag news")]
    Purge(Purge),
}

#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// Whole URLs, as clients ask for them; every variant goes
    #[arg(value_name = "URL")]
    pub(crate) urls: Vec<String>,
    /// All that begins so, up to its last slash: https://shop.example/img/; may be repeated
    #[arg(long, value_name = "URL")]
    pub(crate) prefix: Vec<String>,
    /// `*` is any run of characters: 'https://*/*.css'; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub(crate) glob: Vec<String>,
    /// A name from Surrogate-Key, Cache-Tag or a rule; may be repeated
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// Everything
    #[arg(long)]
    pub(crate) all: bool,
    /// Of no use from now on, not even while the app is down [default: validated before long]
    #[arg(long)]
    pub(crate) hard: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// With or without scheme and domain; which domain it is does not count
    pub(crate) url: String,
    /// How long it opens: 90s, 15m, 1h, 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub(crate) expires: Duration,
    /// All below the path, which ends with /: put the printed parameters behind each address
    #[arg(long)]
    pub(crate) prefix: bool,
    /// Only for this address or network
    #[arg(long, value_name = "NETWORK")]
    pub(crate) client: Option<Network>,
    /// Which [auth.NAME] with `signed` [default: the one of the route, or the only one]
    #[arg(long, value_name = "NAME")]
    pub(crate) auth: Option<String>,
    /// Which key of its file [default: the first]
    #[arg(long, value_name = "NAME")]
    pub(crate) key: Option<String>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let known = parse_duration(text).filter(|time| time.as_secs() > 0);
    known.ok_or_else(|| format!("`{text}` is no time; they look like 90s, 15m, 1h, 7d"))
}
