//! `banyan export …`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// What it is for
    pub(crate) what: What,
    /// Write it there instead of to stdout: a file; of grafana a folder, which gets a file for each dashboard
    #[arg(long, value_name = "PATH")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// Alerting rules, for rule_files
    Prometheus,
    /// Receivers, and who mutes whom: alertmanager.yml
    Alertmanager,
    /// Five dashboards: requests, resources, database, cache, scaling
    Grafana,
}
