//! Alerting rules of Prometheus (2.42 and later: `keep_firing_for`).
//!
//! The expressions ask the page of metrics that Banyan serves (`docs/reference/metrics.md`). Ratios are of rates, quantiles of
//! rates by `le`, what was never bad counts as 0 bad, and few requests say nothing.

use std::fmt::Write as _;
use std::time::Duration;

use banyan_config::units::format_duration;

use crate::rule::{Condition, Match, Rule, Select, Wanted};

/// A rule file for `rule_files`. `app` is a label of every alert; `every` how often they are judged.
pub fn prometheus(rules: &[Rule], app: &str, every: Duration) -> String {
    let mut out = String::from(
        "# Alerting rules of Banyan, made by `banyan export prometheus`: change banyan.toml, and make them again.\n\
         # Prometheus needs a scrape of the page of [metrics], at least every 15 s.\n",
    );
    let every = format_duration(every);
    write!(
        out,
        "groups:\n  - name: banyan-{app}\n    interval: {every}\n    rules:\n"
    )
    .expect(FITS);
    for rule in rules {
        one(&mut out, rule, app);
    }
    out
}

const FITS: &str = "a String takes any text";

fn one(out: &mut String, rule: &Rule, app: &str) {
    let (severity, area) = (rule.severity.name(), rule.area.name());
    let text = format!(
        "      - alert: {name}\n        expr: |-\n{expression}\n        for: {hold}\n        keep_firing_for: {keep}\n        \
         labels: {{ app: {app}, severity: {severity}, area: {area} }}\n        \
         annotations:\n          summary: {summary}\n          description: {description}\n",
        name = rule.name(),
        expression = indented(&expression(rule)),
        hold = format_duration(rule.hold),
        keep = format_duration(rule.keep),
        summary = quoted(&rule.summary),
        description = quoted(&description(rule)),
    );
    out.push_str(&text);
}

/// What the value is, with the things it is about.
fn description(rule: &Rule) -> String {
    let value = match rule.condition.measure() {
        crate::rule::Measure::Share => "{{ $value | humanizePercentage }}",
        crate::rule::Measure::Seconds => "{{ $value | humanizeDuration }}",
        crate::rule::Measure::Factor | crate::rule::Measure::Count => "{{ $value | humanize }}",
    };
    let about: Vec<String> = rule
        .by
        .iter()
        .map(|label| format!(" {label}={{{{ $labels.{label} }}}}"))
        .collect();
    format!("{}{}: {value}", rule.summary, about.concat())
}

/// PromQL that is a series for each thing of which the condition holds.
pub(crate) fn expression(rule: &Rule) -> String {
    let by = by(rule.by);
    match &rule.condition {
        Condition::Share {
            bad,
            all,
            over,
            above,
            least,
        } => format!(
            "{} > {above}\nand {} >= {least}",
            ratio(bad, all, *over, &by),
            increase(all, *over, &by),
        ),
        Condition::Hits {
            hits,
            misses,
            over,
            below,
            least,
        } => {
            let (hit, miss) = (rate(hits, *over, &by), rate(misses, *over, &by));
            let (hits, misses) = (increase(hits, *over, &by), increase(misses, *over, &by));
            format!("{hit} / ({hit} + {miss}) < {below}\nand {hits} + {misses} >= {least}")
        }
        Condition::Burn {
            bad,
            all,
            over,
            factor,
            budget,
            least,
        } => {
            let limit = rounded(factor * budget);
            let short = *over / 12;
            format!(
                "{} > {limit}\nand {} > {limit}\nand {} >= {least}\nand {by} ({} offset {}) >= 0",
                ratio(bad, all, short, &by),
                ratio(bad, all, *over, &by),
                increase(all, short, &by),
                selector(all, ""),
                promql_duration(short),
            )
        }
        Condition::Quantile {
            of,
            quantile,
            over,
            above,
            least,
        } => {
            let mut labels = vec!["le"];
            labels.extend(rule.by);
            let window = promql_duration(*over);
            format!(
                "histogram_quantile({quantile}, {} (rate({of}_bucket[{window}]))) > {above}\nand {by} (increase({of}_count[{window}])) >= {least}",
                self::by(&labels),
            )
        }
        Condition::Newest { of, sum, wanted } => {
            let (fold, sign, limit) = match wanted {
                Wanted::Above(limit) => (if *sum { "sum" } else { "max" }, ">", limit),
                Wanted::Below(limit) => (if *sum { "sum" } else { "min" }, "<", limit),
            };
            format!(
                "{} ({}) {sign} {limit}",
                by.replacen("sum", fold, 1),
                selector(of, "")
            )
        }
        Condition::Of { part, whole, above } => {
            format!(
                "{by} ({}) / {by} ({}) > {above}",
                selector(part, ""),
                selector(whole, "")
            )
        }
        Condition::Near { of, within } => {
            let min = by.replacen("sum", "min", 1);
            format!("{min} ({}) - time() < {}", selector(of, ""), within.as_secs())
        }
        Condition::UsedUp { free, over, within } => {
            let (window, seconds) = (promql_duration(*over), within.as_secs());
            let slope = format!("deriv({}[{window}])", selector(free, ""));
            format!(
                "{by} ({}) / -{by} ({slope}) < {seconds}\nand {by} ({slope}) < 0\nand {by} ({} offset {}) > 0",
                selector(free, ""),
                selector(free, ""),
                promql_duration(*over / 2),
            )
        }
        Condition::Absent { of, over, .. } => {
            format!(
                "absent_over_time({}[{}])",
                selector(of, ""),
                promql_duration(*over)
            )
        }
    }
}

/// What was never bad has no series for it: 0 of all.
fn ratio(bad: &Select, all: &Select, over: Duration, by: &str) -> String {
    let (bad, all) = (rate(bad, over, by), rate(all, over, by));
    format!("({bad} or 0 * {all}) / {all}")
}

fn rate(of: &Select, over: Duration, by: &str) -> String {
    format!(
        "{by} (rate({}))",
        selector(of, &format!("[{}]", promql_duration(over)))
    )
}

fn increase(of: &Select, over: Duration, by: &str) -> String {
    format!(
        "{by} (increase({}))",
        selector(of, &format!("[{}]", promql_duration(over)))
    )
}

fn by(labels: &[&str]) -> String {
    if labels.is_empty() {
        "sum".to_owned()
    } else {
        format!("sum by ({})", labels.join(", "))
    }
}

fn selector(of: &Select, window: &str) -> String {
    let labels: Vec<String> = of
        .labels
        .iter()
        .map(|(label, is)| format!("{label}{}", matcher(is)))
        .collect();
    if labels.is_empty() {
        format!("{}{window}", of.metric)
    } else {
        format!("{}{{{}}}{window}", of.metric, labels.join(","))
    }
}

fn matcher(is: &Match) -> String {
    match is {
        Match::Is(text) => format!("={}", quoted(text)),
        Match::OneOf(texts) => {
            let escaped: Vec<String> = texts.iter().map(|text| escaped(text)).collect();
            format!("=~{}", quoted(&escaped.join("|")))
        }
        Match::ServerError => "=~\"5..\"".to_owned(),
    }
}

/// RE2 takes a backslash before any punctuation.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_punctuation() {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// As [`format_duration`], which Prometheus reads.
pub(crate) fn promql_duration(time: Duration) -> String {
    format_duration(time)
}

/// A product of decimals without its last binary digit.
fn rounded(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

/// A double-quoted scalar of YAML, and a string of PromQL: JSON's notation is both.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("          {line}")).collect();
    lines.join("\n")
}
