//! The log files of the children, merged: where each one stands, what is new, and how a line looks.
//!
//! Children write to their file themselves, so rotation truncates it after copying; a file that became shorter, or is
//! another one, is read from its beginning.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::render::amount;
use crate::render::paint::{Paint, Style};

/// Of a huge file only this much is looked at for the last lines.
const TAIL_BYTES: u64 = 4 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) child: String,
    pub(crate) text: String,
}

/// Which children are wanted; empty: all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted(pub(crate) Vec<String>);

impl Wanted {
    /// `web` means all its instances, `web.1` that slot in every release, `web.1@r3` one, `edge` the edge.
    pub(crate) fn contains(&self, child: &str) -> bool {
        self.0.is_empty()
            || self.0.iter().any(|name| {
                let rest = child.strip_prefix(name.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '@']))
            })
    }
}

/// Reads what is new in all wanted files of a folder.
pub(crate) struct Tail {
    folder: PathBuf,
    wanted: Wanted,
    files: BTreeMap<String, Position>,
}

#[derive(Default)]
struct Position {
    inode: u64,
    offset: u64,
    /// The beginning of a line whose end has not been written yet.
    partial: Vec<u8>,
}

impl Tail {
    pub(crate) fn new(folder: PathBuf, wanted: Wanted) -> Self {
        Self {
            folder,
            wanted,
            files: BTreeMap::new(),
        }
    }

    /// The last `count` lines of each file, the files merged by the time in their lines. Continue with [`Tail::new_lines`].
    pub(crate) fn last(&mut self, count: usize) -> io::Result<Vec<Line>> {
        let mut all: Vec<(u64, Line)> = Vec::new();
        for child in self.children()? {
            let path = self.path(&child);
            let Some((text, position)) = ending(&path)? else {
                continue;
            };
            let lines: Vec<&str> = text.lines().collect();
            // A line without a time belongs to the one before it; with none before, to the file's last change.
            let mut time = modified_ms(&path);
            let first = lines.iter().find_map(|line| time_of(line));
            time = first.unwrap_or(time);
            for line in &lines[lines.len().saturating_sub(count)..] {
                time = time_of(line).unwrap_or(time);
                let text = (*line).to_owned();
                let child = child.clone();
                all.push((time, Line { child, text }));
            }
            self.files.insert(child, position);
        }
        all.sort_by_key(|(time, _)| *time);
        Ok(all.into_iter().map(|(_, line)| line).collect())
    }

    /// What was written since the last call; a file that is new is read from its beginning.
    pub(crate) fn new_lines(&mut self) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        for child in self.children()? {
            let path = self.path(&child);
            let position = self.files.entry(child.clone()).or_default();
            for text in position.advance(&path)? {
                lines.push(Line {
                    child: child.clone(),
                    text,
                });
            }
        }
        Ok(lines)
    }

    /// Names of the children that have a log, wanted ones only.
    pub(crate) fn children(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".log")?.to_owned()))
            .filter(|name| self.wanted.contains(name))
            .collect();
        names.sort();
        Ok(names)
    }

    fn path(&self, child: &str) -> PathBuf {
        self.folder.join(format!("{child}.log"))
    }
}

impl Position {
    fn advance(&mut self, path: &Path) -> io::Result<Vec<String>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        if meta.ino() != self.inode || meta.len() < self.offset {
            *self = Self {
                inode: meta.ino(),
                ..Self::default()
            };
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let before = self.partial.len();
        file.take(TAIL_BYTES).read_to_end(&mut self.partial)?;
        self.offset += (self.partial.len() - before) as u64;
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        Ok(String::from_utf8_lossy(&whole)
            .lines()
            .map(str::to_owned)
            .collect())
    }
}

/// The end of a file up to its last whole line, and where that is.
fn ending(path: &Path) -> io::Result<Option<(String, Position)>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    let start = meta.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let end = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let position = Position {
        inode: meta.ino(),
        offset: start + bytes.len() as u64,
        partial: bytes.split_off(end),
    };
    Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), position)))
}

fn modified_ms(path: &Path) -> u64 {
    crate::machine::modified_ms(path).unwrap_or(0)
}

/// The time in a line, Unix ms: a JSON field, or an ISO date near its beginning (PostgreSQL, most loggers).
fn time_of(line: &str) -> Option<u64> {
    if line.starts_with('{') {
        let record: serde_json::Value = serde_json::from_str(line).ok()?;
        let field = ["ts", "time", "timestamp", "ts_ms", "at"]
            .iter()
            .find_map(|name| record.get(name))?;
        return field.as_u64().or_else(|| iso_ms(field.as_str()?));
    }
    let start = line.bytes().take(24).position(|byte| byte.is_ascii_digit())?;
    iso_ms(line.get(start..)?)
}

/// `2026-01-31T12:00:05.123Z`, also with a space for the T, without fraction; zone offsets are taken off.
fn iso_ms(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let separators = [(4, "-"), (7, "-"), (13, ":"), (16, ":")];
    if separators
        .iter()
        .any(|(at, sign)| text.get(*at..at + 1) != Some(sign))
    {
        return None;
    }
    let days = days_since_1970(number(0..4)?, number(5..7)?, number(8..10)?);
    let seconds = number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
    let rest = text.get(19..)?;
    let fraction: String = rest
        .strip_prefix(['.', ','])
        .map(|digits| digits.chars().take_while(char::is_ascii_digit).collect())
        .unwrap_or_default();
    let millis = format!("{fraction:0<3}").get(..3)?.parse::<i64>().ok()?;
    let zone = rest.get(
        if fraction.is_empty() {
            0
        } else {
            fraction.len() + 1
        }..,
    )?;
    let sign = match zone.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => 0,
    };
    let offset = match (sign, zone.get(1..3), zone.get(4..6)) {
        (0, ..) => 0,
        (_, Some(hours), minutes) => {
            let minutes = minutes.and_then(|m| m.parse::<i64>().ok()).unwrap_or(0);
            sign * (hours.parse::<i64>().ok()? * 60 + minutes) * 60
        }
        _ => 0,
    };
    u64::try_from((days * 86_400 + seconds - offset) * 1000 + millis).ok()
}

