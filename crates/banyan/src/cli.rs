//! What can be typed: verbs, options and their help. No behaviour here.

pub(crate) mod advise;
pub(crate) mod alerts;
pub(crate) mod backup;
pub(crate) mod cdn;
pub(crate) mod database;
pub(crate) mod export;

use std::path::PathBuf;

use banyan_topology::PlaceName;
use clap::{Args, ColorChoice, Parser, Subcommand, ValueEnum};

use crate::render::paint::When;

/// Takes a web application from one server to many: edge, app instances and PostgreSQL under one command.
///
/// Exit codes: 0 done, 1 error, 2 changes (plan) or findings (check, doctor), 64 wrong usage.
#[derive(Debug, Parser)]
#[command(
    name = "banyan",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Example, in the folder of your app:\n  banyan init && banyan up\n\n\
                        Every verb has an example: banyan VERB --help"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The configuration; its folder also holds the state [default: banyan.toml]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "banyan.toml",
        hide_default_value = true
    )]
    pub(crate) config: PathBuf,
    /// Lay banyan.NAME.toml on top of the configuration
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) env: Option<String>,
    /// State, logs and data [default: .banyan beside the configuration]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Colour: auto (on a terminal, unless NO_COLOR is set), always, never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub(crate) color: When,
    /// Say more on stderr; twice: everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Look at this folder and write a commented banyan.toml
    #[command(after_help = "Example:\n  cd my-app && banyan init && banyan up")]
    Init(Init),
    /// Say which steps this app is ready for, and what stands in the way
    ///
    /// Starts one more instance outside the traffic and judges it: PORT, readiness, SIGTERM. With nothing running, the
    /// database is brought up for the trial and taken down again. Exit code 2: there are findings.
    #[command(after_help = "Example:\n  banyan check --static     # without starting anything")]
    Check(Check),
    /// Bring up what banyan.toml declares: edge, app, PostgreSQL
    ///
    /// Stays in the foreground; Ctrl-C stops everything in order, a second Ctrl-C at once. Children that outlived a
    /// killed controller are taken over as they run.
    #[command(after_help = "Example:\n  banyan up --detach && banyan status")]
    Up(Up),
    /// Stop everything in order; data stays
    #[command(after_help = "Example:\n  banyan down")]
    Down,
    /// What runs where, since when, how it is
    #[command(after_help = "Example:\n  banyan status --watch\n  banyan status --json | jq .children")]
    Status(Status),
    /// The system as it is now, in the terminal: what is wrong, rates, times, resources, statements, caches
    ///
    /// Drawn anew each second until Ctrl-C; once where stdout is no terminal.
    #[command(after_help = "Example:\n  banyan top\n  banyan top --json | jq .troubles")]
    Top(Top),
    /// The link that opens the dashboard in a browser of this machine
    #[command(after_help = "Example:\n  xdg-open \"$(banyan dashboard)\"")]
    Dashboard,
    /// Run a command as the app does: its environment, user and folder
    ///
    /// It gets what the instances of the serving release get: DATABASE_URL, secrets, [app.env], PORT (a free one). It is
    /// attached to this terminal, and its exit code is this one's (127: the program was not found).
    #[command(
        after_help = "Example:\n  banyan run -- ../../target/release/photos seed --users 200\n  \
                      banyan run -- sh -c 'psql \"$DATABASE_URL\"'"
    )]
    Run(Run),
    /// Logs of all children, merged by time
    #[command(
        after_help = "Example:\n  banyan logs -f -p web\n  banyan logs --since 1h --level error\n  banyan logs --trace 4bf92f35 --json"
    )]
    Logs(Logs),
    /// Where the time of a request went, or which requests were slow or failed
    #[command(after_help = "Example:\n  banyan trace --slow --since 1h\n  banyan trace 4bf92f35")]
    Trace(Trace),
    /// What is missing on this machine, and the command that installs it
    ///
    /// Exit code 2: there are findings.
    #[command(after_help = "Example:\n  banyan doctor")]
    Doctor,
    /// The resolved configuration, secrets masked
    #[command(
        after_help = "Example:\n  banyan --env production config\n  banyan config --manual    # every key, with comments"
    )]
    Config(Config),
    /// Which route of banyan.toml a request takes, and why
    #[command(
        after_help = "Example:\n  banyan route explain GET https://shop.example/api/x --header 'X-Beta: 1'"
    )]
    Route(Route),
    /// Content delivery: caches, purges, signed links
    #[command(after_help = "Example:\n  banyan cdn purge --tag news")]
    Cdn(cdn::Cdn),
    /// The steps from what runs to what banyan.toml says; changes nothing
    ///
    /// Exit code 0: nothing to do, 1: error, 2: changes.
    #[command(after_help = "Example:\n  banyan plan --out grow.plan && banyan apply grow.plan")]
    Plan(Plan),
    /// Perform the plan on the running system
    #[command(
        after_help = "Example:\n  banyan plan; banyan apply\n  banyan apply --resume     # go on with what was interrupted"
    )]
    Apply(Apply),
    /// Roll out the app anew: rolling, gated by readiness, undone by itself on failure
    #[command(after_help = "Example:\n  cargo build --release && banyan deploy")]
    Deploy,
    /// Go back to the release before, or to the one named
    #[command(after_help = "Example:\n  banyan rollback           # the one before\n  banyan rollback r3")]
    Rollback(Rollback),
    /// The servers of the database that Banyan runs
    #[command(
        after_help = "Example:\n  banyan database queries                # what takes the most time\n  \
                      banyan database tables --json\n  \
                      banyan database switchover             # to the first replica\n  banyan database switchover --to db2 --plan"
    )]
    Database(database::Database),
    /// Numbers of instances that follow their load: what they are, why, and a pause
    #[command(
        after_help = "Example:\n  banyan autoscale\n  banyan autoscale why\n  banyan autoscale --shadow\n  banyan autoscale pause"
    )]
    Autoscale(Autoscale),
    /// What fires, what has fired, and what nobody is to be told of for a while
    ///
    /// Reads and writes files of the installation: neither the controller nor the role that judges needs to run.
    #[command(after_help = "Example:\n  banyan alerts\n  banyan alerts history -n 50\n  \
                      banyan alerts silence replica-lag --for 2h --why 'moving db2'\n  banyan alerts unsilence replica-lag")]
    Alerts(alerts::Alerts),
    /// Which step of the ladder comes next, with the figures that say so
    ///
    /// Judges what was measured of the running system, and refuses where that is too little. Exit code 0: nothing is to be
    /// done, 1: error, 2: a step is due.
    #[command(
        after_help = "Example:\n  banyan advise\n  banyan advise --over 7d --json | jq .next\n  \
                      banyan advise --over 10m     # of a load test: as much as was measured, at least so much"
    )]
    Advise(advise::Advise),
    /// Alerting rules and dashboards for Prometheus, Alertmanager and Grafana
    ///
    /// The rules are those of `[alerts]`, over the page of `[metrics]`. Reads the configuration only; nothing needs to run.
    #[command(
        after_help = "Example:\n  banyan export prometheus --out /etc/prometheus/banyan.yml\n  \
                      banyan export alertmanager\n  banyan export grafana --out dashboards"
    )]
    Export(export::Export),
    /// The app's cache (`[cache]`): what it holds and how often it is of use
    #[command(after_help = "Example:\n  banyan cache stats\n  banyan cache stats --json | jq .hit_ratio")]
    Cache(Cache),
    /// Backups of the database: make one now, list them, prove that the last one can be restored
    #[command(after_help = "Example:\n  banyan backup list\n  banyan backup verify")]
    Backup(backup::Backup),
    /// Bring the database back as it was at a moment, in a folder of your choice or in its own place
    ///
    /// Copies the last backup before that moment, replays the log up to it, and leaves a data directory that starts. Nothing
    /// that runs is touched. Needs the configuration and the backups only, so it works on a new machine, too.
    #[command(
        after_help = "Example:\n  banyan restore --at '2026-11-22 07:05:40' --into /srv/yesterday\n  \
                      banyan restore --latest --in-place && banyan up     # after the loss of the machine"
    )]
    Restore(backup::Restore),
    /// Have edges forget what they have stored, and wait until all have
    ///
    /// Exit code 1: an edge did not say in time that it has (5 s); it is named, and what was purged stays so.
    #[command(
        after_help = "Example:\n  banyan purge https://shop.example/img/7.jpg\n  banyan purge --tag news --prefix https://shop.example/list/\n  \
                      banyan purge --all --hard"
    )]
    Purge(cdn::Purge),
    /// How to make browsers and programs trust this installation's own certificates (`tls = "self-signed"`)
    #[command(
        after_help = "Example:\n  banyan trust\n  curl --cacert \"$(banyan --json trust | jq -r .authority)\" https://localhost:8443/"
    )]
    Trust,
    /// Delete state and data of this installation, after asking; refused while it runs
    #[command(after_help = "Example:\n  banyan down && banyan destroy")]
    Destroy(Destroy),
    /// Print the completion script of a shell
    #[command(
        after_help = "Example:\n  banyan completions bash > ~/.local/share/bash-completion/completions/banyan"
    )]
    Completions(Completions),
    /// The version of this program
    #[command(after_help = "Example:\n  banyan version --json")]
    Version,
    /// A process of the data plane, started by the controller
    #[command(hide = true)]
    Role(Role),
    /// The controller in the background, started by `up --detach`
    #[command(hide = true)]
    Controller(Controller),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The app's folder [default: the folder of --config]
    pub(crate) dir: Option<PathBuf>,
    /// Overwrite an existing banyan.toml
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Read the configuration only; start nothing
    #[arg(long = "static")]
    pub(crate) only_static: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Return once it serves; the controller goes on in the background
    #[arg(short, long)]
    pub(crate) detach: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Show it anew each second until Ctrl-C
    #[arg(short, long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Show it once
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Whose environment it gets [default: that of the process which gets the requests]
    #[arg(short, long, value_name = "NAME")]
    pub(crate) process: Option<String>,
    /// The program and its arguments, in the app's folder; no shell takes them apart
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Go on with what comes
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only this process (web), instance (web.1) or child (edge, postgres, controller); may be repeated
    #[arg(short, long, value_name = "NAME")]
    pub(crate) process: Vec<String>,
    /// How many of the last lines to begin with, per child [default: 20; all that match, where something is asked for]
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) lines: Option<usize>,
    /// Only lines from then on: how long ago (10m, 2h, 1d), or a moment in UTC (2026-01-31T12:00)
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<crate::logs::Since>,
    /// Only lines from before then
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<crate::logs::Since>,
    /// Only lines of this level or worse; a request's is that of its status
    #[arg(long, value_name = "LEVEL")]
    pub(crate) level: Option<LogLevel>,
    /// Only lines of this trace; the beginning of its id is enough
    #[arg(long, value_name = "ID")]
    pub(crate) trace: Option<String>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "PATTERN")]
    pub(crate) grep: Option<regex::Regex>,
}

