//! What `banyan top` shows: troubles first, then alerts, parts, routes, resources, statements, caches.

use std::time::Duration;

use banyan_observe::view::{Firing, Level, Part, Red, Resource, View};

use super::amount;
use super::paint::{Paint, Style};
use super::table::{Align, Cell, render as table};

/// Routes that are shown.
const ROUTES: usize = 12;
const NONE: &str = "–";

pub(crate) fn render(view: &View, paint: Paint) -> String {
    let mut out = format!("{}\n", head(view, paint));
    for trouble in &view.troubles {
        out.push_str(&format!(
            "{}\n",
            paint.with(style(trouble.level), &format!("! {}", trouble.what))
        ));
    }
    out.push_str(&alerts(view, paint));
    out.push_str(&format!("\n{}", parts(&view.parts, paint)));
    if !view.routes.is_empty() {
        out.push_str(&format!("\n{}", routes(&view.routes, paint)));
    }
    if !view.resources.is_empty() {
        out.push_str(&format!("\n{}", resources(&view.resources, paint)));
    }
    out.push_str(&queries(view, paint));
    out.push_str(&caches(view, paint));
    out
}

fn head(view: &View, paint: Paint) -> String {
    let release = view.release.as_deref().unwrap_or("no release");
    let total = &view.total;
    let (state, style) = match view.troubles.first().map(|trouble| trouble.level) {
        _ if view.at_ms.is_none() => ("waiting for the first figures", Style::Dim),
        None => ("all is well", Style::Green),
        Some(Level::Bad) => ("something is broken", Style::Red),
        Some(_) => ("look at this", Style::Yellow),
    };
    format!(
        "{}  {release}  {}\n{} requests/s, {} failed, median {}, slowest 1 % {}",
        paint.with(Style::Bold, &view.app),
        paint.with(style, state),
        number(total.per_second),
        share(total.error_share),
        time(total.p50_seconds),
        time(total.p99_seconds),
    )
}

fn alerts(view: &View, paint: Paint) -> String {
    if view.alerts.is_empty() {
        return String::new();
    }
    let row = |alert: &Firing| {
        let since = view.at_ms.map(|now| now.saturating_sub(alert.since_ms));
        let since = since.map_or(NONE.to_owned(), |ms| amount::age(Duration::from_millis(ms)));
        let style = style(alert.level);
        vec![
            Cell::styled(&alert.severity, style),
            Cell::styled(format!("{} {}", alert.rule, alert.subject).trim_end(), style),
            Cell::styled(alert.muted.as_deref().unwrap_or("firing"), style),
            Cell::new(since),
            Cell::new(&alert.what),
        ]
    };
    let header = [
        ("LEVEL", Align::Left),
        ("ALERT", Align::Left),
        ("STATE", Align::Left),
        ("FOR", Align::Right),
        ("WHAT", Align::Left),
    ];
    let rows: Vec<_> = view.alerts.iter().map(row).collect();
    format!("\n{}", table(&header, &rows, paint))
}

fn parts(parts: &[Part], paint: Paint) -> String {
    let row = |part: &Part| {
        vec![
            Cell::new(&part.id),
            Cell::new(&part.kind),
            Cell::styled(&part.says, style(part.level)),
            Cell::new(number(part.per_second)),
            Cell::new(share(part.cpu)),
            Cell::new(part.memory_bytes.map_or(NONE.to_owned(), memory)),
        ]
    };
    let header = [
        ("NAME", Align::Left),
        ("KIND", Align::Left),
        ("STATE", Align::Left),
        ("RPS", Align::Right),
        ("CPU", Align::Right),
        ("MEM", Align::Right),
    ];
    table(&header, &parts.iter().map(row).collect::<Vec<_>>(), paint)
}

fn routes(routes: &[Red], paint: Paint) -> String {
    let row = |route: &Red| {
        let name = if route.name == "*" {
            "all others"
        } else {
            &route.name
        };
        let failed = match route.error_share {
            Some(share) if share >= 0.05 => Style::Red,
            Some(share) if share >= 0.01 => Style::Yellow,
            _ => Style::Plain,
        };
        vec![
            Cell::new(name),
            Cell::new(number(route.per_second)),
            Cell::styled(share(route.error_share), failed),
            Cell::new(time(route.p50_seconds)),
            Cell::new(time(route.p99_seconds)),
        ]
    };
    let header = [
        ("ROUTE", Align::Left),
        ("RPS", Align::Right),
        ("FAILED", Align::Right),
        ("P50", Align::Right),
        ("P99", Align::Right),
    ];
    table(
        &header,
        &routes.iter().take(ROUTES).map(row).collect::<Vec<_>>(),
        paint,
    )
}

fn resources(resources: &[Resource], paint: Paint) -> String {
    let row = |resource: &Resource| {
        let waits = resource.waits.as_ref().map(|waits| format!(", {waits}"));
        vec![
            Cell::new(&resource.name),
            Cell::styled(share(resource.used), style(resource.level)),
            Cell::new(format!("{}{}", resource.says, waits.unwrap_or_default())),
        ]
    };
    let header = [
        ("RESOURCE", Align::Left),
        ("USED", Align::Right),
        ("", Align::Left),
    ];
    table(&header, &resources.iter().map(row).collect::<Vec<_>>(), paint)
}

