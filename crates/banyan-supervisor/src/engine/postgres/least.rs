//! What a replica's data asks of the settings that it is started with.
//!
//! A replica may not offer less than the primary did when it wrote the log that is to be replayed: PostgreSQL ends it, or
//! replays no further (<https://www.postgresql.org/docs/15/hot-standby.html#HOT-STANDBY-ADMIN>). One that was away while a
//! number was lowered, or was stopped before it had heard of that, is given the higher one; its next start is with the lower.

/// As the control file calls it, as the setting is called, and what it is where nobody has set it.
const NUMBERS: [(&str, &str, u64); 5] = [
    ("max_connections setting:", "max_connections", 100),
    ("max_worker_processes setting:", "max_worker_processes", 8),
    ("max_wal_senders setting:", "max_wal_senders", 10),
    ("max_prepared_xacts setting:", "max_prepared_transactions", 0),
    ("max_locks_per_xact setting:", "max_locks_per_transaction", 64),
];

/// A setting's least value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Least {
    pub name: &'static str,
    pub value: u64,
    default: u64,
}

impl Least {
    /// What cannot be read is PostgreSQL's to refuse.
    pub(super) fn exceeds(&self, set: Option<&str>) -> bool {
        let offered = match set {
            Some(text) => text.trim().parse().ok(),
            None => Some(self.default),
        };
        offered.is_some_and(|offered: u64| offered < self.value)
    }
}

/// Of what `pg_controldata` prints.
pub(super) fn of(control_file: &str) -> Vec<Least> {
    let value = |label: &str| -> Option<u64> {
        let mut lines = control_file.lines();
        lines.find_map(|line| line.strip_prefix(label)?.trim().parse().ok())
    };
    let number = |(label, name, default)| {
        let value = value(label)?;
        Some(Least { name, value, default })
    };
    NUMBERS.into_iter().filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "wal_level setting:                    replica
max_connections setting:              150
max_worker_processes setting:         8
max_wal_senders setting:              10
max_prepared_xacts setting:           5
max_locks_per_xact setting:           64
track_commit_timestamp setting:       off
";

    #[test]
    fn a_number_counts_where_less_is_set_or_the_default_is_less() {
        let all = of(PRINTED);
        let raised = |set: Option<&str>| -> Vec<&str> {
            let raised = all.iter().filter(|least| least.exceeds(set));
            raised.map(|least| least.name).collect()
        };
        assert_eq!(raised(None), ["max_connections", "max_prepared_transactions"]);
        assert_eq!(raised(Some("100")), ["max_connections"]);
        assert_eq!(raised(Some("150")), [""; 0]);
        assert_eq!(raised(Some("many")), [""; 0]);
    }

    #[test]
    fn data_without_a_control_file_asks_for_nothing() {
        assert_eq!(of(""), []);
    }
}
