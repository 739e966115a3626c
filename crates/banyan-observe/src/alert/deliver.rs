//! One delivery: what a receiver is sent, and how. Limits: 10 s; of an answer its status counts.

use std::path::Path;
use std::time::Duration;

use banyan_alert::{Attempt, Change, Notice};
use banyan_config::TellBy;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::timeout;

use super::mail::{self, Letter};
use crate::outgoing;

const LIMIT: Duration = Duration::from_secs(10);
/// What Alertmanager does not hear of again by then is over.
const STANDS_MS: u64 = 5 * 60_000;

/// `Err`: why not, in words without the address: who knows that can call it.
pub(super) async fn deliver(by: &TellBy, app: &str, attempt: &Attempt) -> Result<(), String> {
    let told = async {
        match by {
            TellBy::Webhook(url) => tell(url, &document(app, attempt)).await,
            TellBy::WebhookFile(path) => tell(&address(path)?, &document(app, attempt)).await,
            TellBy::Alertmanager(url) => {
                let url = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
                tell(&url, &alertmanager(app, attempt)).await
            }
            TellBy::Mail(to) => {
                let letter = letter(app, attempt);
                mail::send(to, &letter).await.map_err(|error| error.to_string())
            }
        }
    };
    timeout(LIMIT, told)
        .await
        .unwrap_or_else(|_| Err("no answer within 10 s".to_owned()))
}

async fn tell(url: &str, document: &Value) -> Result<(), String> {
    let sent = outgoing::post(url, "application/json", document.to_string().into()).await;
    match sent.map_err(|error| error.to_string())? {
        status if status.is_success() => Ok(()),
        status => Err(format!("it answered {status}")),
    }
}

/// The only line of a file.
fn address(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// One mail for all that is told at once.
fn letter(app: &str, attempt: &Attempt) -> Letter {
    let lines: Vec<String> = attempt
        .notices
        .iter()
        .map(|notice| notice.transition.to_string())
        .collect();
    let first = lines.first().map(String::as_str).unwrap_or_default();
    let subject = match lines.len() {
        0 | 1 => format!("{app}: {first}"),
        more => format!("{app}: {first}, and {} more", more - 1),
    };
    let id = attempt.notices.first().map_or(0, |notice| notice.id);
    Letter {
        subject,
        text: lines.join("\n") + "\n",
        // The same at the next try: who got it twice may see that.
        id: format!("{id}.{}", attempt.to),
    }
}

/// `text` is for chats, which show it.
fn document(app: &str, attempt: &Attempt) -> Value {
    let lines: Vec<String> = attempt
        .notices
        .iter()
        .map(|notice| format!("{app}: {}", notice.transition))
        .collect();
    let alerts: Vec<Value> = attempt.notices.iter().map(alert).collect();
    json!({ "version": 1, "app": app, "text": lines.join("\n"), "alerts": alerts })
}

fn alert(notice: &Notice) -> Value {
    let (transition, alert) = (&notice.transition, &notice.transition.alert);
    let why = match transition.change {
        Change::Cleared(why) => Some(why),
        Change::Fired | Change::Unmuted | Change::Still => None,
    };
    json!({
        "id": notice.id,
        "status": if why.is_some() { "cleared" } else { "firing" },
        "why": why,
        "rule": alert.rule, "severity": alert.severity, "area": alert.area, "labels": alert.labels,
        "summary": alert.summary, "value": alert.value, "shown": alert.measure.show(alert.value),
        "since": moment(alert.since_ms), "at": moment(transition.at_ms),
    })
}

/// <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>, postableAlerts.
fn alertmanager(app: &str, attempt: &Attempt) -> Value {
    let alert = |notice: &Notice| {
        let (transition, alert) = (&notice.transition, &notice.transition.alert);
        let mut labels = alert.labels.clone();
        for (name, value) in [
            ("alertname", alert.rule.name()),
            ("app", app),
            ("severity", alert.severity.name()),
            ("area", alert.area.name()),
        ] {
            labels.insert(name.to_owned(), value.to_owned());
        }
        let over = matches!(transition.change, Change::Cleared(_));
        let ends = if over {
            transition.at_ms
        } else {
            transition.at_ms + STANDS_MS
        };
        json!({
            "labels": labels,
            "annotations": { "summary": alert.summary, "description": transition.to_string() },
            "startsAt": moment(alert.since_ms), "endsAt": moment(ends),
        })
    };
    Value::Array(attempt.notices.iter().map(alert).collect())
}

fn moment(unix_ms: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000);
    time.ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use banyan_alert::{Alert, Area, Attempt, Measure, Phase, Severity, Transition, Why};
    use banyan_config::AlertRule;
    use expect_test::expect;

    use super::*;

    fn attempt(change: Change) -> Attempt {
        let alert = Alert {
            rule: AlertRule::NoInstance,
            severity: Severity::P0,
            area: Area::Requests,
            labels: [("upstream".to_owned(), "web".to_owned())].into(),
            summary: "no instance is ready".to_owned(),
            value: 0.0,
            measure: Measure::Count,
            since_ms: 1_700_000_000_000,
            phase: Phase::Firing {
                fired_ms: 1_700_000_030_000,
                quiet_ms: None,
                lost_ms: None,
            },
            muted: None,
            told: true,
        };
        let transition = Transition {
            at_ms: 1_700_000_030_000,
            change,
            tell: true,
            alert,
        };
        let notice = Notice {
            id: 7,
            to: "a".to_owned(),
            transition,
            since_ms: 0,
            tries: 0,
            next_ms: 0,
            problem: None,
        };
        Attempt {
            to: "a".to_owned(),
            notices: vec![notice],
        }
    }

    #[test]
    fn people_and_programs_can_read_what_is_sent() {
        let fired = document("shop", &attempt(Change::Fired));
        expect![[r#"
            {
              "alerts": [
                {
                  "area": "requests",
                  "at": "2023-11-14T22:13:50Z",
                  "id": 7,
                  "labels": {
                    "upstream": "web"
                  },
                  "rule": "no-instance",
                  "severity": "P0",
                  "shown": "0",
                  "since": "2023-11-14T22:13:20Z",
                  "status": "firing",
                  "summary": "no instance is ready",
                  "value": 0.0,
                  "why": null
                }
              ],
              "app": "shop",
              "text": "shop: P0 no-instance upstream=web fires: no instance is ready (0)",
              "version": 1
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&fired).unwrap());
        let cleared = document("shop", &attempt(Change::Cleared(Why::Recovered)));
        expect!["shop: P0 no-instance upstream=web is over: no instance is ready"]
            .assert_eq(cleared["text"].as_str().unwrap());
    }

    #[test]
    fn alertmanager_gets_labels_to_route_by_and_an_end_that_must_be_renewed() {
        let fired = alertmanager("shop", &attempt(Change::Fired));
        expect![[r#"
            [
              {
                "annotations": {
                  "description": "P0 no-instance upstream=web fires: no instance is ready (0)",
                  "summary": "no instance is ready"
                },
                "endsAt": "2023-11-14T22:18:50Z",
                "labels": {
                  "alertname": "no-instance",
                  "app": "shop",
                  "area": "requests",
                  "severity": "P0",
                  "upstream": "web"
                },
                "startsAt": "2023-11-14T22:13:20Z"
              }
            ]"#]]
        .assert_eq(&serde_json::to_string_pretty(&fired).unwrap());
        let cleared = alertmanager("shop", &attempt(Change::Cleared(Why::Recovered)));
        assert_eq!(cleared[0]["endsAt"], "2023-11-14T22:13:50Z");
    }
}