fn queries(view: &View, paint: Paint) -> String {
    if view.queries.is_empty() {
        return String::new();
    }
    let row = |query: &banyan_observe::view::Query| {
        let short: String = query.statement.chars().take(60).collect();
        vec![
            Cell::new(&query.id),
            Cell::new(amount::rate(query.per_second)),
            Cell::new(format!("{:.2}", query.load)),
            Cell::new(time(query.p99_seconds)),
            Cell::new(short.replace('\n', " ")),
        ]
    };
    let header = [
        ("STATEMENT", Align::Left),
        ("RATE", Align::Right),
        ("LOAD", Align::Right),
        ("P99", Align::Right),
        ("", Align::Left),
    ];
    let rows: Vec<_> = view.queries.iter().map(row).collect();
    format!("\n{}", table(&header, &rows, paint))
}

fn caches(view: &View, paint: Paint) -> String {
    if view.caches.is_empty() {
        return String::new();
    }
    let row = |cache: &banyan_observe::view::Cache| {
        vec![
            Cell::new(&cache.name),
            Cell::new(number(cache.per_second)),
            Cell::new(share(cache.hit_ratio)),
        ]
    };
    let header = [
        ("CACHE", Align::Left),
        ("ASKED/S", Align::Right),
        ("FOUND", Align::Right),
    ];
    let rows: Vec<_> = view.caches.iter().map(row).collect();
    format!("\n{}", table(&header, &rows, paint))
}

fn style(level: Level) -> Style {
    match level {
        Level::Fine => Style::Plain,
        Level::Warn => Style::Yellow,
        Level::Bad => Style::Red,
        Level::Unknown => Style::Dim,
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or(NONE.to_owned(), amount::rate)
}

fn share(value: Option<f64>) -> String {
    value.map_or(NONE.to_owned(), |share| match share * 100.0 {
        percent if percent > 0.0 && percent < 0.95 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    })
}

fn time(seconds: Option<f64>) -> String {
    seconds.map_or(NONE.to_owned(), |seconds| match seconds {
        short if short < 0.01 => format!("{:.1} ms", short * 1000.0),
        long => amount::took(Duration::from_secs_f64(long.max(0.0))),
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bytes of a process, shown with two digits"
)]
fn memory(bytes: f64) -> String {
    amount::bytes(bytes.max(0.0) as u64)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn troubles_come_first_and_what_is_not_known_is_a_dash() {
        let view = serde_json::from_value(serde_json::json!({
            "app": "shop", "release": "r3", "version": "0.1.0", "at_ms": 200_000,
            "troubles": [{"level": "bad", "what": "web.2@r3 has ended, is started again"}],
            "alerts": [
                {"level": "warn", "severity": "P1", "rule": "replica-lag", "subject": "node=db2", "what": "it lags (7.5 s)", "since_ms": 0, "muted": null},
                {"level": "unknown", "severity": "P2", "rule": "memory-high", "subject": "", "what": "memory (91.0 %)", "since_ms": 80_000, "muted": "silenced: a drill"},
            ],
            "total": {"name": "all", "per_second": 120.4, "error_share": 0.02, "p50_seconds": 0.0041, "p99_seconds": 0.25, "active": 3.0},
            "parts": [
                {"id": "edge", "lane": "edge", "kind": "edge", "level": "fine", "says": "ready", "per_second": 120.4, "cpu": 0.31, "memory_bytes": 54525952.0},
                {"id": "web.2@r3", "lane": "app", "kind": "web", "level": "bad", "says": "has ended, is started again", "per_second": null, "cpu": null, "memory_bytes": null},
            ],
            "flows": [],
            "routes": [{"name": "*", "per_second": 120.4, "error_share": 0.02, "p50_seconds": 0.0041, "p99_seconds": 0.25, "active": 3.0}],
            "resources": [{"name": "processors", "used": 0.5, "says": "2.0 of 4", "waits": "3 tasks wait", "level": "fine"}],
            "queries": [{"id": "00ff", "statement": "SELECT ?", "per_second": 3.0, "load": 0.02, "p99_seconds": 0.001}],
            "caches": [{"name": "redis cache", "hit_ratio": 0.9, "per_second": 40.0}],
            "marks": [],
        }));
        let text = render(&view.unwrap(), Paint::OFF);
        expect![[r#"
            shop  r3  something is broken
            120 requests/s, 2 % failed, median 4.1 ms, slowest 1 % 250 ms
            ! web.2@r3 has ended, is started again

            LEVEL  ALERT                 STATE                 FOR  WHAT
            P1     replica-lag node=db2  firing             3m 20s  it lags (7.5 s)
            P2     memory-high           silenced: a drill      2m  memory (91.0 %)

            NAME      KIND  STATE                        RPS   CPU     MEM
            edge      edge  ready                        120  31 %  52 MiB
            web.2@r3  web   has ended, is started again    –     –       –

            ROUTE       RPS  FAILED     P50     P99
            all others  120     2 %  4.1 ms  250 ms

            RESOURCE    USED
            processors  50 %  2.0 of 4, 3 tasks wait

            STATEMENT  RATE  LOAD     P99
            00ff        3.0  0.02  1.0 ms  SELECT ?

            CACHE        ASKED/S  FOUND
            redis cache       40   90 %
        "#]]
        .assert_eq(&text);
    }
}
