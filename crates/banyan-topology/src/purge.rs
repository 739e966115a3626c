//! `purge.log`: what was purged, in order, from the controller to every edge.
//!
//! A text file: one line names the log, each further line is one record, numbered without a gap. Every line begins with its
//! checksum. The last line may be torn by a crash and counts for nothing then; any other line that is not sound makes the
//! log worthless, and its readers purge everything. Pure: [`read`] judges bytes, [`Head::line`] and [`Record::line`] make them.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A longer name is refused.
pub const MOST_BYTES: usize = 8 * 1024;

/// The first line. Another `log` than before: what was purged in between is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Made up anew with each log.
    pub log: String,
    /// The number before that of the first record: what is older was cut off.
    pub after: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub seq: u64,
    /// Unix time in ms.
    pub at_ms: u64,
    pub scope: Scope,
    pub mode: Mode,
    pub actor: Actor,
}

/// What is purged.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One URL, in every variant.
    Url(String),
    /// All that begins so, cut after its last slash.
    Prefix(String),
    /// `*` is any run of characters.
    Glob(String),
    /// Of Surrogate-Key, Cache-Tag, or a rule.
    Tag(String),
    All,
}

/// How far it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Validated before long; others get the old copy meanwhile, 30 s at most, and while the app is down.
    #[default]
    Soft,
    /// Of no use from now on.
    Hard,
}

/// Who wanted it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// `banyan purge`.
    Command,
    /// The HTTP endpoint.
    Endpoint,
    /// An unsafe request that passed this edge, which holds to it already: its `number`th.
    Edge { edge: String, number: u64 },
}

/// What an edge says of purges in its report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeReport {
    /// This process: no other has had this name.
    pub edge: String,
    /// The log that it follows; "": it has seen none.
    pub log: String,
    /// Records up to this one are applied: nothing that they name is served any more.
    pub applied: u64,
    /// What unsafe requests made untrue and other edges do not know yet, in order. Repeated until the log has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invalidated: Vec<Invalidated>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalidated {
    /// Counted by the edge, from 1 on.
    pub number: u64,
    pub scope: Scope,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::Prefix(prefix) => write!(f, "all under {prefix}"),
            Self::Glob(glob) => write!(f, "all like {glob}"),
            Self::Tag(tag) => write!(f, "the tag {tag}"),
            Self::All => f.write_str("everything"),
        }
    }
}

impl Scope {
    /// Why it can name nothing, and what to write.
    pub fn check(&self) -> Result<(), String> {
        let (text, is_url) = match self {
            Self::All => return Ok(()),
            Self::Url(text) | Self::Prefix(text) => (text, true),
            Self::Glob(text) | Self::Tag(text) => (text, false),
        };
        if text.is_empty() || text.len() > MOST_BYTES {
            return Err(format!("a name to purge has 1 to {MOST_BYTES} bytes"));
        }
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(format!(
                "\"{}\" has a blank or a control character in it",
                text.escape_debug()
            ));
        }
        let rest = ["http://", "https://"].iter().find_map(|scheme| {
            text.to_ascii_lowercase()
                .starts_with(scheme)
                .then(|| &text[scheme.len()..])
        });
        match rest {
            _ if !is_url => Ok(()),
            Some(rest) if !rest.starts_with(['/', '?', '#']) && !rest.is_empty() => Ok(()),
            _ => Err(format!(
                "\"{text}\" is no whole URL: write scheme and host as clients do, https://shop.example{} (or a glob, *{text})",
                if text.starts_with('/') {
                    text.as_str()
                } else {
                    "/a.css"
                }
            )),
        }
    }
}

impl Head {
    /// With its line end.
    pub fn line(&self) -> String {
        line(self)
    }
}

impl Record {
    /// With its line end.
    pub fn line(&self) -> String {
        line(self)
    }
}

/// With its checksum and its line end. `value`: nothing that JSON cannot say.
pub fn line(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    format!("{:016x} {text}\n", checksum(text.as_bytes()))
}

/// FNV-1a, 64 bits: finds what was torn or overwritten. It keeps nobody from forging: the file is the controller's own.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Without its line end; `None`: it is not as it was written.
pub fn parse<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(line).ok()?;
    let (sum, text) = text.split_once(' ')?;
    let sound = sum.len() == 16 && u64::from_str_radix(sum, 16) == Ok(checksum(text.as_bytes()));
    sound.then(|| serde_json::from_str(text).ok()).flatten()
}

/// What the bytes of a log hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub head: Head,
    /// Numbered without a gap, from `head.after + 1` on.
    pub records: Vec<Record>,
    /// So many bytes are sound lines; what follows is a torn last line.
    pub sound: usize,
}

/// The log cannot be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the log of purges is damaged")]
pub struct Damaged {
    pub line: usize,
}

