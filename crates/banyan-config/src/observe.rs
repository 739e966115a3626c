//! `[observe]`: what is kept of everything that is measured, and where people see it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::read::Reader;
use crate::units::duration;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ObserveTable {
    /// Of the dashboard, on 127.0.0.1; `None`: a free one, kept from then on.
    pub port: Option<u16>,
    pub settings: ObserveSettings,
}

/// What a running role takes by snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObserveSettings {
    /// Default 256 MiB.
    pub disk_bytes: u64,
    /// Default 60 days.
    #[serde(with = "duration")]
    pub keep: Duration,
}

/// `None`: nothing is kept.
pub(crate) fn build(root: &Reader<'_>) -> Option<ObserveTable> {
    let table = root.table("observe");
    table.boolean("enabled").then(|| ObserveTable {
        port: table
            .integer("port")
            .and_then(|port| u16::try_from(port.value).ok()),
        settings: ObserveSettings {
            disk_bytes: table.bytes("disk"),
            keep: table.duration("keep"),
        },
    })
}
