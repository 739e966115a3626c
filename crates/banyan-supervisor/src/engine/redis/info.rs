//! What a Redis tells about itself (`INFO`), as far as anybody here needs it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// <https://redis.io/docs/latest/commands/info/>; counters are since the server's start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    pub version: String,
    /// Another one after each start.
    pub run_id: String,
    pub uptime_seconds: u64,
    pub clients: u64,
    pub rejected_connections: u64,
    /// Bytes of data and what they need.
    pub used_bytes: u64,
    /// As the system counts it.
    pub rss_bytes: u64,
    /// 0: there is no limit.
    pub max_bytes: u64,
    pub policy: String,
    pub keys: u64,
    /// Those of them that expire.
    pub expiring_keys: u64,
    pub hits: u64,
    pub misses: u64,
    pub evicted: u64,
    pub expired: u64,
    pub commands: u64,
    /// It still reads its data from the disk.
    pub loading: bool,
    /// What was written last is on its way to the disk; false: the disk refused it, and writes are refused.
    pub persists: bool,
    /// `master`, `slave`.
    pub role: String,
}

impl Info {
    /// The reply to `INFO`; what is missing in it is 0.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.trim_end().split_once(':'));
        let fields: BTreeMap<&str, &str> = lines.collect();
        let word = |name: &str| fields.get(name).copied().unwrap_or_default().to_owned();
        let number = |name: &str| fields.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        let databases = fields.iter().filter(|(name, _)| {
            let number = name.strip_prefix("db");
            number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
        });
        // `keys=3,expires=1,avg_ttl=0`
        let counts =
            databases.flat_map(|(_, counts)| counts.split(',').filter_map(|one| one.split_once('=')));
        let counts: Vec<(&str, u64)> = counts
            .filter_map(|(name, count)| Some((name, count.parse().ok()?)))
            .collect();
        let sum = |wanted: &str| {
            let of = counts.iter().filter(|(name, _)| *name == wanted);
            of.map(|(_, count)| count).sum()
        };
        Self {
            version: word("redis_version"),
            run_id: word("run_id"),
            uptime_seconds: number("uptime_in_seconds"),
            clients: number("connected_clients"),
            rejected_connections: number("rejected_connections"),
            used_bytes: number("used_memory"),
            rss_bytes: number("used_memory_rss"),
            max_bytes: number("maxmemory"),
            policy: word("maxmemory_policy"),
            keys: sum("keys"),
            expiring_keys: sum("expires"),
            hits: number("keyspace_hits"),
            misses: number("keyspace_misses"),
            evicted: number("evicted_keys"),
            expired: number("expired_keys"),
            commands: number("total_commands_processed"),
            loading: number("loading") != 0,
            persists: fields.get("aof_last_write_status") != Some(&"err"),
            role: word("role"),
        }
    }

    /// Of the reads of keys, how many found one; `None`: there were none.
    pub fn hit_ratio(&self) -> Option<f64> {
        let reads = self.hits + self.misses;
        (reads > 0).then(|| self.hits as f64 / reads as f64)
    }

    /// How full it is, from 0 to 1 and a little beyond; `None`: it has no limit.
    pub fn fill(&self) -> Option<f64> {
        (self.max_bytes > 0).then(|| self.used_bytes as f64 / self.max_bytes as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_databases_are_counted_and_ratios_need_something_to_divide_by() {
        let info = Info::parse(
            "# Server\r\nredis_version:7.0.15\r\n# Stats\r\nkeyspace_hits:3\r\nkeyspace_misses:1\r\n\
             used_memory:50\r\nmaxmemory:100\r\naof_last_write_status:err\r\ndbsize_not:1\r\n\
             db0:keys=2,expires=1,avg_ttl=0\r\ndb3:keys=5,expires=0,avg_ttl=0\r\n",
        );
        assert_eq!((info.keys, info.expiring_keys), (7, 1));
        assert_eq!((info.hit_ratio(), info.fill()), (Some(0.75), Some(0.5)));
        assert!(!info.persists && !info.loading);
        let empty = Info::parse("");
        assert_eq!(
            (empty.hit_ratio(), empty.fill(), empty.persists),
            (None, None, true)
        );
    }
}
