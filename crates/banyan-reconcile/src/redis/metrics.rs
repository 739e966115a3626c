//! What the Redis servers count, for the pages of metrics.

use banyan_telemetry::Families;
use banyan_telemetry::families::Kind;

use crate::proto::{Info, RedisState};

/// A family: its kind, its name, what it means, and where its number is.
type Row = (Kind, &'static str, &'static str, fn(&Info) -> u64);

/// Counters begin anew with each start of a server, as readers expect of processes.
const FAMILIES: [Row; 14] = [
    (
        Kind::Gauge,
        "redis_memory_used_bytes",
        "Data and what it needs.",
        |info| info.used_bytes,
    ),
    (
        Kind::Gauge,
        "redis_memory_max_bytes",
        "What data may take; 0: all there is.",
        |info| info.max_bytes,
    ),
    (
        Kind::Gauge,
        "redis_memory_rss_bytes",
        "Memory of the process.",
        |info| info.rss_bytes,
    ),
    (Kind::Gauge, "redis_keys", "Keys in all databases.", |info| {
        info.keys
    }),
    (
        Kind::Gauge,
        "redis_expiring_keys",
        "Those of them that expire.",
        |info| info.expiring_keys,
    ),
    (
        Kind::Gauge,
        "redis_connected_clients",
        "Open connections.",
        |info| info.clients,
    ),
    (Kind::Gauge, "redis_uptime_seconds", "Since its start.", |info| {
        info.uptime_seconds
    }),
    (
        Kind::Gauge,
        "redis_persists",
        "0: the disk refuses what it writes.",
        |info| u64::from(info.persists),
    ),
    (
        Kind::Counter,
        "redis_keyspace_hits_total",
        "Reads that found their key.",
        |info| info.hits,
    ),
    (
        Kind::Counter,
        "redis_keyspace_misses_total",
        "Reads that did not.",
        |info| info.misses,
    ),
    (
        Kind::Counter,
        "redis_evicted_keys_total",
        "Thrown away for want of memory.",
        |info| info.evicted,
    ),
    (
        Kind::Counter,
        "redis_expired_keys_total",
        "Gone when their time was over.",
        |info| info.expired,
    ),
    (
        Kind::Counter,
        "redis_commands_total",
        "Commands of all clients.",
        |info| info.commands,
    ),
    (
        Kind::Counter,
        "redis_rejected_connections_total",
        "Refused because there were too many.",
        |info| info.rejected_connections,
    ),
];

pub(crate) fn families(states: &[RedisState]) -> Families {
    let mut families = Families::default();
    for state in states {
        let mut up = families.family(Kind::Gauge, "redis_up", "1: it answers.");
        up.count(
            &[("redis", state.purpose.name())],
            u64::from(state.info.is_some()),
        );
    }
    for (kind, name, help, number) in FAMILIES {
        let mut family = families.family(kind, name, help);
        for state in states {
            if let Some(info) = &state.info {
                family.count(&[("redis", state.purpose.name())], number(info));
            }
        }
    }
    families
}

#[cfg(test)]
mod tests {
    use banyan_config::Purpose;
    use banyan_telemetry::families::Format;

    use super::*;

    #[test]
    fn one_that_does_not_answer_is_down_and_counts_nothing() {
        let state = |purpose, info| RedisState {
            purpose,
            port: 6390,
            info,
            problem: None,
        };
        let info = Info {
            hits: 3,
            ..Info::default()
        };
        let page = families(&[state(Purpose::Sessions, None), state(Purpose::Cache, Some(info))]);
        let page = page.render(Format::Prometheus);
        let says = |line: &str| page.lines().any(|own| own == line);
        assert!(
            says("redis_up{redis=\"sessions\"} 0") && says("redis_up{redis=\"cache\"} 1"),
            "{page}"
        );
        assert!(says("redis_keyspace_hits_total{redis=\"cache\"} 3"), "{page}");
        assert!(!page.contains("redis_keys{redis=\"sessions\"}"), "{page}");
    }
}
