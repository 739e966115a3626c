//! One delivery: what a receiver is sent, and how. No redirects, nothing kept open. Limits: 10 s; of an answer its status counts.

use std::path::Path;
use std::time::Duration;

use banyan_alert::{Attempt, Change, Notice};
use banyan_config::TellBy;
use banyan_tls::client::{self, Trust};
use http::{Request, Uri, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(10);
/// Where Debian keeps the CAs that a system believes.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// What Alertmanager does not hear of again by then is over.
const STANDS_MS: u64 = 5 * 60_000;

/// `Err`: why not, in words without the address: who knows that can call it.
pub(super) async fn deliver(by: &TellBy, app: &str, attempt: &Attempt) -> Result<(), String> {
    let told = async {
        match by {
            TellBy::Webhook(url) => post(url, &document(app, attempt)).await,
            TellBy::WebhookFile(path) => post(&address(path)?, &document(app, attempt)).await,
            TellBy::Alertmanager(url) => {
                let url = format!("{}/api/v2/alerts", url.trim_end_matches('/'));
                post(&url, &alertmanager(app, attempt)).await
            }
        }
    };
    timeout(LIMIT, told)
        .await
        .unwrap_or_else(|_| Err("no answer within 10 s".to_owned()))
}

/// The only line of a file.
fn address(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    Ok(text.trim().to_owned())
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

async fn post(url: &str, document: &Value) -> Result<(), String> {
    let wrong = || "the address is not a URL".to_owned();
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let host = uri.host().ok_or_else(wrong)?;
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((name, port)).await;
    let stream = stream.map_err(|error| format!("failed to reach {host}:{port}: {error}"))?;
    if !secure {
        return send(&uri, stream, document).await;
    }
    let stream = client::connect(stream, name, Trust::Bundle(Path::new(AUTHORITIES)), &["http/1.1"]).await;
    send(
        &uri,
        stream.map_err(|error| format!("{host}:{port}: {error}"))?,
        document,
    )
    .await
}

async fn send<S>(uri: &Uri, stream: S, document: &Value) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| format!("failed to speak HTTP: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = Request::post(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, uri.authority().map_or("", |host| host.as_str()))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, "banyan-observe")
        .header(header::CONNECTION, "close")
        .body(document.to_string())
        .map_err(|error| format!("failed to make a request: {error}"))?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answered = tokio::select! {
        answered = answer.as_mut() => answered,
        // The connection may end with the answer.
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error),
        },
    };
    let status = answered.map_err(failed)?.status();
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("it answered {status}"))
    }
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
