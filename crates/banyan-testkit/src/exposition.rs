//! A page of metrics, read as strictly as the formats are written: Prometheus text 0.0.4 and OpenMetrics 1.0.0.
//!
//! Written against the formats' own documents, not against our renderer, so that the two can disagree.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>

use std::collections::{BTreeMap, BTreeSet};

/// A page that was found sound.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Family to its type.
    pub types: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

type Labels = BTreeMap<String, String>;

impl Page {
    /// Of Prometheus text; an error says the line and what is wrong with it.
    pub fn prometheus(text: &str) -> Result<Self, String> {
        if text
            .lines()
            .any(|line| line.starts_with("# EOF") || line.starts_with("# UNIT"))
        {
            return Err("a line that only OpenMetrics has".to_owned());
        }
        Reading::default().read(text, |name, kind, sample| match kind {
            "histogram" => histogram_part(name, sample),
            _ => sample == name,
        })
    }

    /// Of OpenMetrics: an end, units, counters named without the suffix of their samples.
    pub fn open_metrics(text: &str) -> Result<Self, String> {
        let Some(body) = text.strip_suffix("# EOF\n") else {
            return Err("it does not end with # EOF".to_owned());
        };
        let units = body.lines().filter_map(|line| line.strip_prefix("# UNIT "));
        for unit in units {
            let (name, unit) = unit.split_once(' ').ok_or("a unit without a name")?;
            if !name.ends_with(&format!("_{unit}")) {
                return Err(format!("{name} does not end with its unit {unit}"));
            }
        }
        let mut plain = String::new();
        for line in body.lines().filter(|line| !line.starts_with("# UNIT ")) {
            plain += without_exemplar(line)?;
            plain.push('\n');
        }
        let body = plain;
        Reading::default().read(&body, |name, kind, sample| match kind {
            "counter" => sample == format!("{name}_total"),
            "histogram" => histogram_part(name, sample),
            _ => sample == name,
        })
    }

    /// The value of a sample, written as on the page but with labels in alphabetical order.
    pub fn get(&self, sample: &str) -> Option<f64> {
        self.samples.get(sample).copied()
    }

    /// All samples of a name, by their labels as text.
    pub fn each<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        let own =
            move |key: &str| key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
        let samples = self.samples.iter();
        samples
            .filter(move |(key, _)| own(key))
            .map(|(key, value)| (key.as_str(), *value))
    }

    /// Over all samples of a name whose labels have all of these.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let wanted = |key: &str| labels.iter().all(|label| key.contains(label));
        self.each(name)
            .filter(|(key, _)| wanted(key))
            .map(|(_, value)| value)
            .sum()
    }
}

/// What a sample's line says of itself; an exemplar behind it is sound, and of a bucket or a counter.
fn without_exemplar(line: &str) -> Result<&str, String> {
    let Some((own, exemplar)) = line.split_once(" # ").filter(|_| !line.starts_with('#')) else {
        return Ok(line);
    };
    let (name, ..) = sample(own)?;
    if !name.ends_with("_bucket") && !name.ends_with("_total") {
        return Err(format!("{name} cannot have an exemplar"));
    }
    let inner = exemplar.strip_prefix('{').ok_or("an exemplar without labels")?;
    let (labels, rest) = labels(inner)?;
    let length: usize = labels
        .iter()
        .map(|(name, value)| name.chars().count() + value.chars().count())
        .sum();
    let numbers: Vec<&str> = rest.trim_start().split(' ').collect();
    if length > 128 || !(1..=2).contains(&numbers.len()) {
        return Err(format!("an exemplar that is none: {exemplar}"));
    }
    numbers.into_iter().try_for_each(|text| number(text).map(drop))?;
    Ok(own)
}

fn histogram_part(name: &str, sample: &str) -> bool {
    let suffix = sample.strip_prefix(name);
    suffix.is_some_and(|suffix| ["_bucket", "_sum", "_count"].contains(&suffix))
}

#[derive(Default)]
struct Reading {
    page: Page,
    /// The family whose lines come now, and its type.
    family: Option<(String, Option<String>)>,
    seen: BTreeSet<String>,
    /// Buckets by labels without `le`: bounds and counts in their order.
    buckets: BTreeMap<String, Vec<(f64, f64)>>,
}

