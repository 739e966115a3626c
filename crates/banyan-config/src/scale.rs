//! `[scale.NAME]`: how many instances a process has when its load decides.

pub(crate) mod connections;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::backup::TimeOfDay;
use crate::fraction::Fraction;
use crate::model::{EdgeTable, ProcessTable};
use crate::name::ProcessName;
use crate::read::Reader;
use crate::report::{Place, Report};
use crate::tree::{Entry, Value};

use crate::units::duration;

/// By which rule, and within which bounds, the number of a process's instances follows its load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    pub policy: ScalePolicy,
    /// At least 1.
    pub min: u32,
    pub max: u32,
    /// A longer wait for an instance counts as slow. Default 100 ms.
    #[serde(with = "duration")]
    pub slo_wait: Duration,
    /// CPUs that an instance is meant to use: what 100 % is. Default 1.
    pub cores: u32,
    /// Times of the day with a minimum of their own.
    pub schedule: Vec<Floor>,
    /// Decides and notes what it would do; changes nothing.
    #[serde(default)]
    pub shadow: bool,
    /// Connections to the database that an instance opens at most; `None`: as many as the proxy has seen.
    #[serde(default)]
    pub connections: Option<u32>,
    /// How many times faster than the clock the policy's time runs; 1 to 5.
    #[serde(default = "real_time")]
    pub speed: u32,
}

