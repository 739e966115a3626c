//! `compress`: which answers are sent compressed (RFC 9110 §8.4), in which codings.

use serde::{Deserialize, Serialize};

use crate::keys::COMPRESS_KEYS;
use crate::read::{Reader, Spot};
use crate::report::{Place, Report};
use crate::tree::Value;
use crate::units::format_bytes;

/// Answers whose request takes one of the codings are compressed on their way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compress {
    /// Best first, among those that a client takes equally. At least one, none twice.
    pub codings: Vec<Coding>,
    /// Media types in lower case: `text/html`, `text/*`, `application/*+json`.
    pub types: Vec<String>,
    /// In bytes. Answers whose length is not known beforehand are compressed whatever it becomes.
    pub min: u64,
    pub max: u64,
    /// Also what only one user may see. Without it secrets cannot be guessed by the sizes of answers (BREACH).
    pub private: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

impl Coding {
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// Its name in HTTP.
    pub fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }
}

impl Compress {
    pub(super) fn words(&self) -> String {
        let names: Vec<&str> = self.codings.iter().map(|coding| coding.name()).collect();
        let private = if self.private { ", private ones, too" } else { "" };
        format!(
            "answers are compressed ({}; from {} to {}{private})",
            names.join(", "),
            format_bytes(self.min),
            format_bytes(self.max)
        )
    }
}

pub(super) fn build(table: &Reader<'_>, inherited: Option<&Compress>, report: &Report) -> Option<Compress> {
    let Some(entry) = table.entry("compress") else {
        return inherited.cloned();
    };
    let tables = table.tables("compress");
    if let [_, second, ..] = tables.as_slice() {
        let help = "put all types into one list";
        report.error(&second.place, "`compress` is one table", &[help]);
    }
    let read = match &entry.node.value {
        Value::Text(word) if word == "on" => Reader::new(&[], COMPRESS_KEYS),
        _ => tables.into_iter().next()?.value,
    };
    let compress = Compress {
        codings: codings(&read, report),
        types: types(&read, report),
        min: read.bytes("min"),
        max: read.bytes("max"),
        private: read.boolean("private"),
    };
    if compress.min > compress.max {
        let help = "`min` is the smallest, `max` the largest answer that is compressed";
        report.error(
            &place(&read, "min", &entry.node.place),
            "`min` is above `max`",
            &[help],
        );
    }
    Some(compress)
}

fn place(read: &Reader<'_>, name: &str, else_at: &Place) -> Place {
    let entry = read.entry(name);
    entry.map_or_else(|| else_at.clone(), |entry| entry.node.place.clone())
}

fn codings(read: &Reader<'_>, report: &Report) -> Vec<Coding> {
    let mut found = Vec::new();
    for word in read.words("codings") {
        let coding = Coding::ALL.into_iter().find(|coding| coding.name() == word);
        found.extend(coding.filter(|coding| !found.contains(coding)));
    }
    if let (Some(entry), true) = (read.entry("codings"), found.is_empty()) {
        let help = "write codings = [\"zstd\", \"br\", \"gzip\"], or compress = \"off\"";
        report.error(&entry.node.place, "`codings` names none", &[help]);
    }
    found
}

fn types(read: &Reader<'_>, report: &Report) -> Vec<String> {
    for text in read.texts("types").iter().filter(|text| !is_type(&text.value)) {
        wrong_type(text, report);
    }
    let words = read.words("types");
    words.into_iter().map(|word| word.to_ascii_lowercase()).collect()
}

fn wrong_type(text: &Spot<String>, report: &Report) {
    let help = "write \"text/html\", \"text/*\" or \"application/*+json\", without parameters";
    let message = format!("\"{}\" is no media type", text.value);
    report.error(&text.place, message, &[help]);
}

/// `kind/name`, `kind/*` or `kind/*+suffix`.
fn is_type(text: &str) -> bool {
    let token = |text: &str| {
        let sound = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
        !text.is_empty() && text.bytes().all(sound)
    };
    text.split_once('/').is_some_and(|(kind, name)| {
        let rest = name.strip_prefix('*');
        let suffix = |rest: &str| rest.is_empty() || rest.strip_prefix('+').is_some_and(token);
        token(kind) && rest.map_or_else(|| token(name), suffix)
    })
}
