//! `[alerts]`: when somebody is told, and who.

mod mail;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::files::Files;
use crate::fraction::Fraction;
use crate::model::EdgeTable;
use crate::nearest::{list, nearest};
use crate::read::{Reader, Spot, number};
use crate::report::{Place, Report};
use crate::tree::{Entry, Value};
use crate::units::{duration, duration_if_any, parse_duration};
pub use mail::{Mail, MailServer};

/// When somebody is told, and who.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alerts {
    /// How often rules are judged. Default 30 s.
    #[serde(with = "duration")]
    pub every: Duration,
    /// An alert is over when its condition did not hold for so long. Default 1 min.
    #[serde(with = "duration")]
    pub clear: Duration,
    /// Share of requests without server error in 30 days. Default 0.999.
    pub slo: Fraction,
    /// Routes that are judged on their own.
    pub critical: Vec<String>,
    /// What is other than by default.
    pub rules: BTreeMap<AlertRule, RuleChange>,
    pub to: BTreeMap<String, AlertReceiver>,
}

/// A rule by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertRule {
    ErrorsMost,
    ErrorsCritical,
    NoInstance,
    NoPrimary,
    BudgetFast,
    ErrorsHigh,
    LatencyHigh,
    BudgetMedium,
    ReplicaLag,
    SessionsDown,
    DiskFull,
    DiskFilling,
    CertificateExpires,
    NoData,
    ErrorsSome,
    BudgetSlow,
    QueriesSlow,
    CacheMisses,
    MemoryHigh,
}

/// The unit of a rule's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitUnit {
    Share,
    Time,
    Factor,
    /// The rule has no limit.
    None,
}

/// A rule's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    Share(Fraction),
    Time(#[serde(with = "duration")] Duration),
    /// In thousandths.
    Factor(u32),
}

/// What of a rule is other than by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleChange {
    pub enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    #[serde(
        default,
        rename = "for",
        with = "duration_if_any",
        skip_serializing_if = "Option::is_none"
    )]
    pub hold: Option<Duration>,
    #[serde(default, with = "duration_if_any", skip_serializing_if = "Option::is_none")]
    pub over: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least: Option<u32>,
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertReceiver {
    pub by: TellBy,
    /// Which alerts, by their names: `P0`.
    pub severity: Vec<String>,
    /// Told again of what still fires after so long; `None`: never.
    #[serde(default, with = "duration_if_any", skip_serializing_if = "Option::is_none")]
    pub repeat: Option<Duration>,
}

/// The way in which somebody is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TellBy {
    /// POST of a JSON document.
    Webhook(String),
    /// The same; the URL is in this file.
    WebhookFile(PathBuf),
    /// The address of an Alertmanager (API version 2).
    Alertmanager(String),
    Mail(Mail),
}

impl AlertRule {
    pub const ALL: [Self; 19] = [
        Self::ErrorsMost,
        Self::ErrorsCritical,
        Self::NoInstance,
        Self::NoPrimary,
        Self::BudgetFast,
        Self::ErrorsHigh,
        Self::LatencyHigh,
        Self::BudgetMedium,
        Self::ReplicaLag,
        Self::SessionsDown,
        Self::DiskFull,
        Self::DiskFilling,
        Self::CertificateExpires,
        Self::NoData,
        Self::ErrorsSome,
        Self::BudgetSlow,
        Self::QueriesSlow,
        Self::CacheMisses,
        Self::MemoryHigh,
    ];

    /// As written in banyan.toml.
    pub fn name(self) -> &'static str {
        match self {
            Self::ErrorsMost => "errors-most",
            Self::ErrorsCritical => "errors-critical",
            Self::NoInstance => "no-instance",
            Self::NoPrimary => "no-primary",
            Self::BudgetFast => "budget-fast",
            Self::ErrorsHigh => "errors-high",
            Self::LatencyHigh => "latency-high",
            Self::BudgetMedium => "budget-medium",
            Self::ReplicaLag => "replica-lag",
            Self::SessionsDown => "sessions-down",
            Self::DiskFull => "disk-full",
            Self::DiskFilling => "disk-filling",
            Self::CertificateExpires => "certificate-expires",
            Self::NoData => "no-data",
            Self::ErrorsSome => "errors-some",
            Self::BudgetSlow => "budget-slow",
            Self::QueriesSlow => "queries-slow",
            Self::CacheMisses => "cache-misses",
            Self::MemoryHigh => "memory-high",
        }
    }

    pub fn unit(self) -> LimitUnit {
        match self {
            Self::ErrorsMost
            | Self::ErrorsCritical
            | Self::ErrorsHigh
            | Self::ErrorsSome
            | Self::DiskFull
            | Self::CacheMisses
            | Self::MemoryHigh => LimitUnit::Share,
            Self::LatencyHigh
            | Self::ReplicaLag
            | Self::DiskFilling
            | Self::CertificateExpires
            | Self::QueriesSlow => LimitUnit::Time,
            Self::BudgetFast | Self::BudgetMedium | Self::BudgetSlow => LimitUnit::Factor,
            Self::NoInstance | Self::NoPrimary | Self::SessionsDown | Self::NoData => LimitUnit::None,
        }
    }

    /// It looks at a window.
    pub fn has_window(self) -> bool {
        match self {
            Self::NoData | Self::DiskFilling => true,
            _ => self.counts(),
        }
    }

    /// It says nothing with fewer than `least`.
    pub fn counts(self) -> bool {
        match self {
            Self::ErrorsMost
            | Self::ErrorsCritical
            | Self::BudgetFast
            | Self::ErrorsHigh
            | Self::LatencyHigh
            | Self::BudgetMedium
            | Self::ErrorsSome
            | Self::BudgetSlow
            | Self::QueriesSlow
            | Self::CacheMisses => true,
            Self::NoInstance
            | Self::NoPrimary
            | Self::ReplicaLag
            | Self::SessionsDown
            | Self::DiskFull
            | Self::DiskFilling
            | Self::CertificateExpires
            | Self::NoData
            | Self::MemoryHigh => false,
        }
    }
}

