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
