//! `banyan database …`

use banyan_topology::NodeId;
use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct Database {
    #[command(subcommand)]
    pub(crate) wish: DatabaseWish,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DatabaseWish {
    /// Make a replica the primary while statements wait; the former primary follows it
    ///
    /// No statement fails: open transactions may run on for `pgproxy.grace`; if one does not end, nothing changes.
    /// Interrupted, it goes on by `banyan apply --resume`; `banyan apply --revert` goes back.
    Switchover(Switchover),
    /// Statements by their shape: how many, how long, which a replica may answer; what sessions wait for
    ///
    /// Counted by the proxy since it started (`database.pgproxy.measure`), values left out. RATE, LOAD, MEAN and P99 are of the
    /// last one to two minutes; a load of 1.0 keeps one connection busy.
    Queries(Queries),
    /// Tables by size, with their indexes: rows, dead rows, scans
    Tables(Tables),
}

#[derive(Debug, Args)]
pub(crate) struct Queries {
    /// What comes first
    #[arg(long, value_enum, default_value_t = QueryOrder::Load)]
    pub(crate) sort: QueryOrder,
    /// How many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    /// Statements in full; they are cut to fit a line otherwise
    #[arg(long)]
    pub(crate) full: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueryOrder {
    /// Time per second of the last minutes
    Load,
    /// Time since the proxy started
    Total,
    Calls,
    P99,
    Errors,
}

#[derive(Debug, Args)]
pub(crate) struct Tables {
    /// How many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    /// Indexes, too
    #[arg(long)]
    pub(crate) indexes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Switchover {
    /// For example db2 [default: the first replica]
    #[arg(long, value_name = "SERVER", value_parser = server)]
    pub(crate) to: Option<NodeId>,
    /// Show the steps only; changes nothing. Exit code 2, as of `banyan plan`
    #[arg(long)]
    pub(crate) plan: bool,
}

/// `db2`.
fn server(text: &str) -> Result<NodeId, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a server; they look like db2"))
}
