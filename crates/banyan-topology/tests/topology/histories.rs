//! Whole lives of an installation: any edits, deploys, rollbacks and stops, one after the other.

use banyan_config::{BackupSettings, Database, Durability, ManagedDatabase, Reads};
use banyan_topology::Change;
use proptest::prelude::*;

use crate::installation::Installation;

#[derive(Clone, Debug)]
enum Event {
    Count(&'static str, u32),
    Max(&'static str, Option<u32>),
    Remove(&'static str),
    EditApp(u8),
    Grace(u64),
    EdgePort(u16),
    EdgeProcess(&'static str),
    NoDatabase,
    Replicas(u32, bool),
    Direct(bool),
    DatabasePort(Option<u16>),
    Dir(Option<&'static str>),
    MaxConnections(u32),
    Backup(Option<u32>),
    ManagedDatabase,
    Deploy,
    Rollback,
    Down,
}

fn event() -> impl Strategy<Value = Event> {
    let name = || proptest::sample::select(&["web", "api", "clock"][..]);
    prop_oneof![
        4 => (name(), 0..4u32).prop_map(|(name, count)| Event::Count(name, count)),
        2 => (name(), prop_oneof![Just(None), (1..4u32).prop_map(Some)]).prop_map(|(n, max)| Event::Max(n, max)),
        1 => name().prop_map(Event::Remove),
        3 => (0..3u8).prop_map(Event::EditApp),
        1 => (1..3u64).prop_map(Event::Grace),
        1 => (8080..8082u16).prop_map(Event::EdgePort),
        1 => name().prop_map(Event::EdgeProcess),
        1 => Just(Event::NoDatabase),
        3 => (0..4u32, any::<bool>()).prop_map(|(count, sync)| Event::Replicas(count, sync)),
        2 => any::<bool>().prop_map(Event::Direct),
        1 => proptest::option::of(25432..25434u16).prop_map(Event::DatabasePort),
        2 => proptest::option::of(proptest::sample::select(&["/a", "/b"][..])).prop_map(Event::Dir),
        1 => (1..3u32).prop_map(|n| Event::MaxConnections(n * 100)),
        2 => proptest::option::of(1..3u32).prop_map(Event::Backup),
        2 => Just(Event::ManagedDatabase),
        3 => Just(Event::Deploy),
        2 => Just(Event::Rollback),
        1 => Just(Event::Down),
    ]
}

/// Edits the configuration and says what the user asks for.
fn edit(it: &mut Installation, event: Event) -> Change {
    match event {
        Event::Count(name, count) => it.process(name).count = count,
        Event::Max(name, max) => it.process(name).max = max,
        Event::Remove(name) => drop(it.config.processes.remove(&name.parse().unwrap())),
        Event::EditApp(n) => it.edit_app(&n.to_string()),
        Event::Grace(seconds) => {
            it.process("web").settings.stop_grace = std::time::Duration::from_secs(seconds);
        }
        Event::EdgePort(port) => it.config.edge.as_mut().unwrap().listen.set_port(port),
        Event::EdgeProcess(name) => it.config.edge.as_mut().unwrap().process = name.parse().unwrap(),
        Event::Replicas(count, sync) => with(it, |database| {
            database.replicas = count;
            database.durability = if sync && count > 0 {
                Durability::Sync
            } else {
                Durability::Async
            };
            database.pgproxy.direct &= count == 0;
        }),
        Event::Direct(direct) => with(it, |database| {
            database.pgproxy.direct = direct && database.replicas == 0;
        }),
        Event::DatabasePort(port) => with(it, |database| database.port = port),
        Event::Dir(dir) => with(it, |database| database.dir = dir.map(Into::into)),
        Event::Backup(keep) => with(it, |table| {
            table.backup = keep.map(|keep| Box::new(backups(keep)));
        }),
        Event::MaxConnections(most) => with(it, |database| database.max_connections = most),
        Event::NoDatabase => it.config.database = None,
        Event::ManagedDatabase => it.config.database = Some(Database::Managed(managed())),
        Event::Deploy => return Change::Deploy,
        Event::Rollback => return Change::Rollback { to: None },
        Event::Down => it.down(),
    }
    Change::Configuration
}

/// Only what `banyan-config` lets pass.
fn with(it: &mut Installation, change: impl FnOnce(&mut ManagedDatabase)) {
    if let Some(Database::Managed(table)) = &mut it.config.database {
        change(table);
    }
}

fn backups(keep: u32) -> BackupSettings {
    let hour = std::time::Duration::from_secs(3600);
    BackupSettings {
        path: "/var/backups/photos".into(),
        full: hour,
        differential: None,
        incremental: None,
        at: "03:00".parse().unwrap(),
        keep,
        limit: hour,
        processes: 1,
        archive_timeout: hour,
        queue_bytes: 1 << 30,
    }
}

fn managed() -> ManagedDatabase {
    ManagedDatabase {
        postgres: None,
        port: None,
        dir: None,
        memory_bytes: None,
        max_connections: 100,
        name: None,
        replicas: 0,
        durability: Durability::Async,
        reads: Reads::Primary,
        pgproxy: Box::default(),
        backup: None,
        settings: std::collections::BTreeMap::new(),
    }
}

proptest! {
    #[test]
    fn every_change_is_planned_harmlessly_and_is_then_settled(events in prop::collection::vec(event(), 1..12)) {
        let mut it = Installation::new();
        it.configure();
        for event in events {
            let change = edit(&mut it, event);
            // A refusal changes nothing; `try_apply` itself panics on a plan that fails its check.
            let before = it.current.clone();
            let Ok((_, notes)) = it.try_apply(&change) else {
                prop_assert_eq!(&it.current, &before);
                continue;
            };
            // A start where the data is says that one more `apply` moves it: that must not be refused.
            if notes.iter().any(|note| note.contains("`banyan apply` then moves it")) {
                let (moves, _) = it.configure();
                prop_assert!(moves.to_string().contains("switch over"), "does not move: {}", moves);
            }
            let (again, _) = it.configure();
            prop_assert!(again.is_empty(), "not settled: {}", again);
        }
    }
}