/// There is no such rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no rule `{0}`")]
pub struct NoSuchRule(pub String);

impl FromStr for AlertRule {
    type Err = NoSuchRule;

    fn from_str(text: &str) -> Result<Self, NoSuchRule> {
        let found = Self::ALL.into_iter().find(|rule| rule.name() == text);
        found.ok_or_else(|| NoSuchRule(text.to_owned()))
    }
}

impl fmt::Display for AlertRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// `None`: nothing is judged.
pub(crate) fn build(root: &Reader<'_>, edge: Option<&EdgeTable>, files: &Files<'_>) -> Option<Alerts> {
    let table = root.table("alerts");
    let report = files.report;
    let alerts = Alerts {
        every: table.duration("every"),
        clear: table.duration("clear"),
        slo: table.fraction("slo"),
        critical: critical(&table, edge, report),
        rules: rules(&table, report),
        to: receivers(&table, files),
    };
    if let (true, Some(entry)) = (alerts.slo == Fraction::ALL, table.entry("slo")) {
        let message = "an objective of 1 leaves no budget: one error would be an alert for ever";
        report.error(
            &entry.place,
            message,
            &["write less than 1, for example slo = 0.999"],
        );
    }
    if let (false, Some(entry)) = (root.table("observe").boolean("enabled"), table.entry("to")) {
        let message = "nobody is told: [observe], which judges the rules, is off";
        report.warning(&entry.place, message, &["remove enabled = false from [observe]"]);
    }
    table.boolean("enabled").then_some(alerts)
}

/// Routes as they are named in metrics.
fn critical(table: &Reader<'_>, edge: Option<&EdgeTable>, report: &Report) -> Vec<String> {
    let known: Vec<&str> = edge
        .iter()
        .flat_map(|edge| &edge.routes)
        .map(|route| route.name.as_str())
        .collect();
    let written = table.texts("critical");
    for route in written
        .iter()
        .filter(|route| !known.contains(&route.value.as_str()))
    {
        let help = match nearest(&route.value, known.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if known.is_empty() => "write a [[route]] with this name first".to_owned(),
            None => format!("routes are: {}", list(known.iter().copied())),
        };
        report.error(
            &route.place,
            format!("there is no route `{}`", route.value),
            &[&help],
        );
    }
    written.into_iter().map(|route| route.value).collect()
}

fn rules(table: &Reader<'_>, report: &Report) -> BTreeMap<AlertRule, RuleChange> {
    let (entries, keys) = table.map("rule");
    let mut found = BTreeMap::new();
    for entry in entries {
        let Value::Table(inner) = &entry.node.value else {
            continue;
        };
        let Ok(rule) = entry.name.parse::<AlertRule>() else {
            let names = AlertRule::ALL.map(AlertRule::name);
            let help = match nearest(&entry.name, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("rules are: {}", list(names)),
            };
            report.error(
                &entry.place,
                format!("there is no rule `{}`", entry.name),
                &[&help],
            );
            continue;
        };
        found.insert(rule, change(rule, &Reader::new(inner, keys), report));
    }
    found
}

fn change(rule: AlertRule, table: &Reader<'_>, report: &Report) -> RuleChange {
    let useless = [
        ("limit", rule.unit() == LimitUnit::None),
        ("over", !rule.has_window()),
        ("least", !rule.counts()),
    ];
    for (key, useless) in useless {
        if let (true, Some(entry)) = (useless, table.entry(key)) {
            let message = format!("`{key}` has no effect: rule `{rule}` has none");
            report.error(&entry.place, message, &["remove this line"]);
        }
    }
    RuleChange {
        enabled: table.boolean("enabled"),
        limit: table.entry("limit").and_then(|entry| limit(rule, entry, report)),
        hold: table.duration_if_any("for"),
        over: table.duration_if_any("over"),
        least: table
            .integer("least")
            .and_then(|least| u32::try_from(least.value).ok()),
    }
}

