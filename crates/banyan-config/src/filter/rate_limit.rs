//! `rate_limit`: how many requests are let through, and whose count together.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Filters;
use crate::auth::{Auth, AuthBy};
use crate::read::Reader;
use crate::report::Report;
use crate::units::{duration, format_duration, parse_duration};

/// The name of limits that are written in `[edge]`: requests of all routes that inherit them count together.
const OF_THE_EDGE: &str = "*";
/// For a whole burst to be allowed again: more is a mistake, and times beyond it are not counted.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// At most `burst` at once, and `count` per `per` over any longer time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Of its policy: the route's name, with `-2`, `-3`, … for its further ones; `*` for the edge's.
    pub name: String,
    /// At least 1.
    pub count: u32,
    /// More than zero.
    #[serde(with = "duration")]
    pub per: Duration,
    /// At least 1.
    pub burst: u32,
    pub by: RateBy,
}

/// Whose requests are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateBy {
    /// The client's address; a /64 where it is IPv6.
    Ip,
    /// Who has logged in (JWT, basic). Others are not counted.
    User,
    /// The API key. Others are not counted.
    Key,
    /// All requests.
    Route,
    /// The value of a request header, its name in lower case.
    Header(String),
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, rate, burst) = (&self.name, self.rate(), self.burst);
        let by = match &self.by {
            RateBy::Ip => "client address".to_owned(),
            RateBy::User => "user".to_owned(),
            RateBy::Key => "API key".to_owned(),
            RateBy::Route if name == OF_THE_EDGE => "the whole edge".to_owned(),
            RateBy::Route => "the whole route".to_owned(),
            RateBy::Header(name) => format!("value of {name}"),
        };
        write!(f, "rate limit {name}: {rate} per {by}, {burst} at once")
    }
}

impl RateLimit {
    /// As it is written.
    pub(crate) fn rate(&self) -> String {
        format!("{}/{}", self.count, format_duration(self.per))
    }
}

/// `100/1s`; `None`: it is none.
pub(crate) fn parse_rate(text: &str) -> Option<(u32, Duration)> {
    let (count, per) = text.split_once('/')?;
    let count: u32 = count.trim().parse().ok()?;
    let per = parse_duration(per.trim())?;
    ((1..=1_000_000).contains(&count) && !per.is_zero() && per <= LONGEST).then_some((count, per))
}

pub(super) fn build(
    table: &Reader<'_>,
    of: Option<&str>,
    inherited: &[RateLimit],
    report: &Report,
) -> Vec<RateLimit> {
    if !table.has("rate_limit") {
        return inherited.to_vec();
    }
    let tables = table.tables("rate_limit");
    let limits = tables
        .iter()
        .enumerate()
        .filter_map(|(n, table)| limit(&table.value, name(of, n), report));
    limits.collect()
}

/// A limit by who somebody is needs somebody who says it.
pub(super) fn has_identity(
    table: &Reader<'_>,
    filters: &Filters,
    known: &BTreeMap<String, Auth>,
    report: &Report,
) {
    let Some(entry) = table.entry("rate_limit").or(table.entry("auth")) else {
        return;
    };
    let ways = filters.auth.iter().filter_map(|name| known.get(name));
    for limit in &filters.rate_limits {
        let (by, way) = match limit.by {
            RateBy::User => ("user", "jwks or users"),
            RateBy::Key => ("key", "keys"),
            RateBy::Ip | RateBy::Route | RateBy::Header(_) => continue,
        };
        let names = |auth: &Auth| match auth.by {
            AuthBy::Keys { .. } => limit.by == RateBy::Key,
            AuthBy::Jwt(_) | AuthBy::Users { .. } => limit.by == RateBy::User,
            AuthBy::Links { .. } => false,
        };
        if !ways.clone().any(names) {
            let help = format!("write auth = [\"…\"] with the name of an [auth] table that has {way}");
            let message = format!("a limit by {by} counts nobody: nobody says who they are that way");
            report.error(&entry.place, message, &[&help]);
        }
    }
}

fn name(of: Option<&str>, n: usize) -> String {
    let of = of.unwrap_or(OF_THE_EDGE);
    if n == 0 {
        of.to_owned()
    } else {
        format!("{of}-{}", n + 1)
    }
}

fn limit(table: &Reader<'_>, name: String, report: &Report) -> Option<RateLimit> {
    let rate = table.text("rate")?;
    let (count, per) = parse_rate(&rate.value)?;
    let burst = table.integer("burst");
    let limit = RateLimit {
        name,
        count,
        per,
        burst: burst
            .as_ref()
            .and_then(|burst| u32::try_from(burst.value).ok())
            .unwrap_or(count),
        by: by(table, report),
    };
    if per
        .checked_mul(limit.burst)
        .is_none_or(|all| all / count > LONGEST)
    {
        let help = "a burst must be allowed again within a year: write a smaller burst or a higher rate";
        let place = burst.map_or(rate.place, |burst| burst.place);
        report.error(
            &place,
            format!("a burst of {} takes too long at {}", limit.burst, limit.rate()),
            &[help],
        );
    }
    Some(limit)
}

fn by(table: &Reader<'_>, report: &Report) -> RateBy {
    let (by, header) = (table.text_or_default("by"), table.text("header"));
    match (by.as_str(), header) {
        ("header", Some(header)) => RateBy::Header(header.value.to_ascii_lowercase()),
        ("header", None) => {
            if let Some(by) = table.text("by") {
                let help = "write header = \"x-tenant\" beside it";
                report.error(&by.place, "by = \"header\" needs the header's name", &[help]);
            }
            RateBy::Ip
        }
        (_, Some(header)) => {
            let help = "write by = \"header\", or remove `header`";
            report.error(
                &header.place,
                format!("`header` does nothing with by = \"{by}\""),
                &[help],
            );
            RateBy::Ip
        }
        ("user", None) => RateBy::User,
        ("key", None) => RateBy::Key,
        ("route", None) => RateBy::Route,
        _ => RateBy::Ip,
    }
}
