//! `[database]`.

use expect_test::expect;

use super::check;

#[test]
fn a_url_excludes_the_other_keys() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[database]
url = "mysql://shop:topsecret@db/shop"
postgres = 15
memory = "1GiB"
"##,
        expect![[r#"
            error: `url` is not the address of a PostgreSQL database: it does not begin with postgres://
             --> banyan.toml:6:7
              = write url = "postgres://user:{{secret.DATABASE_PASSWORD}}@host:5432/name"

            error: `postgres` has no effect: `url` names a database that Banyan does not run
             --> banyan.toml:7:1
              |
            7 | postgres = 15
              | ^^^^^^^^
              = remove this line, or remove `url` to let Banyan run PostgreSQL

            error: `memory` has no effect: `url` names a database that Banyan does not run
             --> banyan.toml:8:1
              |
            8 | memory = "1GiB"
              | ^^^^^^
              = remove this line, or remove `url` to let Banyan run PostgreSQL

            3 errors; nothing was changed"#]],
    );
}

#[test]
fn settings_that_banyan_depends_on() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[database.settings]
port = 1
listen_addresses = "*"
Work_Mem = "1MB"
work_mem = "1MB"
"##,
        expect![[r#"
            error: `port` cannot be set here
             --> banyan.toml:6:1
              |
            6 | port = 1
              | ^^^^
              = write `port` in [database]

            error: `listen_addresses` cannot be set here
             --> banyan.toml:7:1
              |
            7 | listen_addresses = "*"
              | ^^^^^^^^^^^^^^^^
              = Banyan keeps the database on 127.0.0.1

            error: `Work_Mem` is not a PostgreSQL setting
             --> banyan.toml:8:1
              |
            8 | Work_Mem = "1MB"
              | ^^^^^^^^
              = names are lower case letters, digits and underscores: work_mem

            3 errors; nothing was changed"#]],
    );
}

