//! What is measured, as those read it who keep history: families of samples, and their text form (Prometheus, OpenMetrics).
//!
//! Several processes measure the same things: their families are merged by adding samples whose labels are equal, so
//! that a machine has one page whatever runs on it. Order is that of insertion.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::durations::{Counted, Durations};
use crate::exemplars::{Exemplar, Exemplars};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Only grows; its name ends with `_total`.
    Counter,
    Gauge,
    /// Of durations in seconds; its name ends with `_seconds`.
    Histogram,
}

/// How the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// By a reader's `Accept` fields: OpenMetrics where one names it, whatever its weight.
    pub fn of_accept<'a>(mut fields: impl Iterator<Item = &'a str>) -> Self {
        if fields.any(|field| field.contains("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::Prometheus
        }
    }

    /// `Content-Type` of a page.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Families(Vec<Family>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Family {
    name: String,
    help: String,
    kind: Kind,
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    /// In the order in which they are shown.
    labels: Vec<(String, String)>,
    value: Value,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Value {
    Number(f64),
    /// Of a histogram: by bucket, and the sum in microseconds.
    Counted(Vec<u64>, u64),
}

/// One line of the page.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number<'a> {
    pub family: &'a str,
    /// What its name has after the family's: `_bucket`, `_sum`, `_count`, or nothing.
    pub part: &'static str,
    /// It only grows.
    pub counts: bool,
    pub labels: &'a [(String, String)],
    /// Upper bound of the bucket, in seconds.
    pub below: Option<f64>,
    pub value: f64,
}

/// The family that samples are added to, each with other labels.
pub struct Filling<'a>(&'a mut Family);

impl Families {
    /// A family; once per name.
    pub fn family(&mut self, kind: Kind, name: &str, help: &str) -> Filling<'_> {
        debug_assert!(kind != Kind::Counter || name.ends_with("_total"), "{name}");
        debug_assert!(kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
        let known = self.0.iter().position(|family| family.name == name);
        let index = known.unwrap_or_else(|| {
            self.0.push(Family {
                name: name.to_owned(),
                help: help.to_owned(),
                kind,
                samples: Vec::new(),
            });
            self.0.len() - 1
        });
        Filling(&mut self.0[index])
    }

    /// Marks every sample: those of another process that measures the same are not added to them.
    pub fn label(&mut self, name: &str, value: &str) {
        for sample in self.0.iter_mut().flat_map(|family| &mut family.samples) {
            sample.labels.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Adds what another process has measured.
    pub fn merge(&mut self, other: Self) {
        for theirs in other.0 {
            match self.0.iter_mut().find(|family| family.name == theirs.name) {
                // Another version may have changed its mind about what a name means.
                Some(ours) if ours.kind == theirs.kind => ours.merge(theirs.samples),
                Some(_) => {}
                None => self.0.push(theirs),
            }
        }
    }

    /// Every number of the page, as [`Families::render`] writes them: of a histogram the buckets, their sum and their count.
    pub fn numbers(&self) -> impl Iterator<Item = Number<'_>> {
        self.0.iter().flat_map(|family| {
            let kind = family.kind;
            family.samples.iter().flat_map(move |sample| match &sample.value {
                Value::Number(value) => vec![Number {
                    family: &family.name,
                    part: "",
                    counts: kind == Kind::Counter,
                    labels: &sample.labels,
                    below: None,
                    value: *value,
                }],
                Value::Counted(counts, sum_us) => of_histogram(&family.name, sample, counts, *sum_us),
            })
        })
    }

    /// The whole page.
    pub fn render(&self, format: Format) -> String {
        self.page(format, None)
    }

    /// The whole page; in OpenMetrics form, buckets that have an exemplar show it.
    pub fn render_with(&self, format: Format, exemplars: &Exemplars) -> String {
        self.page(format, (format == Format::OpenMetrics).then_some(exemplars))
    }

    fn page(&self, format: Format, exemplars: Option<&Exemplars>) -> String {
        let mut out = String::new();
        for family in self.0.iter().filter(|family| !family.samples.is_empty()) {
            family.render(format, exemplars, &mut out);
        }
        if format == Format::OpenMetrics {
            out.push_str("# EOF\n");
        }
        out
    }
}

impl Filling<'_> {
    pub fn number(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.add(labels, Value::Number(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "the text format's numbers are floats")]
    pub fn count(&mut self, labels: &[(&str, &str)], value: u64) -> &mut Self {
        self.number(labels, value as f64)
    }

    pub fn durations(&mut self, labels: &[(&str, &str)], counted: Counted) -> &mut Self {
        self.add(labels, Value::Counted(counted.counts, counted.sum_us))
    }

    fn add(&mut self, labels: &[(&str, &str)], value: Value) -> &mut Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        self.0.samples.push(Sample {
            labels: labels.iter().map(owned).collect(),
            value,
        });
        self
    }
}

