//! How a line of a log looks to a person.

use banyan_telemetry::redact;

use super::Line;
use crate::render::amount;
use crate::render::paint::{Paint, Style};

const PALETTE: [Style; 5] = [
    Style::Cyan,
    Style::Green,
    Style::Magenta,
    Style::Yellow,
    Style::Blue,
];

/// `web.1@r3  | text`; access lines and events of our own roles in short, unknown JSON as it is.
pub(crate) fn render(line: &Line, width: usize, paint: Paint) -> String {
    let hash = line.child.bytes().fold(7_usize, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(byte.into())
    });
    let style = PALETTE[hash % PALETTE.len()];
    let name = paint.with(style, &format!("{:<width$} |", line.child));
    let said = redact::line(&line.text);
    let text = access(&said, paint).or_else(|| event(&said, paint));
    format!("{name} {}", text.as_deref().unwrap_or(&said))
}

/// An event of a role: `INFO snapshot taken  epoch=48 endpoints=2`.
fn event(text: &str, paint: Paint) -> Option<String> {
    let record: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let field = |name: &str| record.get(name).and_then(serde_json::Value::as_str);
    let (level, message) = (field("level")?, field("message")?);
    if !field("target")?.starts_with("banyan") {
        return None;
    }
    let style = match level {
        "error" => Style::Red,
        "warn" => Style::Yellow,
        _ => Style::Dim,
    };
    let level = level.to_ascii_uppercase();
    let rest: Vec<String> = record
        .iter()
        .filter(|(name, _)| !["time", "level", "message", "target"].contains(&name.as_str()))
        .map(|(name, value)| {
            format!(
                "{name}={}",
                value.as_str().map_or_else(|| value.to_string(), str::to_owned)
            )
        })
        .collect();
    let line = format!(
        "{} {message}  {}",
        paint.with(style, &level),
        paint.dim(&rest.join(" "))
    );
    Some(line.trim_end().to_owned())
}

/// An access log record in one readable line; `None` when the line is something else.
fn access(text: &str, paint: Paint) -> Option<String> {
    let record: serde_json::Value = serde_json::from_str(text).ok()?;
    let text = |name: &str| record.get(name).and_then(|value| value.as_str());
    let status = record.get("status")?.as_u64()?;
    let path = text("path")?;
    let style = match status {
        500.. => Style::Red,
        400..500 => Style::Yellow,
        _ => Style::Green,
    };
    let mut out = format!(
        "{} {} {path}",
        paint.with(style, &status.to_string()),
        text("method").unwrap_or("-")
    );
    if let Some(ms) = record.get("ms").and_then(serde_json::Value::as_f64) {
        out.push_str(&format!("  {}", amount::latency_ms(ms)));
    }
    if let Some(upstream) = text("upstream") {
        out.push_str(&paint.dim(&format!("  {upstream}")));
    }
    if let Some(retries) = record
        .get("retries")
        .and_then(serde_json::Value::as_u64)
        .filter(|n| *n > 0)
    {
        out.push_str(&paint.with(Style::Yellow, &format!("  {retries} retries")));
    }
    if let Some(outcome) = text("outcome").filter(|outcome| *outcome != "answered") {
        out.push_str(&format!("  {outcome}"));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        render(&Line::new("edge", 0, text.to_owned()), 8, Paint::OFF)
    }

    #[test]
    fn an_event_of_a_role_is_shown_in_short_and_foreign_json_as_it_is() {
        let event = r#"{"time":"2026-01-01T00:00:00Z","level":"info","message":"snapshot taken","epoch":"48","endpoints":2,"target":"banyan_edge::control"}"#;
        assert_eq!(
            shown(event),
            "edge     | INFO snapshot taken  endpoints=2 epoch=48"
        );
        let foreign = r#"{"level":"info","message":"hi","target":"app"}"#;
        assert_eq!(shown(foreign), format!("edge     | {foreign}"));
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(shown("password=hunter2"), "edge     | password=***");
        assert_eq!(shown(r#"{"token":"t"}"#), r#"edge     | {"token":"***"}"#);
    }

    #[test]
    fn an_access_record_is_shown_in_short() {
        let line = r#"{"time":"2026-01-01T00:00:00.000Z","id":"x","client":"127.0.0.1","method":"GET","path":"/api/tags","status":200,"bytes":2,"ms":3.210,"upstream":"web.1@r1","retries":0,"outcome":"answered"}"#;
        assert_eq!(shown(line), "edge     | 200 GET /api/tags  3.2 ms  web.1@r1");
    }
}
