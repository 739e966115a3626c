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