impl Family {
    fn merge(&mut self, samples: Vec<Sample>) {
        let places = self.samples.iter().enumerate();
        let known: HashMap<_, _> = places
            .map(|(place, sample)| (sample.labels.clone(), place))
            .collect();
        for sample in samples {
            match known.get(&sample.labels) {
                Some(place) => self.samples[*place].value.add(sample.value),
                None => self.samples.push(sample),
            }
        }
    }

    fn render<'a>(&'a self, format: Format, exemplars: Option<&'a Exemplars>, out: &mut String) {
        // OpenMetrics names a counter without the suffix that its samples have.
        let name = match (format, self.kind) {
            (Format::OpenMetrics, Kind::Counter) => self.name.trim_end_matches("_total"),
            _ => &self.name,
        };
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            out,
            "# HELP {name} {}",
            escape(&self.help, format == Format::OpenMetrics)
        );
        let _infallible = writeln!(out, "# TYPE {name} {kind}");
        if let (Format::OpenMetrics, Some(unit)) = (format, unit(name)) {
            let _infallible = writeln!(out, "# UNIT {name} {unit}");
        }
        for sample in &self.samples {
            match &sample.value {
                Value::Number(value) => {
                    let _infallible = writeln!(out, "{}{} {value}", self.name, labels(&sample.labels, None));
                }
                Value::Counted(counts, sum_us) => {
                    let of_sample = |all: &'a Exemplars| all.of(&self.name, &sample.labels);
                    let exemplars = exemplars.into_iter().flat_map(of_sample);
                    self.buckets(sample, (counts, *sum_us), exemplars, out);
                }
            }
        }
    }

    fn buckets<'a>(
        &self,
        sample: &Sample,
        (counts, sum_us): (&[u64], u64),
        exemplars: impl Iterator<Item = (usize, &'a Exemplar)>,
        out: &mut String,
    ) {
        let mut exemplars = exemplars.peekable();
        let mut below = 0;
        let bounds = Durations::bounds().map(|bound| bound.to_string());
        for (bucket, (bound, count)) in bounds.chain(["+Inf".to_owned()]).zip(counts).enumerate() {
            below += count;
            let labels = labels(&sample.labels, Some(&bound));
            let _infallible = write!(out, "{}_bucket{labels} {below}", self.name);
            if let Some((_, exemplar)) = exemplars.next_if(|(at, _)| *at == bucket) {
                shown(exemplar, out);
            }
            out.push('\n');
        }
        let labels = labels(&sample.labels, None);
        #[expect(clippy::cast_precision_loss, reason = "the text format's numbers are floats")]
        let sum = sum_us as f64 / 1e6;
        let _infallible = writeln!(out, "{}_sum{labels} {sum}", self.name);
        let _infallible = writeln!(out, "{}_count{labels} {below}", self.name);
    }
}

impl Value {
    fn add(&mut self, other: Self) {
        match (self, other) {
            (Self::Number(ours), Self::Number(theirs)) => *ours += theirs,
            (Self::Counted(ours, sum), Self::Counted(theirs, more)) if ours.len() == theirs.len() => {
                ours.iter_mut().zip(theirs).for_each(|(a, b)| *a += b);
                *sum = sum.wrapping_add(more);
            }
            // Of another version, with other buckets: ours stay right.
            _ => {}
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "the text format's numbers are floats")]
fn of_histogram<'a>(name: &'a str, sample: &'a Sample, counts: &[u64], sum_us: u64) -> Vec<Number<'a>> {
    let number = |part, below, value| Number {
        family: name,
        part,
        counts: true,
        labels: &sample.labels,
        below,
        value,
    };
    let mut reached = 0;
    let bounds = Durations::bounds().chain([f64::INFINITY]).zip(counts);
    let mut all: Vec<Number<'_>> = bounds
        .map(|(bound, count)| {
            reached += count;
            number("_bucket", Some(bound), reached as f64)
        })
        .collect();
    all.push(number("_sum", None, sum_us as f64 / 1e6));
    all.push(number("_count", None, reached as f64));
    all
}

/// As it follows a bucket's value.
#[expect(clippy::cast_precision_loss, reason = "the text format's numbers are floats")]
fn shown(exemplar: &Exemplar, out: &mut String) {
    let (took, at) = (exemplar.took_us as f64 / 1e6, exemplar.at_us as f64 / 1e6);
    let _infallible = write!(out, " # {{trace_id=\"{}\"}} {took} {at}", exemplar.trace);
}

fn unit(name: &str) -> Option<&'static str> {
    ["seconds", "bytes"]
        .into_iter()
        .find(|unit| name.ends_with(&format!("_{unit}")))
}

