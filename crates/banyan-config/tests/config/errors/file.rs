//! The file as a whole: syntax, versions, overlays, keys.

use expect_test::expect;

use super::check;

#[test]
fn an_empty_file_names_what_is_needed() {
    check(
        r##""##,
        expect![[r#"
        error: `version` is missing
         --> banyan.toml
          = write version = 1 as the first line

        error: `name` is missing
         --> banyan.toml
          = write name = "myapp" below `version`: the name of the installation

        2 errors; nothing was changed"#]],
    );
}

#[test]
fn unknown_keys_name_the_nearest_or_their_home() {
    check(
        r##"version = 1
name = "shop"
prot = 8080
[edge]
publik = true
listen = "0.0.0.0:80"
stop_grace = "5s"
[process.web]
command = "./web"
instances = 3
[process.web.ready]
path = "/"
intervall = "1s"
[databse]
[scale.web]
min = 2
"##,
        expect![[r#"
            error: unknown key `prot`
             --> banyan.toml:3:1
              |
            3 | prot = 8080
              | ^^^^
              = did you mean `port`? `port` belongs in [edge] or [listener] or [database]

            error: unknown key `publik` in [edge]
             --> banyan.toml:5:1
              |
            5 | publik = true
              | ^^^^^^
              = did you mean `public`?

            error: unknown key `listen` in [edge]
             --> banyan.toml:6:1
              |
            6 | listen = "0.0.0.0:80"
              | ^^^^^^
              = did you mean `port`?

            error: unknown key `stop_grace` in [edge]
             --> banyan.toml:7:1
              |
            7 | stop_grace = "5s"
              | ^^^^^^^^^^
              = `stop_grace` belongs in [process.NAME]

            error: unknown key `instances` in [process.web]
              --> banyan.toml:10:1
               |
            10 | instances = 3
               | ^^^^^^^^^
               = did you mean `count`?

            error: unknown key `intervall` in [process.web.ready]
              --> banyan.toml:13:1
               |
            13 | intervall = "1s"
               | ^^^^^^^^^
               = did you mean `interval`?

            error: unknown table [databse]
              --> banyan.toml:14:2
               |
            14 | [databse]
               |  ^^^^^^^
               = did you mean [database]?

            error: [scale.web] needs `max`
              --> banyan.toml:15:8
               |
            15 | [scale.web]
               |        ^^^
               = max: Never more.

            8 errors; nothing was changed"#]],
    );
}

#[test]
fn another_version_is_one_error() {
    check(
        r##"version = 2
name = "shop"
[scale.web]
min = 2
"##,
        expect![[r#"
            error: version 2 is newer than this Banyan, which reads version 1
             --> banyan.toml:1:11
              |
            1 | version = 2
              |           ^
              = install a newer Banyan

            1 error; nothing was changed"#]],
    );
}

#[test]
fn syntax_errors_are_told_together() {
    check(
        r##"version =
name = shop
name = "again"
[edge
[app]
release = "unclosed
user = “www”
"##,
        expect![[r#"
            error: a value is missing after `=`
             --> banyan.toml:1:10
              |
            1 | version =
              |          ^
              = write one, or put `#` in front of the line

            error: `shop` is text without quotes
             --> banyan.toml:2:8
              |
            2 | name = shop
              |        ^^^^
              = text needs quotes: key = "value"

            error: this key is set twice
             --> banyan.toml:3:1
              |
            3 | name = "again"
              | ^^^^
              = a key can be set only once: remove one of the two

            error: a table without its closing bracket
             --> banyan.toml:4:6
              |
            4 | [edge
              |      ^
              = a table begins with a line such as [edge]

            error: syntax: invalid basic string, expected `"`
             --> banyan.toml:6:20
              |
            6 | release = "unclosed
              |                    ^
              = close the text with the quote that opens it

            error: a typographic quote
             --> banyan.toml:7:8
              |
            7 | user = “www”
              |        ^^^^^
              = use straight quotes: "…"

            6 errors; nothing was changed"#]],
    );
}

#[test]
fn a_key_set_twice() {
    check(
        r##"version = 1
name = "a"
name = "b"
[edge]
port = 1
port = 2
[edge]
"##,
        expect![[r#"
            error: this key is set twice
             --> banyan.toml:3:1
              |
            3 | name = "b"
              | ^^^^
              = a key can be set only once: remove one of the two

            error: this key is set twice
             --> banyan.toml:6:1
              |
            6 | port = 2
              | ^^^^
              = a key can be set only once: remove one of the two

            error: this key is set twice
             --> banyan.toml:7:2
              |
            7 | [edge]
              |  ^^^^
              = a key can be set only once: remove one of the two

            3 errors; nothing was changed"#]],
    );
}

#[test]
fn an_overlay_is_named_when_it_is_wrong() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[edge]
port = 8080
--- overlay.toml
[edge]
port = "80"
pubic = true
[process.web]
ready = { timeout = "1s" }
"##,
        expect![[r#"
            error: `port` is a number, not text
             --> overlay.toml:2:8
              |
            2 | port = "80"
              |        ^^^^
              = write port = 80, without quotes

            error: unknown key `pubic` in [edge]
             --> overlay.toml:3:1
              |
            3 | pubic = true
              | ^^^^^
              = did you mean `public`?

            error: [process.web.ready] needs `path`
             --> overlay.toml:5:1
              |
            5 | ready = { timeout = "1s" }
              | ^^^^^
              = path: What is asked.

            3 errors; nothing was changed"#]],
    );
}

#[test]
fn doubtful_but_allowed() {
    check(
        r##"version = 1
name = "shop"
[app]
secrets = "secrets.env"
[process.web]
command = "./web"
max = 1
[process.worker]
command = "./worker --db $DATABASE_URL"
[database]
url = "postgres://shop:topsecret@db/shop"
--- secrets.env
UNUSED=x
"##,
        expect![[r#"
            warning: secret `UNUSED` is defined, but nothing uses it
             --> banyan.toml:4:11
              |
            4 | secrets = "secrets.env"
              |           ^^^^^^^^^^^^^
              = to pass it to the app, write UNUSED = "{{secret.UNUSED}}" in [app.env]

            warning: with `max` equal to `count`, a deploy of `web` stops the old version first
             --> banyan.toml:7:7
              |
            7 | max = 1
              |       ^
              = requests wait meanwhile, up to 5s (edge.timeouts.no_endpoint); write max = 2

            warning: `$DATABASE_URL` is secret, and arguments can be seen by every user of this machine
             --> banyan.toml:9:26
              |
            9 | command = "./worker --db $DATABASE_URL"
              |                          ^^^^^^^^^^^^^
              = let the program read it from its environment, where it is anyway

            warning: the password is readable for all who can read this file
              --> banyan.toml:11:7
               = write {{secret.DATABASE_PASSWORD}} in its place, and the password in the secrets file

            no error"#]],
    );
}