#[test]
fn sync_without_a_replica_would_wait_for_ever() {
    check(
        "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"./web\"\n[database]\ndurability = \"sync\"\nreads = \"session\"\n",
        expect![[r#"
            error: `durability = "sync"` needs a replica: every write would wait for ever
             --> banyan.toml:6:14
              |
            6 | durability = "sync"
              |              ^^^^^^
              = write replicas = 1, or remove this line

            1 error; nothing was changed"#]],
    );
}

#[test]
fn replicas_need_the_proxy_and_something_to_follow() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[database]
replicas = 2
[database.pgproxy]
direct = true
[database.settings]
wal_level = "minimal"
max_wal_senders = 3
primary_conninfo = "host=elsewhere"
"##,
        expect![[r#"
            error: `replicas` needs the proxy, and `direct = true` leads the app past it
             --> banyan.toml:6:12
              |
            6 | replicas = 2
              |            ^
              = remove `direct = true` from [database.pgproxy], or remove this line

            error: with `wal_level = minimal` no replica can follow
              --> banyan.toml:10:13
               |
            10 | wal_level = "minimal"
               |             ^^^^^^^^^
               = remove this line: Banyan writes wal_level = replica

            error: with `max_wal_senders = 3` no replica can follow
              --> banyan.toml:11:19
               |
            11 | max_wal_senders = 3
               |                   ^
               = write at least 6, or remove this line

            error: `primary_conninfo` cannot be set here
              --> banyan.toml:12:1
               |
            12 | primary_conninfo = "host=elsewhere"
               | ^^^^^^^^^^^^^^^^
               = write `replicas` in [database]

            4 errors; nothing was changed"#]],
    );
}

#[test]
fn a_pool_that_does_not_fit_and_ports_that_are_taken() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[database]
max_connections = 50
replicas = 1
reads = "bounded:5"
[database.pgproxy]
direct = false
pool = 45
port = 8080
mode = "statement"
"##,
        expect![[r#"
            error: `reads` bounded cannot be "5": it has no unit
             --> banyan.toml:8:9
              |
            8 | reads = "bounded:5"
              |         ^^^^^^^^^^^
              = write "bounded:500ms"

            error: a pool of 45 does not fit into 50 connections (`max_connections`)
              --> banyan.toml:11:8
               |
            11 | pool = 45
               |        ^^
               = write pool = 40 in [database.pgproxy], or max_connections = 55 in [database]: 10 are kept for others

            error: port 8080 is taken: the edge listens on it
              --> banyan.toml:12:8
               |
            12 | port = 8080
               |        ^^^^
               = write another port, or remove the line: Banyan finds a free one

            error: `mode` cannot be `statement`
              --> banyan.toml:13:8
               |
            13 | mode = "statement"
               |        ^^^^^^^^^^^
               = write "transaction", "session"

            4 errors; nothing was changed"#]],
    );
}

#[test]
fn backups_need_a_place_and_sound_intervals() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[database.backup]
full = "1d"
diff = "1d"
incremental = "2d"
differential = "1d"
at = "3 am"
keep = 0
"##,
        expect![[r#"
            error: [database.backup] needs `path`
             --> banyan.toml:5:11
              |
            5 | [database.backup]
              |           ^^^^^^
              = path: Folder of the backups and of the log between them, best on another disk. Relative: to banyan.toml.

            error: unknown key `diff` in [database.backup]
             --> banyan.toml:7:1
              |
            7 | diff = "1d"
              | ^^^^
              = did you mean `differential`?

            error: `incremental` has no effect: it is not less than `differential` (1d)
             --> banyan.toml:8:15
              |
            8 | incremental = "2d"
              |               ^^^^
              = write less than "1d", or remove this line

            error: `differential` has no effect: it is not less than `full` (1d)
             --> banyan.toml:9:16
              |
            9 | differential = "1d"
              |                ^^^^
              = write less than "1d", or remove this line

            error: `at` cannot be "3 am"
              --> banyan.toml:10:6
               |
            10 | at = "3 am"
               |      ^^^^^^
               = write hours and minutes of a day, UTC: "03:00"

            error: `keep` cannot be 0
              --> banyan.toml:11:8
               |
            11 | keep = 0
               |        ^
               = write a whole number from 1 to 1000

            6 errors; nothing was changed"#]],
    );
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[database.backup]
path = "/var/backups/shop"
full = "1d"
differential = "1d"
incremental = "1d"
"##,
        expect![[r#"
            error: `differential` has no effect: it is not less than `full` (1d)
             --> banyan.toml:8:16
              |
            8 | differential = "1d"
              |                ^^^^
              = write less than "1d", or remove this line

            error: `incremental` has no effect: it is not less than `differential` (1d)
             --> banyan.toml:9:15
              |
            9 | incremental = "1d"
              |               ^^^^
              = write less than "1d", or remove this line

            2 errors; nothing was changed"#]],
    );
}

#[test]
fn settings_that_backups_decide() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[database.settings]
archive_command = "cp %p /somewhere"
archive_timeout = "5min"
wal_level = "minimal"
[database.backup]
path = "/var/backups/shop"
"##,
        expect![[r#"
            error: `archive_command` is decided by [database.backup]
             --> banyan.toml:6:1
              |
            6 | archive_command = "cp %p /somewhere"
              | ^^^^^^^^^^^^^^^
              = remove this line, or [database.backup]

            error: `archive_timeout` is decided by [database.backup]
             --> banyan.toml:7:1
              |
            7 | archive_timeout = "5min"
              | ^^^^^^^^^^^^^^^
              = write it in [database.backup]

            error: `wal_level` is decided by [database.backup]
             --> banyan.toml:8:1
              |
            8 | wal_level = "minimal"
              | ^^^^^^^^^
              = remove this line: Banyan writes wal_level = replica

            3 errors; nothing was changed"#]],
    );
}