fn real_time() -> u32 {
    1
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScalePolicy {
    /// So many that few requests wait, now and when a new instance would be ready.
    Headroom,
    /// One figure is held at a value.
    Target(TargetRule),
    /// Requests at once at 70 % of what instances may have, quickly more when they double.
    Concurrency,
    /// Thresholds that must hold for minutes.
    Spec(SpecRules),
}

/// What of an instance is held, as by Kubernetes' HorizontalPodAutoscaler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetRule {
    /// Share of its CPUs.
    Cpu(Fraction),
    /// Requests per second.
    Requests(u32),
    /// Requests under way.
    InFlight(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecRules {
    /// Shares of CPU. Defaults 0.7 and 0.3.
    pub up_cpu: Fraction,
    pub down_cpu: Fraction,
    /// How long they must hold. Defaults 5 and 15 min.
    #[serde(with = "duration")]
    pub up_for: Duration,
    #[serde(with = "duration")]
    pub down_for: Duration,
    /// Requests per second and instance. Default 1000.
    pub up_requests: u32,
    /// Share of refused requests. Default 0.01.
    pub up_errors: Fraction,
    /// Between two steps. Defaults 300 and 600 s.
    #[serde(with = "duration")]
    pub cooldown_up: Duration,
    #[serde(with = "duration")]
    pub cooldown_down: Duration,
}

/// A minimum between two times of the day, UTC; over midnight when it ends before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    pub from: TimeOfDay,
    pub to: TimeOfDay,
    pub min: u32,
}

impl Floor {
    /// Whether it holds at this time after midnight.
    pub fn holds(&self, now: Duration) -> bool {
        let (from, to) = (self.from.since_midnight(), self.to.since_midnight());
        if from <= to {
            from <= now && now < to
        } else {
            from <= now || now < to
        }
    }
}

type Processes = BTreeMap<ProcessName, ProcessTable>;

/// Gives each process its rule; `count` is what it begins with.
pub(crate) fn build(root: &Reader<'_>, edge: Option<&EdgeTable>, processes: &mut Processes, report: &Report) {
    let (entries, keys) = root.map("scale");
    for entry in entries {
        let Value::Table(inner) = &entry.node.value else {
            continue;
        };
        let table = Reader::new(inner, keys);
        let Some(process) = known(entry, edge, processes, report) else {
            continue;
        };
        let Some(scale) = one(&table, report) else {
            continue;
        };
        if let (ScalePolicy::Headroom | ScalePolicy::Concurrency, Some(edge)) = (&scale.policy, edge)
            && edge.settings.queue.max_connections.is_none()
        {
            let help = "write max_connections in [edge.queue]; or policy = \"target\" here";
            let message = "how many requests an instance works on at once is not known";
            report.error(&entry.place, message, &[help]);
        }
        if let Some(table) = processes.get_mut(&process) {
            fits(entry, &scale, table, &process, root, report);
            if written_count(root, &process).is_none() {
                table.count = scale.min;
            }
            table.settings.scale = Some(scale);
        }
    }
}

/// The process that a table is of, if requests reach it: what is not asked has no load that could be seen.
fn known(
    entry: &Entry,
    edge: Option<&EdgeTable>,
    processes: &Processes,
    report: &Report,
) -> Option<ProcessName> {
    let name = processes
        .keys()
        .find(|process| process.as_str() == entry.name.as_str());
    let Some(name) = name else {
        let names: Vec<&str> = processes.keys().map(ProcessName::as_str).collect();
        let help = format!("processes are: {}", names.join(", "));
        let message = format!("there is no process `{}`", entry.name);
        report.error(&entry.place, message, &[&help]);
        return None;
    };
    let asked = edge.is_some_and(|edge| {
        edge.process == *name
            || edge
                .routes
                .iter()
                .any(|route| route.processes().any(|of| of == name))
    });
    if !asked {
        let help = "write count in its [process] table";
        let message = format!("no HTTP request reaches `{name}`, so its load cannot be seen");
        report.error(&entry.place, message, &[help]);
        return None;
    }
    Some(name.clone())
}

/// `None`: reported.
fn one(table: &Reader<'_>, report: &Report) -> Option<Scale> {
    let policy = table.text_or_default("policy");
    without_effect(table, &policy, report);
    let scale = Scale {
        policy: match policy.as_str() {
            "target" => ScalePolicy::Target(target(table, report)),
            "concurrency" => ScalePolicy::Concurrency,
            "spec" => ScalePolicy::Spec(spec(table)),
            _ => ScalePolicy::Headroom,
        },
        min: table.number("min"),
        max: u32::try_from(table.integer("max")?.value).ok()?,
        slo_wait: table.duration("slo_wait"),
        cores: table.number("cores"),
        schedule: schedule(table),
        shadow: table.boolean("shadow"),
        connections: table
            .integer("connections")
            .and_then(|n| u32::try_from(n.value).ok()),
        speed: table.number("speed"),
    };
    if let (true, Some(entry)) = (scale.speed > 1, table.entry("schedule")) {
        let message = "times of the day mean nothing where time runs faster (`speed`)";
        report.error(&entry.place, message, &["remove speed, or schedule"]);
    }
    if let (true, Some(max)) = (scale.min > scale.max, table.integer("max")) {
        let message = format!("`max` is {}, but `min` is {}", scale.max, scale.min);
        report.error(&max.place, message, &["write the larger one as max"]);
    }
    for floor in scale.schedule.iter().filter(|floor| floor.min > scale.max) {
        if let Some(entry) = table.entry("schedule") {
            let message = format!("a floor of {} is more than `max`, {}", floor.min, scale.max);
            report.error(&entry.place, message, &["write a larger max"]);
        }
    }
    Some(scale)
}

const TARGET: [&str; 2] = ["metric", "target"];
const SPEC: [&str; 8] = [
    "up_cpu",
    "down_cpu",
    "up_for",
    "down_for",
    "up_requests",
    "up_errors",
    "cooldown_up",
    "cooldown_down",
];

/// Keys of another policy than the chosen one.
fn without_effect(table: &Reader<'_>, policy: &str, report: &Report) {
    let others: [(&str, &[&str]); 2] = [("target", &TARGET), ("spec", &SPEC)];
    for (of, keys) in others {
        for entry in keys.iter().filter_map(|key| table.entry(key)) {
            if policy != of {
                let message = format!(
                    "`{}` is of policy = \"{of}\"; this one is \"{policy}\"",
                    entry.name
                );
                let help = format!("write policy = \"{of}\", or remove it");
                report.error(&entry.place, message, &[&help]);
            }
        }
    }
}

/// The default is one of CPU; of the other figures nobody else knows the right one.
fn target(table: &Reader<'_>, report: &Report) -> TargetRule {
    let value: u32 = table.number("target");
    let metric = table.text_or_default("metric");
    if metric == "cpu" {
        let share = Fraction::new(f64::from(value) / 100.0);
        if let (None, Some(written)) = (share, table.integer("target")) {
            let message = format!("an instance cannot use {value} % of its CPUs");
            report.error(&written.place, message, &["write 1 to 100"]);
        }
        return TargetRule::Cpu(share.unwrap_or(Fraction::ALL));
    }
    if let (None, Some(entry)) = (table.entry("target"), table.entry("metric")) {
        let message = format!("`{metric}` is to be held, but not at which value");
        report.error(&entry.place, message, &["write target = …"]);
    }
    if metric == "requests" {
        TargetRule::Requests(value)
    } else {
        TargetRule::InFlight(value)
    }
}

fn spec(table: &Reader<'_>) -> SpecRules {
    SpecRules {
        up_cpu: table.fraction("up_cpu"),
        down_cpu: table.fraction("down_cpu"),
        up_for: table.duration("up_for"),
        down_for: table.duration("down_for"),
        up_requests: table.number("up_requests"),
        up_errors: table.fraction("up_errors"),
        cooldown_up: table.duration("cooldown_up"),
        cooldown_down: table.duration("cooldown_down"),
    }
}

/// A wrong time is reported elsewhere.
fn schedule(table: &Reader<'_>) -> Vec<Floor> {
    let (items, keys) = table.items("schedule");
    let floor = |entries: &[Entry]| {
        let table = Reader::new(entries, keys);
        let time = |key| table.text(key)?.value.parse().ok();
        Some(Floor {
            from: time("from")?,
            to: time("to")?,
            min: u32::try_from(table.integer("min")?.value).ok()?,
        })
    };
    let tables = items.iter().filter_map(|item| match &item.value {
        Value::Table(entries) => floor(entries),
        _ => None,
    });
    tables.collect()
}

/// The process's own table must leave room for it.
fn fits(
    entry: &Entry,
    scale: &Scale,
    table: &ProcessTable,
    name: &ProcessName,
    root: &Reader<'_>,
    report: &Report,
) {
    if let Some(max) = table.max.filter(|max| *max < scale.max) {
        let message = format!(
            "[process.{name}] never has more than {max}, `max` here is {}",
            scale.max
        );
        report.error(&entry.place, message, &["remove max in [process]"]);
    }
    let Some((count, place)) = written_count(root, name) else {
        return;
    };
    let bounds = i64::from(scale.min)..=i64::from(scale.max);
    if !bounds.is_empty() && !bounds.contains(&count) {
        let message = format!(
            "`count` is {count}, but [scale.{name}] is from {} to {}",
            scale.min, scale.max
        );
        let help = "count is what it begins with: write one in between, or remove it";
        report.error(&place, message, &[help]);
    }
}

fn written_count(root: &Reader<'_>, name: &ProcessName) -> Option<(i64, Place)> {
    let (entries, keys) = root.map("process");
    let entry = entries
        .iter()
        .find(|entry| entry.name.as_str() == name.as_str())?;
    let Value::Table(inner) = &entry.node.value else {
        return None;
    };
    let count = Reader::new(inner, keys).integer("count")?;
    Some((count.value, count.place))
}