fn limit(rule: AlertRule, entry: &Entry, report: &Report) -> Option<Limit> {
    let value = &entry.node.value;
    let (found, wanted) = match rule.unit() {
        LimitUnit::Share => {
            let share = number(value).and_then(Fraction::new);
            (
                share.map(Limit::Share),
                "a share from 0 to 1, for example limit = 0.05",
            )
        }
        LimitUnit::Time => {
            let time = match value {
                Value::Text(text) => parse_duration(text),
                _ => None,
            };
            (time.map(Limit::Time), "a time, for example limit = \"2s\"")
        }
        LimitUnit::Factor => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "in the range"
            )]
            let thousandths = |factor: f64| (factor * 1000.0).round() as u32;
            let factor = number(value).filter(|factor| (0.001..=100_000.0).contains(factor));
            (
                factor.map(|factor| Limit::Factor(thousandths(factor))),
                "a factor, for example limit = 14.4",
            )
        }
        LimitUnit::None => return None,
    };
    if found.is_none() && !matches!(value, Value::Invalid) {
        report.error(
            &entry.node.place,
            format!("`limit` of `{rule}` is {wanted}"),
            &["docs/alerts.md lists rules with their limits"],
        );
    }
    found
}

const WAYS: [&str; 4] = ["webhook", "webhook_file", "alertmanager", "mail"];

fn receivers(table: &Reader<'_>, files: &Files<'_>) -> BTreeMap<String, AlertReceiver> {
    let (entries, keys) = table.map("to");
    let mut found = BTreeMap::new();
    for entry in entries {
        let Value::Table(inner) = &entry.node.value else {
            continue;
        };
        let table = Reader::new(inner, keys);
        if let Some(by) = way(&table, &entry.place, files) {
            let receiver = AlertReceiver {
                by,
                severity: table.words("severity"),
                repeat: table.duration_if_any("repeat"),
            };
            found.insert(entry.name.clone(), receiver);
        }
    }
    found
}

fn way(table: &Reader<'_>, place: &Place, files: &Files<'_>) -> Option<TellBy> {
    let report = files.report;
    let written: Vec<&Entry> = WAYS.iter().filter_map(|way| table.entry(way)).collect();
    let [entry] = written.as_slice() else {
        let help = "write one of webhook = \"https://…\", webhook_file = \"FILE\", alertmanager = \"http://…\", mail = [\"NAME@DOMAIN\"]";
        let message = if written.is_empty() {
            "nothing says how it is told"
        } else {
            "one receiver is told in one way"
        };
        report.error(place, message, &[help]);
        return None;
    };
    let beside = mail::BESIDE.iter().filter_map(|name| table.entry(name));
    for beside in beside.filter(|_| entry.name != "mail") {
        let message = format!("`{}` has no effect: it is of mail", beside.name);
        report.error(&beside.place, message, &["remove this line"]);
    }
    match entry.name.as_str() {
        "mail" => mail::build(table, place, files).map(TellBy::Mail),
        "webhook_file" => {
            let file = table.text("webhook_file")?;
            webhook_file(&file, files);
            Some(TellBy::WebhookFile(file.value.into()))
        }
        way => {
            let url = table.text(way)?;
            if !is_url(&url.value) {
                let help = "write http://HOST/PATH or https://HOST/PATH";
                report.hidden_error(&url.place, format!("`{way}` is not an address"), &[help]);
                return None;
            }
            Some(match way {
                "alertmanager" => TellBy::Alertmanager(url.value),
                _ => TellBy::Webhook(url.value),
            })
        }
    }
}

fn webhook_file(path: &Spot<String>, files: &Files<'_>) {
    let Some(text) = private_file(path, "write the URL into this file, and chmod 600 it", files) else {
        return;
    };
    if !is_url(text.trim()) {
        let help = "its only line is to be http://HOST/PATH or https://HOST/PATH";
        let message = format!("{} does not hold an address", path.value);
        files.report.error(&path.place, message, &[help]);
    }
}

/// The text of a file that nobody else may read. `help`: what to do where there is none.
fn private_file(path: &Spot<String>, help: &str, files: &Files<'_>) -> Option<String> {
    let report = files.report;
    let file = match files.read(path.value.as_ref(), true) {
        Ok(file) => file,
        Err((shown, error)) => {
            let message = format!("cannot read {}: {error}", shown.display());
            report.error(&path.place, message, &[help]);
            return None;
        }
    };
    let shown = file.shown.display();
    if file.mode & 0o077 != 0 {
        let help = format!("chmod 600 {shown}");
        report.error(&path.place, format!("{shown} can be read by others"), &[&help]);
    }
    Some(file.text)
}

/// `http://` or `https://` and a host.
pub(crate) fn is_url(text: &str) -> bool {
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| {
        rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
            && rest.chars().all(|c| c.is_ascii_graphic())
    })
}

impl AlertReceiver {
    /// Whether it is told of alerts of this severity.
    pub fn wants(&self, severity: &str) -> bool {
        self.severity.iter().any(|wanted| wanted == severity)
    }
}