impl Reading {
    fn read(mut self, text: &str, belongs: impl Fn(&str, &str, &str) -> bool) -> Result<Page, String> {
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("the last line has no end".to_owned());
        }
        for (number, line) in text.lines().enumerate() {
            self.line(line, &belongs)
                .map_err(|why| format!("line {}: {why}: {line}", number + 1))?;
        }
        self.check_buckets()?;
        Ok(self.page)
    }

    fn line(&mut self, line: &str, belongs: &impl Fn(&str, &str, &str) -> bool) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("help without a text")?;
            return self.begin(name, help);
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("a type without a name")?;
            return self.typed(name, kind);
        }
        if line.starts_with('#') || line.trim() != line || line.is_empty() {
            return Err("neither help, nor type, nor a sample".to_owned());
        }
        let (name, labels, value) = sample(line)?;
        let Some((family, Some(kind))) = &self.family else {
            return Err("a sample before its type".to_owned());
        };
        if !belongs(family, kind, &name) {
            return Err(format!("not a sample of the {kind} {family}"));
        }
        if kind == "counter" && !(value.is_finite() && value >= 0.0) {
            return Err("a counter below zero".to_owned());
        }
        if name.ends_with("_bucket") && kind == "histogram" {
            let mut others = labels.clone();
            let le = others.remove("le").ok_or("a bucket without le")?;
            let bound = if le == "+Inf" { f64::INFINITY } else { number(&le)? };
            let key = shown(name.trim_end_matches("_bucket"), &others);
            self.buckets.entry(key).or_default().push((bound, value));
        }
        let key = shown(&name, &labels);
        match self.page.samples.insert(key, value) {
            Some(_) => Err("the same sample twice".to_owned()),
            None => Ok(()),
        }
    }

    fn begin(&mut self, name: &str, help: &str) -> Result<(), String> {
        if !is_name(name) || help.is_empty() {
            return Err("no name, or no help".to_owned());
        }
        if !self.seen.insert(name.to_owned()) {
            return Err("a family in two places".to_owned());
        }
        self.family = Some((name.to_owned(), None));
        Ok(())
    }

    fn typed(&mut self, name: &str, kind: &str) -> Result<(), String> {
        if !["counter", "gauge", "histogram"].contains(&kind) {
            return Err(format!("there is no type {kind}"));
        }
        match &mut self.family {
            Some((family, known @ None)) if family == name => {
                *known = Some(kind.to_owned());
                self.page.types.insert(name.to_owned(), kind.to_owned());
                Ok(())
            }
            _ => Err("a type that does not follow its help".to_owned()),
        }
    }

    /// Bounds rise to +Inf, counts do not fall, the last one is the count, and there is a sum.
    fn check_buckets(&self) -> Result<(), String> {
        for (key, buckets) in &self.buckets {
            let (name, labels) = key.split_at(key.find('{').unwrap_or(key.len()));
            let sound = buckets
                .windows(2)
                .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
            let last = buckets.last().filter(|(bound, _)| bound.is_infinite());
            let count = self.page.get(&format!("{name}_count{labels}"));
            let has_sum = self.page.get(&format!("{name}_sum{labels}")).is_some();
            if !sound || last.map(|(_, value)| *value) != count || count.is_none() || !has_sum {
                return Err(format!(
                    "{key}: buckets, sum and count do not fit: {buckets:?}, {count:?}"
                ));
            }
        }
        Ok(())
    }
}

/// `name{label="value",…} 1.5`
fn sample(line: &str) -> Result<(String, Labels, f64), String> {
    let end = line.find(['{', ' ']).ok_or("a sample without a value")?;
    let (name, rest) = line.split_at(end);
    if !is_name(name) {
        return Err(format!("{name:?} is no name"));
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Labels::new(), rest),
    };
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    Ok((name.to_owned(), labels, number(value)?))
}

/// What stands between the brackets, and what follows them.
fn labels(mut rest: &str) -> Result<(Labels, &str), String> {
    let mut found = Labels::new();
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        if !is_name(name) || name.contains(':') {
            return Err(format!("{name:?} is no label"));
        }
        let (value, after) = quoted(after)?;
        if found.insert(name.to_owned(), value).is_some() {
            return Err(format!("{name} twice"));
        }
        match after.split_at_checked(1) {
            Some((",", after)) => rest = after,
            Some(("}", after)) => return Ok((found, after)),
            _ => return Err("labels without an end".to_owned()),
        }
    }
}

fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((place, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[place + 1..])),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => value.push('\n'),
                Some(c @ ('"' | '\\')) => value.push(c),
                other => return Err(format!("an escape of {other:?}")),
            },
            c => value.push(c),
        }
    }
    Err("a value without an end".to_owned())
}

fn number(text: &str) -> Result<f64, String> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.e".contains(&b));
    match text.parse::<f64>() {
        Ok(number) if plain => Ok(number),
        _ => Err(format!("{text:?} is no number")),
    }
}

fn is_name(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    text.starts_with(first) && text.chars().all(|c| first(c) || c.is_ascii_digit())
}

fn shown(name: &str, labels: &Labels) -> String {
    if labels.is_empty() {
        return name.to_owned();
    }
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    format!("{name}{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"1\"} 3\na_total{x=\"2\\\"\"} 4\n\
        # HELP d_seconds D.\n# TYPE d_seconds histogram\nd_seconds_bucket{le=\"0.1\"} 1\nd_seconds_bucket{le=\"+Inf\"} 2\n\
        d_seconds_sum 0.5\nd_seconds_count 2\n";

    #[test]
    fn a_sound_page_is_read() {
        let page = Page::prometheus(SOUND).unwrap();
        assert_eq!(page.get("a_total{x=\"1\"}"), Some(3.0));
        assert_eq!(page.sum("a_total", &[]), 7.0);
        assert_eq!(page.types["d_seconds"], "histogram");
    }

    #[test]
    fn what_is_not_sound_is_refused_with_its_line() {
        for (from, to) in [
            ("a_total{x=\"1\"} 3", "a_total{x=\"1\"} three"),
            ("a_total{x=\"1\"} 3", "a_total{x=1} 3"),
            ("a_total{x=\"1\"} 3", "a_total{x=\"2\\\"\"} 3"),
            ("a_total{x=\"1\"} 3", "b_total{x=\"1\"} 3"),
            ("a_total{x=\"1\"} 3", "a_total{x=\"1\"} -3"),
            ("a_total{x=\"1\"} 3", "a_total{x=\"1\"}  3"),
            ("# TYPE a_total counter\n", ""),
            ("# TYPE a_total counter", "# TYPE a_total number"),
            ("d_seconds_count 2", "d_seconds_count 3"),
            ("d_seconds_bucket{le=\"+Inf\"} 2\n", ""),
            ("le=\"0.1\"} 1", "le=\"0.1\"} 9"),
            ("d_seconds_sum 0.5\n", ""),
        ] {
            let text = SOUND.replace(from, to);
            assert_ne!(text, SOUND);
            assert!(Page::prometheus(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn openmetrics_has_an_end_and_counters_without_suffix() {
        let text = "# HELP a A.\n# TYPE a counter\na_total 3\n# EOF\n";
        assert_eq!(Page::open_metrics(text).unwrap().get("a_total"), Some(3.0));
        assert!(Page::open_metrics(SOUND).is_err());
        assert!(Page::open_metrics(&text.replace("# EOF\n", "")).is_err());
    }

    #[test]
    fn an_exemplar_stands_behind_a_bucket_or_a_counter_and_is_short() {
        let text = |exemplar: &str| {
            format!(
                "# HELP a A.\n# TYPE a counter\na_total 3{exemplar}\n# HELP g G.\n# TYPE g gauge\ng 1\n# EOF\n"
            )
        };
        for sound in [" # {trace_id=\"ab\"} 0.5 1700000000.5", " # {trace_id=\"ab\"} 3"] {
            assert_eq!(
                Page::open_metrics(&text(sound)).unwrap().get("a_total"),
                Some(3.0)
            );
        }
        let long = format!(" # {{trace_id=\"{}\"}} 1", "a".repeat(121));
        for wrong in [
            " # trace_id 1",
            " # {trace_id=\"ab\"}",
            " # {trace_id=\"ab\"} x",
            &long,
        ] {
            assert!(Page::open_metrics(&text(wrong)).is_err(), "{wrong}");
        }
        let of_gauge = text("").replace("g 1", "g 1 # {trace_id=\"ab\"} 1");
        assert!(Page::open_metrics(&of_gauge).is_err());
    }
}
