//! `origin` and `backup`: servers elsewhere.

use super::{Builder, ToOrigin};
use crate::nearest::nearest;
use crate::read::Reader;

impl Builder<'_> {
    pub(super) fn to_origin(&self, table: &Reader<'_>) -> ToOrigin {
        ToOrigin {
            origin: self.origin_named(table, "origin").unwrap_or_default(),
            rewrite: table.text("rewrite").map(|spot| self.literal(spot)),
        }
    }

    /// `None`: none is, or there is no such table.
    pub(super) fn origin_named(&self, table: &Reader<'_>, key: &str) -> Option<String> {
        let spot = table.text(key)?;
        if !self.origins.contains_key(&spot.value) {
            // A table that is wrong is reported where it is.
            if !self.report.has_errors() {
                let help = match nearest(&spot.value, self.origins.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("write a table [origin.{}] with its url", spot.value),
                };
                let message = format!("there is no [origin.{}]", spot.value);
                self.report.error(&spot.place, message, &[&help]);
            }
            return None;
        }
        Some(spot.value)
    }

    pub(super) fn backup_fits(&self, table: &Reader<'_>, action: &str) {
        if let (Some(entry), false) = (table.entry("backup"), ["process", "split"].contains(&action)) {
            let message = format!("`backup` does nothing beside `{action}`");
            let help = if action == "origin" {
                "its servers have backups of their own: write `backup` in its [origin.NAME]"
            } else {
                "remove it: only a process has one"
            };
            self.report.error(&entry.place, message, &[help]);
        }
    }
}
