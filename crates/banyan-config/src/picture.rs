//! `image` of a cache rule: pictures in other sizes and formats.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::keys::IMAGE;
use crate::read::Reader;
use crate::report::Report;
use crate::tree::Value;

/// More would only fill the memory.
const MOST_WIDTHS: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pictures {
    /// In pixels, ascending, none twice; 1 to 16 of them.
    pub widths: Vec<u32>,
    /// 1 to 100.
    pub quality: u8,
    /// That may be made; at least one.
    pub formats: Vec<PictureFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PictureFormat {
    Avif,
    Webp,
    Jpeg,
}

impl PictureFormat {
    const ALL: [Self; 3] = [Self::Avif, Self::Webp, Self::Jpeg];

    pub fn name(self) -> &'static str {
        match self {
            Self::Avif => "avif",
            Self::Webp => "webp",
            Self::Jpeg => "jpeg",
        }
    }
}

impl fmt::Display for Pictures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let formats: Vec<_> = self.formats.iter().map(|format| format.name()).collect();
        write!(
            f,
            "pictures in {} sizes as {}",
            self.widths.len(),
            formats.join(", ")
        )
    }
}

/// `None`: they stay as they are.
pub(crate) fn build(rule: &Reader<'_>, report: &Report) -> Option<Pictures> {
    let entry = rule.entry("image")?;
    let table = match &entry.node.value {
        Value::Boolean(true) => Reader::new(&[], IMAGE),
        Value::Table(entries) => Reader::new(entries, IMAGE),
        _ => return None,
    };
    let mut widths: Vec<u32> = table.numbers("widths");
    widths.sort_unstable();
    widths.dedup();
    if widths.is_empty() || widths.len() > MOST_WIDTHS {
        let place = table
            .entry("widths")
            .map_or(&entry.node.place, |entry| &entry.node.place);
        let help =
            "write 1 to 16 of them, for example widths = [320, 640, 1280]; others get the next larger one";
        report.error(place, format!("`widths` names {}", widths.len()), &[help]);
    }
    let words = table.words("formats");
    let formats: Vec<_> = PictureFormat::ALL
        .into_iter()
        .filter(|format| words.iter().any(|word| word == format.name()))
        .collect();
    if let (Some(entry), true) = (table.entry("formats"), formats.is_empty()) {
        let help = "write formats = [\"avif\", \"webp\", \"jpeg\"], or image = false";
        report.error(&entry.node.place, "`formats` names none", &[help]);
    }
    Some(Pictures {
        widths,
        quality: table.number("quality"),
        formats,
    })
}
