//! Which kept request stands for which bucket of how long requests take. Pure.
//!
//! Requests that an edge told of: every trace that is shown here is kept, so `banyan trace ID` finds it.

use banyan_telemetry::exemplars::{Exemplar, Exemplars};
use banyan_telemetry::span::Span;

const FAMILY: &str = "http_server_request_duration_seconds";
/// What no route matched.
const NO_ROUTE: &str = "*";
/// What is older is not shown: those who scrape have had it, and the trace makes room for others one day.
const SHOWN_US: u64 = 600_000_000;

pub(super) fn note(known: &mut Exemplars, kept: &[Span]) {
    for span in kept {
        if let Some(class) = class(span) {
            let route = span.fields.get("route").map_or(NO_ROUTE, String::as_str);
            let labels = [("http_route", route), ("http_response_status_code", class)];
            let exemplar = Exemplar {
                trace: span.trace,
                took_us: span.took_us,
                at_us: span.end_us(),
            };
            known.note(FAMILY, &labels, exemplar);
        }
    }
}

pub(super) fn forget(known: &mut Exemplars, now_us: u64) {
    known.forget_before(now_us.saturating_sub(SHOWN_US));
}

/// Of a whole request; parts of one have no status, and what is around them has another length.
fn class(span: &Span) -> Option<&'static str> {
    let status = span.fields.get("status").filter(|_| span.who == "edge")?;
    match status.as_bytes().first()? {
        b'1' => Some("1xx"),
        b'2' => Some("2xx"),
        b'3' => Some("3xx"),
        b'4' => Some("4xx"),
        b'5' => Some("5xx"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use banyan_telemetry::span::TraceId;
    use banyan_telemetry::{Durations, Families, families};

    use super::super::tree::tests::span;
    use super::*;

    fn request(trace: u128, status: &str, route: Option<&str>, took_us: u64) -> Span {
        let fields = [("status", Some(status)), ("route", route)];
        let known = fields.into_iter();
        Span {
            trace: TraceId(trace),
            start_us: 0,
            took_us,
            who: "edge".to_owned(),
            fields: known
                .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
                .collect(),
            ..span(1, 0, "edge", 0, 1)
        }
    }

    fn page() -> Families {
        let durations = Durations::default();
        durations.record(std::time::Duration::from_secs(2));
        let mut all = Families::default();
        let mut family = all.family(families::Kind::Histogram, FAMILY, "");
        for (route, class) in [("*", "2xx"), ("api", "5xx")] {
            let labels = [("http_route", route), ("http_response_status_code", class)];
            family.durations(&labels, Durations::sum([&durations]));
        }
        all
    }

    #[test]
    fn requests_stand_behind_the_buckets_of_their_route_and_class_until_they_are_old() {
        let mut known = Exemplars::default();
        let wait = Span {
            fields: [("route".to_owned(), "api".to_owned())].into(),
            ..request(3, "", None, 2_000_000)
        };
        let app = Span {
            who: "web.1@r1".to_owned(),
            ..request(4, "200", None, 2_000_000)
        };
        let all = [
            request(1, "204", None, 2_000_000),
            request(2, "503", Some("api"), 20_000_000),
            wait,
            app,
        ];
        note(&mut known, &all);
        let text = page().render_with(families::Format::OpenMetrics, &known);
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("trace_id")).collect();
        let [first, second] = lines[..] else {
            panic!("{text}")
        };
        assert!(first.contains("\"2xx\",le=\"2.5\"} 1 # {trace_id=\"00000000000000000000000000000001\"} 2 "));
        assert!(
            second.contains("\"5xx\",le=\"+Inf\"} 1 # {trace_id=\"00000000000000000000000000000002\"} 20 ")
        );
        forget(&mut known, SHOWN_US + 100_000_000);
        let text = page().render_with(families::Format::OpenMetrics, &known);
        assert!(!text.contains("trace_id"), "{text}");
    }
}
