use expect_test::{Expect, expect};

use super::*;

fn database(memory_bytes: u64, max_connections: u32) -> Database {
    Database {
        version: 15,
        port: 20005,
        memory_bytes,
        max_connections,
        name: "photos".to_owned(),
        user: "photos".to_owned(),
        settings: BTreeMap::new(),
    }
}

fn check(memory_bytes: u64, max_connections: u32, expected: Expect) {
    expected.assert_eq(&config_file(&database(memory_bytes, max_connections)).unwrap());
}

#[test]
fn a_quarter_gibibyte() {
    check(
        256 * MIB,
        100,
        expect![[r#"
        # Written by Banyan at each start; changes here are lost.
        # Put your own settings into banyan.toml, under [database] settings: they win over these.
        checkpoint_completion_target = '0.9'
        checkpoint_timeout = '15min'
        effective_cache_size = '192MB'
        effective_io_concurrency = '200'
        jit = 'off'
        listen_addresses = '127.0.0.1'
        log_line_prefix = '%m [%p] %q%u@%d '
        log_timezone = 'UTC'
        logging_collector = 'off'
        maintenance_work_mem = '16MB'
        max_connections = '100'
        max_wal_senders = '5'
        max_wal_size = '1024MB'
        min_wal_size = '256MB'
        password_encryption = 'scram-sha-256'
        port = '20005'
        random_page_cost = '1.1'
        shared_buffers = '64MB'
        unix_socket_directories = ''
        wal_compression = 'on'
        wal_level = 'replica'
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
        checkpoint_completion_target = '0.9'
        checkpoint_timeout = '15min'
        effective_cache_size = '768MB'
        effective_io_concurrency = '200'
        jit = 'off'
        listen_addresses = '127.0.0.1'
        log_line_prefix = '%m [%p] %q%u@%d '
        log_timezone = 'UTC'
        logging_collector = 'off'
        maintenance_work_mem = '32MB'
        max_connections = '100'
        max_wal_senders = '5'
        max_wal_size = '1024MB'
        min_wal_size = '256MB'
        password_encryption = 'scram-sha-256'
        port = '20005'
        random_page_cost = '1.1'
        shared_buffers = '256MB'
        unix_socket_directories = ''
        wal_compression = 'on'
        wal_level = 'replica'
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
        checkpoint_completion_target = '0.9'
        checkpoint_timeout = '15min'
        effective_cache_size = '49152MB'
        effective_io_concurrency = '200'
        jit = 'off'
        listen_addresses = '127.0.0.1'
        log_line_prefix = '%m [%p] %q%u@%d '
        log_timezone = 'UTC'
        logging_collector = 'off'
        maintenance_work_mem = '2048MB'
        max_connections = '200'
        max_wal_senders = '5'
        max_wal_size = '16384MB'
        min_wal_size = '4096MB'
        password_encryption = 'scram-sha-256'
        port = '20005'
        random_page_cost = '1.1'
        shared_buffers = '16384MB'
        unix_socket_directories = ''
        wal_compression = 'on'
        wal_level = 'replica'
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
    let text = config_file(&database).unwrap();
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
    assert_eq!(config_file(&database), Err(Reserved("port".to_owned())));
}

#[test]
fn nobody_gets_in_without_a_password() {
    for line in access_file().lines().filter(|line| !line.starts_with('#')) {
        assert!(line.ends_with("scram-sha-256"), "{line}");
    }
}
