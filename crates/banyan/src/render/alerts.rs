//! What fires, what happened, what is silenced.

use std::time::Duration;

use banyan_alert::{Alert, Muted, Phase, Silence, Transition};
use banyan_config::AlertRule;
use banyan_observe::Shown;
use banyan_supervisor::engine::postgres::backup::moment::moment;

use super::amount;
use super::paint::Paint;
use super::table::{self, Align, Cell};

const HEADER: [(&str, Align); 6] = [
    ("LEVEL", Align::Left),
    ("RULE", Align::Left),
    ("STATE", Align::Left),
    ("SINCE", Align::Left),
    ("VALUE", Align::Right),
    ("WHAT", Align::Left),
];

/// Rules are judged every half minute or so; a longer silence of the judge is worth a word.
const OLD: Duration = Duration::from_secs(15 * 60);

/// `age_ms`: how long ago rules were judged.
pub(crate) fn page(shown: &Shown, age_ms: u64, paint: Paint) -> String {
    let mut out = String::new();
    if shown.judged_ms == 0 {
        out.push_str("no rule was judged yet: [alerts] or [observe] is off, or nothing has run\n");
    } else if shown.alerts.is_empty() {
        out.push_str("nothing fires\n");
    } else {
        let rows: Vec<Vec<Cell>> = shown.alerts.iter().map(row).collect();
        out.push_str(&table::render(&HEADER, &rows, paint));
    }
    let age = Duration::from_millis(age_ms);
    if shown.judged_ms > 0 && age > OLD {
        let age = amount::age(age);
        out.push_str(&format!(
            "{} rules were judged {age} ago: observe does not run\n",
            paint.yellow("!")
        ));
    }
    for (to, why) in &shown.undelivered {
        out.push_str(&format!(
            "{} alerts.to.{to} could not be told, it is tried again: {why}\n",
            paint.yellow("!")
        ));
    }
    for silence in &shown.silences {
        out.push_str(&silenced(silence));
    }
    out
}

fn row(alert: &Alert) -> Vec<Cell> {
    let subject = alert.subject();
    let what = if subject.is_empty() {
        String::new()
    } else {
        format!(" ({subject})")
    };
    vec![
        Cell::new(alert.severity.to_string()),
        Cell::new(alert.rule.to_string()),
        Cell::new(state(alert)),
        Cell::new(moment(alert.since_ms * 1000)),
        Cell::new(alert.measure.show(alert.value)),
        Cell::new(format!("{}{what}", alert.summary)),
    ]
}

fn state(alert: &Alert) -> String {
    match (&alert.phase, &alert.muted) {
        (Phase::Pending, _) => "pending".to_owned(),
        (Phase::Firing { .. }, Some(Muted::By(rule))) => format!("muted by {rule}"),
        (Phase::Firing { .. }, Some(Muted::Silenced(_))) => "silenced".to_owned(),
        (Phase::Firing { .. }, None) => "firing".to_owned(),
    }
}

/// For `status`: a line for each that fires and is not muted.
pub(crate) fn summary(shown: &Shown, paint: Paint) -> String {
    let firing = shown
        .alerts
        .iter()
        .filter(|alert| alert.fires() && alert.muted.is_none());
    let lines = firing.map(|alert| {
        let subject = alert.subject();
        let space = if subject.is_empty() { "" } else { " " };
        let value = alert.measure.show(alert.value);
        let head = format!("{} {}{space}{subject}:", alert.severity, alert.rule);
        format!("{} {} ({value})\n", paint.red(&head), alert.summary)
    });
    let untold = shown.undelivered.iter().map(|(to, why)| {
        format!(
            "{} alerts.to.{to} could not be told, it is tried again: {why}\n",
            paint.yellow("!")
        )
    });
    lines.chain(untold).collect()
}

pub(crate) fn history(history: &[Transition]) -> String {
    if history.is_empty() {
        return "nothing has fired\n".to_owned();
    }
    let line = |happened: &Transition| {
        let muted = match &happened.alert.muted {
            _ if happened.tell => String::new(),
            Some(Muted::By(rule)) => format!(" [muted by {rule}]"),
            Some(Muted::Silenced(why)) => format!(" [silenced: {why}]"),
            None => String::new(),
        };
        format!("{}  {happened}{muted}\n", moment(happened.at_ms * 1000))
    };
    history.iter().map(line).collect()
}

