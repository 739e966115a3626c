//! `banyan cdn …`

use std::path::PathBuf;
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
    /// Ask the edge for URLs, one after another, so that it has them before users ask
    ///
    /// Exit code 1: some could not be had; what is not kept is named with the reason.
    #[command(
        after_help = "Example:\n  banyan cdn warm https://shop.example/ https://shop.example/news\n  \
                      banyan cdn warm --manifest dist/manifest.json --base https://shop.example/assets --rate 100"
    )]
    Warm(Warm),
    /// Put files into every edge's cache before anybody asks for them
    ///
    /// A folder: its files are given to each edge of this machine, which checks and keeps them; the app is asked nothing. A file
    /// of URLs: each edge fetches them. Exit code 1: an edge has not taken all of it; which and why is named.
    #[command(
        after_help = "Example:\n  banyan cdn push dist/assets --base https://shop.example/assets \\\n      \
                      --cache-control 'public, max-age=31536000, immutable'\n  banyan cdn push urls.txt"
    )]
    Push(Push),
    /// How much the caches answer: by requests and by bytes, per route, what they do not and why
    #[command(after_help = "Example:\n  banyan --json cdn stats | jq '.routes[] | {route, results}'")]
    Stats,
    /// What would become of a GET of this URL: key, rule, what is stored, why not, how old it can get
    ///
    /// Asks the edges; the app is asked nothing.
    #[command(
        after_help = "Example:\n  banyan cdn explain https://shop.example/list?page=2 --header 'Accept-Language: de'"
    )]
    Explain(CdnExplain),
    /// The same as `banyan purge`
    #[command(after_help = "Example:\n  banyan cdn purge --tag news")]
    Purge(Purge),
}

#[derive(Debug, Args)]
pub(crate) struct Warm {
    /// Whole URLs, or what stands behind --base
    #[arg(value_name = "URL")]
    pub(crate) urls: Vec<String>,
    /// A file of the sitemap protocol
    #[arg(long, value_name = "FILE")]
    pub(crate) sitemap: Option<PathBuf>,
    /// What a bundler wrote: names and their files (webpack, Vite)
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// Where URLs without scheme and host are
    #[arg(long, value_name = "URL")]
    pub(crate) base: Option<String>,
    /// Requests a second at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) rate: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Push {
    /// A folder, or a file with a URL per line
    #[arg(value_name = "DIR|FILE")]
    pub(crate) source: PathBuf,
    /// Where the files of the folder are asked for; where URLs without scheme and host are
    #[arg(long, value_name = "URL")]
    pub(crate) base: Option<String>,
    /// What answers say of how long they are kept [default: the rule of their path]
    #[arg(long, value_name = "TEXT")]
    pub(crate) cache_control: Option<String>,
    /// Files or requests a second at most
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) rate: u32,
}

#[derive(Debug, Args)]
pub(crate) struct CdnExplain {
    /// With scheme and domain, as clients ask for it
    pub(crate) url: String,
    /// A header of the request, as `Name: value`; may be repeated
    #[arg(long, value_name = "HEADER", value_parser = super::header)]
    pub(crate) header: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// Whole URLs, as clients ask for them; every variant goes
    #[arg(value_name = "URL")]
    pub(crate) urls: Vec<String>,
    /// All that begins so, up to its last slash: `https://shop.example/img/`; may be repeated
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