/// `None`: not even the first line is there.
pub fn read(bytes: &[u8]) -> Result<Option<Reading>, Damaged> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return Ok(None);
    };
    let head: Head = parse(&bytes[..end]).ok_or(Damaged { line: 1 })?;
    let mut last = head.after;
    let (records, more) = read_on(&bytes[end + 1..], &mut last).map_err(|damaged| Damaged {
        line: damaged.line + 1,
    })?;
    Ok(Some(Reading {
        head,
        records,
        sound: end + 1 + more,
    }))
}

/// Lines behind those that were read; `last`: the number before them, and then theirs. With the bytes of sound lines.
pub fn read_on(bytes: &[u8], last: &mut u64) -> Result<(Vec<Record>, usize), Damaged> {
    let mut records = Vec::new();
    let mut sound = 0;
    for (at, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let Some(whole) = line.strip_suffix(b"\n") else {
            break;
        };
        let record: Option<Record> = parse(whole).filter(|record: &Record| record.seq == *last + 1);
        let record = record.ok_or(Damaged { line: at + 1 })?;
        *last = record.seq;
        records.push(record);
        sound += line.len();
    }
    Ok((records, sound))
}

/// The number of the last sound line, and where it ends, whatever is before it.
pub fn last_sound(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut end = 0;
    let mut found = None;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        end += line.len();
        let record: Option<Record> = line.strip_suffix(b"\n").and_then(parse);
        found = record.map(|record| (record.seq, end)).or(found);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(seq: u64) -> Record {
        Record {
            seq,
            at_ms: 1_795_000_000_000,
            scope: Scope::Url(format!("https://shop.example/{seq}")),
            mode: Mode::Soft,
            actor: Actor::Command,
        }
    }

    fn log(after: u64, seqs: impl IntoIterator<Item = u64>) -> String {
        let head = Head {
            log: "a1".to_owned(),
            after,
        };
        let records = seqs.into_iter().map(|seq| record(seq).line());
        head.line() + &records.collect::<String>()
    }

    #[test]
    fn a_log_is_lines_with_checksums() {
        let text = log(7, [8]);
        let expected = expect_test::expect![[r#"
            f9979f5103474c14 {"log":"a1","after":7}
            8a0e298cf2d4e6f0 {"seq":8,"at_ms":1795000000000,"scope":{"url":"https://shop.example/8"},"mode":"soft","actor":"command"}
        "#]];
        expected.assert_eq(&text);
    }

    #[test]
    fn a_log_cut_anywhere_is_what_was_written_whole() {
        let whole = log(0, 1..=3);
        let lines: Vec<usize> = whole.match_indices('\n').map(|(at, _)| at + 1).collect();
        for cut in 0..=whole.len() {
            let reading = read(&whole.as_bytes()[..cut]).unwrap();
            let ends = lines.iter().filter(|end| **end <= cut).count();
            assert_eq!(
                reading.as_ref().map(|r| r.records.len()),
                ends.checked_sub(1),
                "cut at {cut}"
            );
            let sound = reading.map_or(0, |r| r.sound);
            assert_eq!(
                sound,
                lines.iter().rfind(|end| **end <= cut).copied().unwrap_or(0)
            );
        }
    }

    #[test]
    fn a_byte_changed_in_a_whole_line_and_a_gap_are_found() {
        let whole = log(0, 1..=3);
        for at in 0..whole.len() {
            let mut bytes = whole.clone().into_bytes();
            bytes[at] ^= 1;
            let told = read(&bytes);
            let lost_an_end = whole.as_bytes()[at] == b'\n';
            let shorter = told
                .as_ref()
                .is_ok_and(|r| r.as_ref().is_none_or(|r| r.records.len() < 3));
            assert!(told.is_err() || (lost_an_end && shorter), "byte {at}");
        }
        assert_eq!(read(log(0, [1, 3]).as_bytes()), Err(Damaged { line: 3 }));
        assert_eq!(read(log(1, [1]).as_bytes()), Err(Damaged { line: 2 }));
    }

    #[test]
    fn names_that_name_nothing_are_refused_with_what_to_write() {
        let told = |scope: Scope| scope.check().err().unwrap_or_default();
        assert_eq!(told(Scope::Url("https://a/b?c=d".into())), "");
        assert_eq!(told(Scope::Tag("news".into())), "");
        let expected = "\"/a.css\" is no whole URL: write scheme and host as clients do, https://shop.example/a.css (or a glob, */a.css)";
        assert_eq!(told(Scope::Url("/a.css".into())), expected);
        for scope in [
            Scope::Prefix("https://".into()),
            Scope::Url("https:///x".into()),
            Scope::Tag("a b".into()),
            Scope::Tag("".into()),
        ] {
            assert_ne!(told(scope.clone()), "", "{scope:?}");
        }
    }
}
