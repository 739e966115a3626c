//! What the console understands.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Show(Show),
    Do(Action),
    /// EXPLAIN ROUTE.
    Explain(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    Pools,
    Clients,
    Servers,
    Stats,
    Databases,
    Nodes,
    Holds,
    Pins,
    Prepared,
    Refusals,
    Queries,
    Tables,
    Waits,
    Lag,
    Version,
    Help,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// An operator's hold; it ends by itself.
    Pause(Duration),
    Resume,
    /// Idle backends are closed, others when they come back.
    Reconnect,
    /// A client by its number in SHOW CLIENTS.
    Kill(u32),
}

/// PAUSE without a limit.
const PAUSE: Duration = Duration::from_secs(30);

const SHOWS: [(&str, Show, &[&str]); 16] = [
    (
        "pools",
        Show::Pools,
        &[
            "database",
            "user",
            "node",
            "address",
            "idle",
            "total",
            "waiting",
            "pinned",
            "longest_wait_ms",
        ],
    ),
    (
        "clients",
        Show::Clients,
        &["number", "user", "peer", "state", "pinned_by", "age_s"],
    ),
    (
        "servers",
        Show::Servers,
        &[
            "id",
            "node",
            "pid",
            "user",
            "client",
            "units",
            "statements",
            "age_s",
        ],
    ),
    ("stats", Show::Stats, &["name", "value"]),
    ("databases", Show::Databases, &["name", "value"]),
    (
        "nodes",
        Show::Nodes,
        &[
            "node",
            "address",
            "state",
            "role",
            "weight",
            "zone",
            "lag_bytes",
            "lag_ms",
            "reason",
        ],
    ),
    ("holds", Show::Holds, &["worker", "state", "waiting", "limit_ms"]),
    ("pins", Show::Pins, &["number", "user", "reason"]),
    ("prepared", Show::Prepared, &["name", "users", "statement"]),
    ("refusals", Show::Refusals, &["code", "rule", "count", "last"]),
    (
        "queries",
        Show::Queries,
        &[
            "id",
            "calls",
            "errors",
            "total_us",
            "max_us",
            "calls_per_s",
            "p50_us",
            "p99_us",
            "reads_only",
            "on_replicas",
            "statement",
        ],
    ),
    (
        "tables",
        Show::Tables,
        &[
            "schema",
            "table",
            "bytes",
            "index_bytes",
            "live_rows",
            "dead_rows",
            "sequential_scans",
            "index_scans",
            "changes",
        ],
    ),
    ("waits", Show::Waits, &["type", "event", "percent"]),
    (
        "lag",
        Show::Lag,
        &[
            "node",
            "bytes",
            "ms",
            "most_1min_ms",
            "most_5min_ms",
            "most_1h_ms",
        ],
    ),
    ("version", Show::Version, &["version"]),
    ("help", Show::Help, &["command"]),
];

impl Command {
    /// `Err`: what was not understood, in words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_ascii_lowercase).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["show", what] => SHOWS
                .iter()
                .find(|(name, ..)| name == what)
                .map(|(_, show, _)| Self::Show(*show))
                .ok_or_else(|| format!("there is no SHOW {}", what.to_ascii_uppercase())),
            ["pause"] => Ok(Self::Do(Action::Pause(PAUSE))),
            ["pause", "limit", limit] => duration(limit).map(|limit| Self::Do(Action::Pause(limit))),
            ["resume"] => Ok(Self::Do(Action::Resume)),
            ["reconnect"] => Ok(Self::Do(Action::Reconnect)),
            ["kill", number] => {
                let number = number.parse();
                let number = number.map_err(|_| "KILL takes a number of SHOW CLIENTS".to_owned())?;
                Ok(Self::Do(Action::Kill(number)))
            }
            ["explain", "route", _, ..] => {
                let at = text.to_ascii_lowercase().find("route").unwrap_or_default() + "route".len();
                Ok(Self::Explain(text[at..].trim().to_owned()))
            }
            _ => Err(format!("the console does not understand `{}`", shorten(text))),
        }
    }

    pub(super) fn columns(&self) -> Option<&'static [&'static str]> {
        match self {
            Self::Show(what) => {
                let found = SHOWS.iter().find(|(_, show, _)| show == what);
                found.map(|(_, _, columns)| *columns)
            }
            Self::Explain(_) => Some(&["name", "value"]),
            Self::Do(_) => None,
        }
    }
}

impl Action {
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::Pause(_) => "PAUSE",
            Self::Resume => "RESUME",
            Self::Reconnect => "RECONNECT",
            Self::Kill(_) => "KILL",
        }
    }
}

/// What SHOW HELP lists.
pub(super) fn help() -> Vec<Vec<String>> {
    let shows = SHOWS
        .iter()
        .map(|(name, ..)| format!("SHOW {}", name.to_ascii_uppercase()));
    let others = [
        "PAUSE [LIMIT 30s]",
        "RESUME",
        "RECONNECT",
        "KILL number",
        "EXPLAIN ROUTE sql",
    ];
    shows
        .chain(others.map(str::to_owned))
        .map(|line| vec![line])
        .collect()
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

/// `30s`, `500ms`, `2min`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{text}` is no duration; write 30s"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "min" => Ok(Duration::from_secs(number * 60)),
        _ => Err(format!("`{text}` is no duration; write 30s")),
    }
}

/// The statements of a text; EXPLAIN ROUTE takes the rest of the text, semicolons and all.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    let explain = text.trim_start().to_ascii_lowercase().starts_with("explain");
    let whole = explain.then_some(text.trim().trim_end_matches(';'));
    let parts = (!explain).then(|| text.split(';').map(str::trim).filter(|part| !part.is_empty()));
    whole.into_iter().chain(parts.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_understood_in_any_case_and_others_named() {
        let parse = |text| Command::parse(text);
        assert_eq!(parse("Show POOLS"), Ok(Command::Show(Show::Pools)));
        assert_eq!(parse("pause"), Ok(Command::Do(Action::Pause(PAUSE))));
        assert_eq!(
            parse("PAUSE LIMIT 2min"),
            Ok(Command::Do(Action::Pause(Duration::from_secs(120))))
        );
        assert_eq!(parse("kill 7"), Ok(Command::Do(Action::Kill(7))));
        assert_eq!(
            parse("EXPLAIN ROUTE SELECT 1"),
            Ok(Command::Explain("SELECT 1".into()))
        );
        for (text, why) in [
            ("SHOW LOVE", "there is no SHOW LOVE"),
            ("DROP TABLE x", "the console does not understand `DROP TABLE x`"),
            ("KILL all", "KILL takes a number of SHOW CLIENTS"),
            ("PAUSE LIMIT x", "`x` is no duration; write 30s"),
        ] {
            assert_eq!(parse(text), Err(why.to_owned()));
        }
    }

    #[test]
    fn statements_are_split_and_every_show_has_columns() {
        assert_eq!(
            split(" show pools; ; resume;").collect::<Vec<_>>(),
            ["show pools", "resume"]
        );
        assert_eq!(
            split("explain route select ';';").collect::<Vec<_>>(),
            ["explain route select ';'"]
        );
        for (_, show, columns) in SHOWS {
            assert_eq!(Command::Show(show).columns(), Some(columns));
        }
    }
}