fn labels(labels: &[(String, String)], bound: Option<&str>) -> String {
    let pairs = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let all: Vec<String> = pairs
        .chain(bound.map(|bound| ("le", bound)))
        .map(|(name, value)| format!("{name}=\"{}\"", escape(value, true)))
        .collect();
    if all.is_empty() {
        return String::new();
    }
    format!("{{{}}}", all.join(","))
}

fn escape(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::span::TraceId;

    fn page() -> Families {
        let durations = Durations::default();
        durations.record(Duration::from_micros(700));
        durations.record(Duration::from_secs(20));
        let mut all = Families::default();
        all.family(Kind::Counter, "app_requests_total", "Requests.")
            .count(&[("route", "a\"b\\c\nd")], 7);
        all.family(Kind::Gauge, "app_open", "Open now.").count(&[], 3);
        all.family(Kind::Histogram, "app_duration_seconds", "How long.")
            .durations(&[("route", "api")], Durations::sum([&durations]));
        all.family(Kind::Gauge, "app_nothing", "Without samples it is not shown.");
        all
    }

    #[test]
    fn prometheus_text_has_cumulative_buckets_and_escaped_labels() {
        let text = page().render(Format::Prometheus);
        assert!(
            text.starts_with(
                "# HELP app_requests_total Requests.\n# TYPE app_requests_total counter\n\
                 app_requests_total{route=\"a\\\"b\\\\c\\nd\"} 7\n\
                 # HELP app_open Open now.\n# TYPE app_open gauge\napp_open 3\n"
            ),
            "{text}"
        );
        for line in [
            "app_duration_seconds_bucket{route=\"api\",le=\"0.0005\"} 0",
            "app_duration_seconds_bucket{route=\"api\",le=\"0.001\"} 1",
            "app_duration_seconds_bucket{route=\"api\",le=\"10\"} 1",
            "app_duration_seconds_bucket{route=\"api\",le=\"+Inf\"} 2",
            "app_duration_seconds_sum{route=\"api\"} 20.0007",
            "app_duration_seconds_count{route=\"api\"} 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(!text.contains("app_nothing") && !text.contains("EOF"), "{text}");
    }

    #[test]
    fn openmetrics_names_counters_without_suffix_has_units_and_an_end() {
        let text = page().render(Format::OpenMetrics);
        assert!(
            text.contains("# TYPE app_requests counter\napp_requests_total{"),
            "{text}"
        );
        assert!(text.contains("# UNIT app_duration_seconds seconds\n"), "{text}");
        assert!(text.ends_with("\n# EOF\n"), "{text}");
    }

    #[test]
    fn an_exemplar_stands_behind_its_bucket_in_openmetrics_alone() {
        let mut exemplars = Exemplars::default();
        let slow = Exemplar {
            trace: TraceId(0xabc),
            took_us: 20_000_000,
            at_us: 1_700_000_000_250_000,
        };
        exemplars.note("app_duration_seconds", &[("route", "api")], slow);
        let text = page().render_with(Format::OpenMetrics, &exemplars);
        let line = "app_duration_seconds_bucket{route=\"api\",le=\"+Inf\"} 2 \
            # {trace_id=\"00000000000000000000000000000abc\"} 20 1700000000.25";
        assert!(text.lines().any(|l| l == line), "{text}");
        assert_eq!(text.matches("trace_id").count(), 1);
        assert_eq!(
            page().render_with(Format::Prometheus, &exemplars),
            page().render(Format::Prometheus)
        );
    }

    #[test]
    fn each_number_is_as_the_page_writes_it() {
        let page = page();
        let written = |number: Number<'_>| {
            let below = number.below.map(|bound| match bound {
                f64::INFINITY => "+Inf".to_owned(),
                bound => bound.to_string(),
            });
            let labels = labels(number.labels, below.as_deref());
            format!("{}{}{labels} {}", number.family, number.part, number.value)
        };
        let lines: Vec<String> = page.numbers().map(written).collect();
        let text = page.render(Format::Prometheus);
        let of_page: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, of_page);
        assert!(page.numbers().filter(|number| number.counts).count() > 20);
    }

    #[test]
    fn merging_adds_equal_samples_and_keeps_the_others() {
        let mut all = page();
        let mut other = page();
        other
            .family(Kind::Gauge, "app_open", "")
            .count(&[("role", "x")], 1);
        other
            .family(Kind::Gauge, "other_open", "Elsewhere.")
            .count(&[], 9);
        // As it goes over a socket.
        let sent = serde_json::to_string(&other).unwrap();
        all.merge(serde_json::from_str(&sent).unwrap());
        let text = all.render(Format::Prometheus);
        for line in [
            "app_open 6",
            "app_open{role=\"x\"} 1",
            "other_open 9",
            "app_duration_seconds_count{route=\"api\"} 4",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
