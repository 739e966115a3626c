use banyan_topology::Node;
use expect_test::{Expect, expect};

use super::*;

fn database(memory_bytes: u64, max_connections: u32) -> Database {
    Database {
        version: 15,
        nodes: [1, 2].map(node).into(),
        primary: NodeId(1),
        durability: Durability::Async,
        memory_bytes,
        max_connections,
        name: "photos".to_owned(),
        user: "photos".to_owned(),
        backup: None,
        settings: BTreeMap::new(),
    }
}

fn node(number: u32) -> (NodeId, Node) {
    let id = NodeId(number);
    let port = 20004 + u16::try_from(number).unwrap();
    (id, Node { id, port, dir: None })
}

fn alone(memory_bytes: u64, max_connections: u32) -> Database {
    database(memory_bytes, max_connections).alone()
}

fn check(memory_bytes: u64, max_connections: u32, expected: Expect) {
    expected.assert_eq(
        &config_file(
            &alone(memory_bytes, max_connections),
            NodeId(1),
            Beside::default(),
        )
        .unwrap(),
    );
}

#[test]
fn a_quarter_gibibyte() {
    check(
        256 * MIB,
        100,
        expect![[r#"
            # Written by Banyan at each start; changes here are lost.
            # Put your own settings into banyan.toml, under [database] settings: they win over these.
            archive_command = '/bin/true'
            archive_mode = 'on'
            archive_timeout = '0'
            checkpoint_completion_target = '0.9'
            checkpoint_timeout = '15min'
            cluster_name = 'db1'
            effective_cache_size = '192MB'
            effective_io_concurrency = '200'
            jit = 'off'
            listen_addresses = '127.0.0.1'
            log_line_prefix = '%m [%p] %q%u@%d '
            log_timezone = 'UTC'
            logging_collector = 'off'
            maintenance_work_mem = '16MB'
            max_connections = '100'
            max_slot_wal_keep_size = '4096MB'
            max_standby_streaming_delay = '5s'
            max_wal_senders = '10'
            max_wal_size = '1024MB'
            min_wal_size = '256MB'
            password_encryption = 'scram-sha-256'
            port = '20005'
            random_page_cost = '1.1'
            restart_after_crash = 'on'
            shared_buffers = '64MB'
            synchronous_standby_names = ''
            unix_socket_directories = ''
            wal_compression = 'on'
            wal_keep_size = '256MB'
            wal_level = 'replica'
            wal_log_hints = 'on'
            wal_receiver_status_interval = '1s'
            wal_receiver_timeout = '10s'
            wal_retrieve_retry_interval = '200ms'
            wal_sender_timeout = '10s'
            work_mem = '2MB'
        "#]],
    );
}

#[test]
fn one_gibibyte() {
    check(
        GIB,
        100,
        expect![[r#"
            # Written by Banyan at each start; changes here are lost.
            # Put your own settings into banyan.toml, under [database] settings: they win over these.
            archive_command = '/bin/true'
            archive_mode = 'on'
            archive_timeout = '0'
            checkpoint_completion_target = '0.9'
            checkpoint_timeout = '15min'
            cluster_name = 'db1'
            effective_cache_size = '768MB'
            effective_io_concurrency = '200'
            jit = 'off'
            listen_addresses = '127.0.0.1'
            log_line_prefix = '%m [%p] %q%u@%d '
            log_timezone = 'UTC'
            logging_collector = 'off'
            maintenance_work_mem = '32MB'
            max_connections = '100'
            max_slot_wal_keep_size = '4096MB'
            max_standby_streaming_delay = '5s'
            max_wal_senders = '10'
            max_wal_size = '1024MB'
            min_wal_size = '256MB'
            password_encryption = 'scram-sha-256'
            port = '20005'
            random_page_cost = '1.1'
            restart_after_crash = 'on'
            shared_buffers = '256MB'
            synchronous_standby_names = ''
            unix_socket_directories = ''
            wal_compression = 'on'
            wal_keep_size = '256MB'
            wal_level = 'replica'
            wal_log_hints = 'on'
            wal_receiver_status_interval = '1s'
            wal_receiver_timeout = '10s'
            wal_retrieve_retry_interval = '200ms'
            wal_sender_timeout = '10s'
            work_mem = '2MB'
        "#]],
    );
}

#[test]
fn the_specifications_machine_of_64_gibibytes() {
    check(
        64 * GIB,
        200,
        expect![[r#"
            # Written by Banyan at each start; changes here are lost.
            # Put your own settings into banyan.toml, under [database] settings: they win over these.
            archive_command = '/bin/true'
            archive_mode = 'on'
            archive_timeout = '0'
            checkpoint_completion_target = '0.9'
            checkpoint_timeout = '15min'
            cluster_name = 'db1'
            effective_cache_size = '49152MB'
            effective_io_concurrency = '200'
            jit = 'off'
            listen_addresses = '127.0.0.1'
            log_line_prefix = '%m [%p] %q%u@%d '
            log_timezone = 'UTC'
            logging_collector = 'off'
            maintenance_work_mem = '2048MB'
            max_connections = '200'
            max_slot_wal_keep_size = '65536MB'
            max_standby_streaming_delay = '5s'
            max_wal_senders = '10'
            max_wal_size = '16384MB'
            min_wal_size = '4096MB'
            password_encryption = 'scram-sha-256'
            port = '20005'
            random_page_cost = '1.1'
            restart_after_crash = 'on'
            shared_buffers = '16384MB'
            synchronous_standby_names = ''
            unix_socket_directories = ''
            wal_compression = 'on'
            wal_keep_size = '256MB'
            wal_level = 'replica'
            wal_log_hints = 'on'
            wal_receiver_status_interval = '1s'
            wal_receiver_timeout = '10s'
            wal_retrieve_retry_interval = '200ms'
            wal_sender_timeout = '10s'
            work_mem = '128MB'
        "#]],
    );
}

#[test]
fn the_users_settings_win_and_are_quoted() {
    let mut database = database(GIB, 100);
    let own = [
        ("work_mem", "64MB"),
        ("Shared_Buffers", "1GB"),
        ("application_name", "it's"),
    ];
    database.settings = own
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let text = config_file(&database, NodeId(1), Beside::default()).unwrap();
    for line in [
        "work_mem = '64MB'",
        "shared_buffers = '1GB'",
        "application_name = 'it''s'",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn a_setting_that_would_cut_us_off_is_refused() {
    let mut database = database(GIB, 100);
    database.settings.insert("port".to_owned(), "5432".to_owned());
    assert_eq!(
        config_file(&database, NodeId(1), Beside::default()),
        Err(Reserved("port".to_owned()))
    );
}

#[test]
fn nobody_gets_in_without_a_password() {
    for line in access_file().lines().filter(|line| !line.starts_with('#')) {
        assert!(line.ends_with("scram-sha-256"), "{line}");
    }
}

#[test]
fn a_primary_waits_for_the_others_and_a_replica_follows_it() {
    let mut database = database(GIB, 100);
    database.durability = Durability::Sync;
    let of = |node, following| {
        let beside = Beside {
            following,
            ..Beside::default()
        };
        tuned(&database, NodeId(node), beside).unwrap()
    };
    let primary = of(1, None);
    assert_eq!(primary["synchronous_standby_names"], "ANY 1 (db2)");
    assert_eq!(primary["restart_after_crash"], "off");
    assert!(!primary.contains_key("primary_conninfo"));
    let replica = of(2, Some("host=127.0.0.1 port=20005"));
    assert_eq!(replica["port"], "20006");
    assert_eq!(replica["primary_slot_name"], "db2");
    // It becomes the primary without a change of this.
    assert_eq!(replica["synchronous_standby_names"], "ANY 1 (db1)");
}
