//! The managed Redis servers: one per purpose.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use banyan_config::{Eviction, Purpose, RedisSetting};

/// A Redis of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redis {
    pub purpose: Purpose,
    /// On 127.0.0.1.
    pub port: u16,
    /// As configured, in bytes.
    pub memory_bytes: u64,
    pub eviction: Eviction,
    /// The user's own `redis.conf` settings; they win over ours.
    pub settings: BTreeMap<String, String>,
}

impl Redis {
    /// What data may take, in bytes. A cache is held below the memory of its server: what clients and fragments need is
    /// not counted as data.
    pub fn data_bytes(&self) -> u64 {
        match self.purpose {
            Purpose::Sessions => self.memory_bytes,
            Purpose::Cache => self.memory_bytes / 5 * 4,
        }
    }

    /// Whether what it holds outlives it.
    pub fn keeps(&self) -> bool {
        self.purpose == Purpose::Sessions
    }

    /// Whether the server must be started anew to have the other's settings.
    pub fn restarts_for(&self, other: &Self) -> bool {
        let at_start = |side: &Self| -> BTreeMap<String, String> {
            let of = side.settings.iter();
            let needs = |name: &str| RedisSetting::named(name).is_none_or(|setting| setting.at_start);
            of.filter(|(name, _)| needs(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect()
        };
        at_start(self) != at_start(other)
    }
}