/// Days from 1970-01-01 in the Gregorian calendar, counted from the first of March to keep leap days last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

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
    let text = access(&line.text, paint).or_else(|| event(&line.text, paint));
    format!("{name} {}", text.as_deref().unwrap_or(&line.text))
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
        "ERROR" => Style::Red,
        "WARN" => Style::Yellow,
        _ => Style::Dim,
    };
    let rest: Vec<String> = record
        .iter()
        .filter(|(name, _)| !["timestamp", "level", "message", "target"].contains(&name.as_str()))
        .map(|(name, value)| {
            format!(
                "{name}={}",
                value.as_str().map_or_else(|| value.to_string(), str::to_owned)
            )
        })
        .collect();
    let line = format!(
        "{} {message}  {}",
        paint.with(style, level),
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
    use std::io::Write;

    use super::*;

    fn append(folder: &Path, name: &str, text: &str) {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(folder.join(name))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn texts(lines: Vec<Line>) -> Vec<String> {
        lines
            .into_iter()
            .map(|line| format!("{}:{}", line.child, line.text))
            .collect()
    }

    #[test]
    fn a_name_means_a_process_a_slot_or_a_child() {
        let wanted = |name: &str, child| Wanted(vec![name.to_owned()]).contains(child);
        assert!(wanted("web", "web.1@r3") && wanted("web.1", "web.1@r3") && wanted("edge", "edge"));
        assert!(!wanted("web", "webhook.1@r1") && !wanted("web.1", "web.11@r1"));
        assert!(Wanted::default().contains("postgres"));
    }

    #[test]
    fn files_are_merged_by_the_times_in_their_lines() {
        let folder = tempfile::tempdir().unwrap();
        append(
            folder.path(),
            "a.log",
            "2026-01-01T00:00:01Z one\n  more of one\n2026-01-01T00:00:03Z three\n",
        );
        append(
            folder.path(),
            "b.log",
            "{\"ts\":\"2026-01-01T00:00:02.000Z\"}\n2026-01-01 00:00:04.5 UTC four\n",
        );
        let mut tail = Tail::new(folder.path().to_owned(), Wanted::default());
        let lines = texts(tail.last(10).unwrap());
        assert_eq!(
            lines,
            [
                "a:2026-01-01T00:00:01Z one",
                "a:  more of one",
                "b:{\"ts\":\"2026-01-01T00:00:02.000Z\"}",
                "a:2026-01-01T00:00:03Z three",
                "b:2026-01-01 00:00:04.5 UTC four",
            ]
        );
    }

    #[test]
    fn following_shows_each_line_once_over_rotation_and_new_children() {
        let folder = tempfile::tempdir().unwrap();
        append(folder.path(), "a.log", "1\n2\nhalf");
        let mut tail = Tail::new(folder.path().to_owned(), Wanted::default());
        assert_eq!(texts(tail.last(1).unwrap()), ["a:2"]);
        append(folder.path(), "a.log", " done\n");
        append(folder.path(), "b.log", "new\n");
        assert_eq!(texts(tail.new_lines().unwrap()), ["a:half done", "b:new"]);
        fs::write(folder.path().join("a.log"), "3\n").unwrap();
        assert_eq!(texts(tail.new_lines().unwrap()), ["a:3"]);
        assert_eq!(texts(tail.new_lines().unwrap()), Vec::<String>::new());
    }

    #[test]
    fn times_with_zones_are_the_same_moment() {
        let utc = iso_ms("2026-03-01T12:00:00Z").unwrap();
        assert_eq!(iso_ms("2026-03-01 13:00:00.000+01:00"), Some(utc));
        assert_eq!(iso_ms("2026-03-01 10:00:00-02"), Some(utc));
        assert_eq!(iso_ms("1970-01-02T00:00:00.007Z"), Some(86_400_007));
        assert_eq!(iso_ms("not a date at all, really"), None);
    }

    #[test]
    fn an_event_of_a_role_is_shown_in_short_and_foreign_json_as_it_is() {
        let shown = |text: &str| {
            let line = Line {
                child: "edge".to_owned(),
                text: text.to_owned(),
            };
            render(&line, 4, Paint::OFF)
        };
        let event = r#"{"timestamp":"2026-01-01T00:00:00Z","level":"INFO","message":"snapshot taken","epoch":"48","endpoints":2,"target":"banyan_edge::control"}"#;
        assert_eq!(shown(event), "edge | INFO snapshot taken  endpoints=2 epoch=48");
        let foreign = r#"{"level":"info","message":"hi","target":"app"}"#;
        assert_eq!(shown(foreign), format!("edge | {foreign}"));
    }

    #[test]
    fn an_access_record_is_shown_in_short() {
        let line = Line {
            child: "edge".to_owned(),
            text: r#"{"time":"2026-01-01T00:00:00.000Z","id":"x","client":"127.0.0.1","method":"GET","path":"/api/tags","status":200,"bytes":2,"ms":3.210,"upstream":"web.1@r1","retries":0,"outcome":"answered"}"#
                .to_owned(),
        };
        assert_eq!(
            render(&line, 8, Paint::OFF),
            "edge     | 200 GET /api/tags  3.2 ms  web.1@r1"
        );
    }
}