pub(crate) fn silenced(silence: &Silence) -> String {
    let (name, until) = (which(silence.rule), moment(silence.until_ms * 1000));
    format!("{name} is silenced until {until}: {}\n", silence.why)
}

pub(crate) fn which(rule: Option<AlertRule>) -> String {
    rule.map_or_else(|| "all".to_owned(), |rule| rule.to_string())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn shown() -> Shown {
        let alert = |rule: &str, severity: &str, phase: serde_json::Value, muted: serde_json::Value| {
            serde_json::json!({
                "rule": rule, "severity": severity, "area": "database", "labels": {"node": "db2"},
                "summary": "a replica is far behind", "value": 7.5, "measure": "seconds", "since_ms": 1_000_000_000_000_u64,
                "phase": phase, "muted": muted, "told": true,
            })
        };
        let firing = serde_json::json!({ "firing": { "fired_ms": 1_000_000_060_000_u64 } });
        let alerts = [
            alert("replica-lag", "P1", firing.clone(), serde_json::Value::Null),
            alert(
                "queries-slow",
                "P2",
                firing.clone(),
                serde_json::json!({ "by": "replica-lag" }),
            ),
            alert(
                "memory-high",
                "P2",
                serde_json::json!("pending"),
                serde_json::Value::Null,
            ),
        ];
        let history = serde_json::json!([
            { "at_ms": 1_000_000_060_000_u64, "change": "fired", "tell": true, "alert": alerts[0] },
            { "at_ms": 1_000_000_060_000_u64, "change": "fired", "tell": false, "alert": alerts[1] },
            { "at_ms": 1_000_000_120_000_u64, "change": { "cleared": "recovered" }, "tell": true, "alert": alerts[0] },
        ]);
        Shown {
            judged_ms: 1_000_000_200_000,
            alerts: alerts
                .into_iter()
                .map(|alert| serde_json::from_value(alert).unwrap())
                .collect(),
            silences: vec![Silence {
                rule: None,
                from_ms: 0,
                until_ms: 1_000_000_300_000,
                why: "a drill".to_owned(),
            }],
            undelivered: [("oncall".to_owned(), "it answered 500".to_owned())].into(),
            lost: 0,
            history: serde_json::from_value(history).unwrap(),
        }
    }

    #[test]
    fn what_fires_is_a_table_and_what_happened_a_line_each() {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let page = words(&page(&shown(), 1000, Paint::OFF));
        for row in [
            "P1 replica-lag firing 2001-09-09 01:46:40+00 7.5 s a replica is far behind (node=db2)",
            "P2 queries-slow muted by replica-lag 2001-09-09 01:46:40+00",
            "P2 memory-high pending 2001-09-09 01:46:40+00",
            "! alerts.to.oncall could not be told, it is tried again: it answered 500",
            "all is silenced until 2001-09-09 01:51:40+00: a drill",
        ] {
            assert!(page.contains(row), "{row}\n{page}");
        }
        assert_eq!(
            summary(&shown(), Paint::OFF).lines().next(),
            Some("P1 replica-lag node=db2: a replica is far behind (7.5 s)")
        );
        expect![[r#"
            2001-09-09 01:47:40+00  P1 replica-lag node=db2 fires: a replica is far behind (7.5 s)
            2001-09-09 01:47:40+00  P2 queries-slow node=db2 fires: a replica is far behind (7.5 s) [muted by replica-lag]
            2001-09-09 01:48:40+00  P1 replica-lag node=db2 is over: a replica is far behind
        "#]]
        .assert_eq(&history(&shown().history));
    }

    #[test]
    fn a_judge_that_is_not_there_is_missed() {
        let nothing = Shown {
            judged_ms: 0,
            alerts: Vec::new(),
            ..shown()
        };
        assert!(page(&nothing, 0, Paint::OFF).starts_with("no rule was judged yet"));
        assert!(page(&shown(), 3_600_000, Paint::OFF).contains("observe does not run"));
    }
}