#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// Id of a trace or its beginning; without it: a list, the newest first
    #[arg(value_name = "ID")]
    pub(crate) id: Option<String>,
    /// The longest first
    #[arg(long, conflicts_with = "id")]
    pub(crate) slow: bool,
    /// Only those that failed
    #[arg(long, conflicts_with = "id")]
    pub(crate) failed: bool,
    /// Only from then on: how long ago (10m, 2h, 1d), or a moment in UTC (2026-01-31T12:00)
    #[arg(long, value_name = "WHEN", conflicts_with = "id")]
    pub(crate) since: Option<crate::logs::Since>,
    /// How many at most [default: 20]
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value_t = 20,
        hide_default_value = true
    )]
    pub(crate) lines: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl From<LogLevel> for banyan_telemetry::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Trace => Self::Trace,
            LogLevel::Debug => Self::Debug,
            LogLevel::Info => Self::Info,
            LogLevel::Warn => Self::Warn,
            LogLevel::Error => Self::Error,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Config {
    /// Print the commented default file instead: the manual of every key
    #[arg(long)]
    pub(crate) manual: bool,
    /// Print the JSON schema of banyan.toml instead
    #[arg(long, conflicts_with = "manual")]
    pub(crate) schema: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Route {
    #[command(subcommand)]
    pub(crate) question: RouteQuestion,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RouteQuestion {
    /// Every route in the order in which they are asked: which one answers, and why the others do not
    ///
    /// Reads the configuration only; nothing needs to run.
    Explain(Explain),
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// For example GET
    pub(crate) method: String,
    /// With scheme and domain, as a browser shows it
    pub(crate) url: String,
    /// A header of the request, as `Name: value`; may be repeated
    #[arg(long, value_name = "HEADER", value_parser = header)]
    pub(crate) header: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Plan a deploy: a new release even if nothing changed
    #[arg(long)]
    pub(crate) deploy: bool,
    /// Save the plan; `banyan apply FILE` performs this one or refuses when it is stale
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// A plan saved by `banyan plan --out`
    #[arg(value_name = "PLAN")]
    pub(crate) plan: Option<PathBuf>,
    /// Go on with the plan that was interrupted
    #[arg(long, conflicts_with = "plan")]
    pub(crate) resume: bool,
    /// Undo the steps of the plan that was interrupted, or else of the last one
    #[arg(long, conflicts_with_all = ["plan", "resume"])]
    pub(crate) revert: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// For example r3 [default: the one before the current]
    #[arg(value_name = "RELEASE", value_parser = release)]
    pub(crate) to: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Autoscale {
    /// What would have been done where `shadow = true`, newest last; needs no controller
    #[arg(long)]
    pub(crate) shadow: bool,
    #[command(subcommand)]
    pub(crate) action: Option<AutoscaleAction>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum AutoscaleAction {
    /// How many there are and should be, why, and the last changes
    Status,
    /// The last decision: what was measured, what that asks for, and which limit bound it
    #[command(
        after_help = "Example:\n  banyan autoscale why\n  banyan autoscale why --json | jq '.[].bounds'"
    )]
    Why,
    /// Change nothing until `banyan autoscale resume`
    Pause,
    /// Follow the load again
    Resume,
}

#[derive(Debug, Args)]
pub(crate) struct Cache {
    #[command(subcommand)]
    pub(crate) wish: CacheWish,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheWish {
    /// Hit ratio, memory, keys, evictions, as its server counts them since it started; loads, waits, invalidations of the app's processes
    #[command(after_help = "Example:\n  banyan cache stats --json | jq .hit_ratio")]
    Stats,
    /// Compare entries that the app reads with the database, and say how many are right; exit code 2 if one is wrong
    ///
    /// While it runs, processes of the app (with the SDK) ask the database as well on some of their hits, at most 200 each. What
    /// differs and is gone within three seconds was about to be invalidated: late. What stays is wrong, and its key is named.
    #[command(after_help = "Example:\n  banyan cache audit --seconds 30")]
    Audit {
        /// How long samples are taken
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Destroy {
    /// Do not ask; NAME must be the name in banyan.toml
    #[arg(long, value_name = "NAME")]
    pub(crate) yes_delete_data: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Role {
    pub(crate) role: RoleName,
    /// Of the edge: which of its places
    #[arg(long)]
    pub(crate) place: Option<PlaceName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleName {
    Edge,
    /// The PostgreSQL proxy.
    Pgproxy,
    /// Keeps what is measured, and shows it.
    Observe,
}

#[derive(Debug, Args)]
pub(crate) struct Controller {}

/// `Name: value`.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| format!("`{text}` is not a header; they look like `X-Beta: 1`"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// `r3` or `3`.
fn release(text: &str) -> Result<u32, String> {
    text.strip_prefix('r')
        .unwrap_or(text)
        .parse()
        .map_err(|_| format!("`{text}` is not a release; they look like r3"))
}

impl From<When> for ColorChoice {
    fn from(when: When) -> Self {
        match when {
            When::Auto => Self::Auto,
            When::Always => Self::Always,
            When::Never => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use expect_test::expect_file;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_is_as_reviewed() {
        let mut command = Cli::command().color(ColorChoice::Never).term_width(100);
        command.build();
        expect_file!["../tests/help/banyan.txt"].assert_eq(&command.render_long_help().to_string());
        for verb in command.get_subcommands_mut().filter(|c| !c.is_hide_set()) {
            let path = format!(
                "{}/tests/help/{}.txt",
                env!("CARGO_MANIFEST_DIR"),
                verb.get_name()
            );
            if verb.get_name() != "help" {
                expect_file![path].assert_eq(&verb.render_long_help().to_string());
            }
        }
    }

    #[test]
    fn every_verb_has_an_example() {
        for verb in Cli::command().get_subcommands().filter(|c| !c.is_hide_set()) {
            let after = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.contains("Example"), "{} has no example", verb.get_name());
        }
    }

    #[test]
    fn the_reference_names_every_verb_and_every_option() {
        let reference = include_str!("../../../docs/reference/cli.md");
        let mut command = Cli::command();
        command.build();
        for verb in command
            .get_subcommands()
            .filter(|c| !c.is_hide_set() && c.get_name() != "help")
        {
            let heading = format!("### banyan {}", verb.get_name());
            assert!(
                reference.contains(&heading),
                "docs/reference/cli.md lacks `{heading}`"
            );
            for option in verb.get_arguments().filter_map(|argument| argument.get_long()) {
                let known = option == "help" || reference.contains(&format!("--{option}"));
                assert!(
                    known,
                    "docs/reference/cli.md lacks --{option} of {}",
                    verb.get_name()
                );
            }
        }
    }

    #[test]
    fn a_release_may_be_written_with_or_without_its_r() {
        assert_eq!(release("r3"), Ok(3));
        assert_eq!(release("12"), Ok(12));
        assert!(release("three").unwrap_err().contains("r3"));
    }
}
