//! `banyan alerts …`

use std::time::Duration;

use banyan_config::AlertRule;
use banyan_config::units::parse_duration;
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Alerts {
    #[command(subcommand)]
    pub(crate) action: Option<AlertsAction>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlertsAction {
    /// What fires, what is pending, what is silenced (the default)
    List,
    /// What has happened, oldest first
    History(History),
    /// Tell nobody of a rule for a while
    #[command(after_help = "Example:\n  banyan alerts silence replica-lag --for 2h --why 'moving db2'")]
    Silence(Silence),
    /// End a silence
    Unsilence(Unsilence),
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// So many of the newest changes
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 20)]
    pub(crate) lines: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Silence {
    /// A rule of docs/alerts.md, or `all`
    #[arg(value_parser = which)]
    pub(crate) rule: Which,
    /// For how long: 30m, 2h, 1d
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub(crate) time: Duration,
    /// Why, for others who look
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: String,
}

#[derive(Debug, Args)]
pub(crate) struct Unsilence {
    /// The rule, or `all`, as it was silenced
    #[arg(value_parser = which)]
    pub(crate) rule: Which,
}

/// One rule, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Which(pub(crate) Option<AlertRule>);

fn which(text: &str) -> Result<Which, String> {
    if text == "all" {
        return Ok(Which(None));
    }
    text.parse().map(|rule| Which(Some(rule))).map_err(|_| {
        let names = AlertRule::ALL.map(AlertRule::name);
        format!("rules are: all, {}", names.join(", "))
    })
}

fn time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| "write for example 30m, 2h or 1d".to_owned())
}
