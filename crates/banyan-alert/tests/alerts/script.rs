//! Series as Prometheus' own unit tests write them, one each line: `name{label="x"} 0+600x20 12000+0x5 _x4`. The first word of
//! a step is `a+bxn` (a, then n times b more), `a-bxn`, `axn` (a, and n times the same) or `_xn` (n times nothing).

use std::fmt::Write as _;
use std::time::Duration;

use banyan_alert::{Labels, Rule, Samples, Silences, State, Transition, evaluate, rules};
use banyan_config::Alerts;

/// Between two values of a script.
pub(crate) const STEP: Duration = Duration::from_secs(30);
/// When scripts begin: any time.
pub(crate) const BEGIN: Duration = Duration::from_secs(1_700_000_000);

/// The rules of `[alerts]` as written in banyan.toml.
pub(crate) fn alerts(table: &str) -> Alerts {
    let text = format!(
        "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"web\"\n\
         [[route]]\nname = \"pay\"\npath = \"/pay/*\"\nprocess = \"web\"\n{table}"
    );
    let sources = banyan_config::Sources {
        main: banyan_config::Source::new("banyan.toml", text.as_str()),
        overlay: None,
        files: &|_| Ok(banyan_config::FileText::new("http://pager/1", 0o600)),
        certificates: &|_, _| Ok(Vec::new()),
    };
    let loaded = banyan_config::load(&sources).unwrap_or_else(|errors| panic!("{errors}"));
    loaded.config.alerts.expect("they are judged")
}

pub(crate) fn rules_of(table: &str) -> Vec<Rule> {
    rules(&alerts(table), true)
}

/// Values by step; `None`: none was measured.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    pub(crate) values: Vec<Option<f64>>,
}

pub(crate) fn lines(script: &str) -> Vec<Line> {
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(line).collect()
}

fn line(text: &str) -> Line {
    let end = text
        .rfind('}')
        .map_or_else(|| text.find(' ').unwrap(), |end| end + 1);
    let (series, steps) = text.split_at(end);
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let label = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.trim_matches('"').to_owned())
    };
    let labels = labels
        .trim_end_matches('}')
        .split(',')
        .filter(|pair| !pair.is_empty());
    let mut values = Vec::new();
    for step in steps.split_whitespace() {
        let (step, times) = step.rsplit_once('x').unwrap_or((step, "0"));
        let times: usize = times.parse().unwrap();
        if step == "_" {
            values.extend(std::iter::repeat_n(None, times.max(1)));
            continue;
        }
        let sign = step[1..].find(['+', '-']).map(|at| at + 1);
        let (first, more) = sign.map_or((step, "0"), |at| step.split_at(at));
        let (first, more): (f64, f64) = (
            first.parse().unwrap(),
            more.trim_start_matches('+').parse().unwrap(),
        );
        #[expect(clippy::cast_precision_loss, reason = "scripts are short")]
        values.extend((0..=times).map(|n| Some(first + more * n as f64)));
    }
    let (name, labels) = (name.trim().to_owned(), labels.map(label).collect());
    Line { name, labels, values }
}

/// Feeds a script to rules step by step, and calls back after each.
pub(crate) fn play(
    rules: &[Rule],
    script: &str,
    silences: &Silences,
    mut after: impl FnMut(usize, &State, &[Transition]),
) {
    let lines = lines(script);
    let mut samples = Samples::new(STEP, Duration::from_secs(4 * 86_400));
    let mut state = State::default();
    let steps = lines.iter().map(|line| line.values.len()).max().unwrap_or(0);
    for step in 0..steps {
        let now = BEGIN + STEP * u32::try_from(step).unwrap();
        for line in &lines {
            if let Some(value) = line.values.get(step).copied().flatten() {
                samples.push(now, &line.name, &line.labels, value);
            }
        }
        let (next, transitions) = evaluate(rules, &samples, state, silences, now);
        after(step, &next, &transitions);
        state = next;
    }
}

/// What happens, a line for each change: `12m30s fired P1 errors-high 7.4 %`.
pub(crate) fn told(table: &str, script: &str) -> String {
    told_with(table, script, &Silences::default())
}

pub(crate) fn told_with(table: &str, script: &str, silences: &Silences) -> String {
    let mut out = String::new();
    play(&rules_of(table), script, silences, |step, _, transitions| {
        for transition in transitions {
            writeln!(out, "{} {}", clock(step), shown(transition)).unwrap();
        }
    });
    out
}

fn clock(step: usize) -> String {
    let seconds = step as u64 * STEP.as_secs();
    format!("{}m{:02}s", seconds / 60, seconds % 60)
}

fn shown(transition: &Transition) -> String {
    let alert = &transition.alert;
    let change = format!("{:?}", transition.change).to_lowercase();
    let muted = alert.muted.as_ref().filter(|_| !transition.tell);
    let muted = muted.map_or(String::new(), |muted| format!(" ({muted:?})"));
    let subject = alert.subject();
    let space = if subject.is_empty() { "" } else { " " };
    let value = alert.measure.show(alert.value);
    format!(
        "{change} {} {}{space}{subject} {value}{muted}",
        alert.severity, alert.rule
    )
}
