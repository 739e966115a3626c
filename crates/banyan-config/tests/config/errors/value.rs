//! A single value: its type, unit, range and form.

use expect_test::expect;

use super::check;

#[test]
fn a_wrong_type_says_what_to_write() {
    check(
        r##"version = "1"
name = 5
edge = 8080
[app]
env = "A=b"
[process.web]
command = ["./web", "--port"]
count = "4"
hosts = "web1"
ready = true
[database]
settings = ["a"]
"##,
        expect![[r#"
            error: `version` is a number, not text
             --> banyan.toml:1:11
              |
            1 | version = "1"
              |           ^^^
              = write version = 1, without quotes

            error: `name` is text, not a number
             --> banyan.toml:2:8
              |
            2 | name = 5
              |        ^
              = write name = "5", with quotes

            error: `edge` is a table, not a number
             --> banyan.toml:3:8
              |
            3 | edge = 8080
              |        ^^^^
              = write [edge] on a line of its own, and the keys below it

            error: `env` is a table, not text
             --> banyan.toml:5:7
              |
            5 | env = "A=b"
              |       ^^^^^
              = write [app.env] on a line of its own, and the keys below it

            error: `command` is text, not a list
             --> banyan.toml:7:11
              |
            7 | command = ["./web", "--port"]
              |           ^^^^^^^^^^^^^^^^^^^
              = write command = "program argument argument"; quotes work as in a shell

            error: `count` is a number, not text
             --> banyan.toml:8:9
              |
            8 | count = "4"
              |         ^^^
              = write count = 4, without quotes

            error: `hosts` is a list, not text
             --> banyan.toml:9:9
              |
            9 | hosts = "web1"
              |         ^^^^^^
              = write hosts = ["web1"]

            error: `ready` is a path or a table, not true or false
              --> banyan.toml:10:9
               |
            10 | ready = true
               |         ^^^^
               = write ready = "/healthz" or ready = { path = "/healthz" }

            error: `settings` is a table, not a list
              --> banyan.toml:12:12
               |
            12 | settings = ["a"]
               |            ^^^^^
               = write [database.settings] with single brackets, on a line of its own

            9 errors; nothing was changed"#]],
    );
}

#[test]
fn a_wrong_unit_says_the_right_one() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
start_grace = "1m30s"
stop_grace = 30
ready = { path = "/", interval = "30", timeout = "1.5 sec" }
[edge.timeouts]
idle = "forever"
drain = "2d"
[edge.limits]
body = "10MB"
header_bytes = 32768
request_line = "8"
body_rate = "1.5K"
"##,
        expect![[r#"
            error: `start_grace` cannot be "1m30s": it is not a duration
             --> banyan.toml:5:15
              |
            5 | start_grace = "1m30s"
              |               ^^^^^^^
              = write "90s"

            error: `stop_grace` has no unit
             --> banyan.toml:6:14
              |
            6 | stop_grace = 30
              |              ^^
              = write stop_grace = "30s" for seconds, or use ms, m, h, d

            error: `interval` cannot be "30": it has no unit
             --> banyan.toml:7:34
              |
            7 | ready = { path = "/", interval = "30", timeout = "1.5 sec" }
              |                                  ^^^^
              = write "30s"

            error: `timeout` cannot be "1.5 sec": it is not a duration
             --> banyan.toml:7:50
              |
            7 | ready = { path = "/", interval = "30", timeout = "1.5 sec" }
              |                                                  ^^^^^^^^^
              = write "1500ms"

            error: `idle` cannot be "forever": it is not a duration
             --> banyan.toml:9:8
              |
            9 | idle = "forever"
              |        ^^^^^^^^^
              = write a whole number and a unit: "250ms", "10s", "5m", "1h", "1d"

            error: `drain` cannot be "2d"
              --> banyan.toml:10:9
               |
            10 | drain = "2d"
               |         ^^^^
               = write a duration from "0s" to "1d"

            error: `body` cannot be "10MB": it is not a size
              --> banyan.toml:12:8
               |
            12 | body = "10MB"
               |        ^^^^^^
               = write "10MiB"

            error: `header_bytes` has no unit
              --> banyan.toml:13:16
               |
            13 | header_bytes = 32768
               |                ^^^^^
               = write header_bytes = "32768B" for bytes, or use KiB, MiB, GiB

            error: `request_line` cannot be "8": it has no unit
              --> banyan.toml:14:16
               |
            14 | request_line = "8"
               |                ^^^
               = write a whole number and a unit: "500B", "64KiB", "10MiB", "1GiB"

            error: `body_rate` cannot be "1.5K": it is not a size
              --> banyan.toml:15:13
               |
            15 | body_rate = "1.5K"
               |             ^^^^^^
               = write "1536B"

            10 errors; nothing was changed"#]],
    );
}

#[test]
fn numbers_out_of_range() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
count = -1
ready = { path = "/", status = 99, interval = "1ms" }
[edge]
port = 80800
workers = 0
limits = { headers = 99999999999999999999999999 }
[database]
postgres = 9
memory = "1KiB"
"##,
        expect![[r#"
            error: `count` cannot be -1
             --> banyan.toml:5:9
              |
            5 | count = -1
              |         ^^
              = write a whole number from 0 to 100

            error: `status` cannot be 99
             --> banyan.toml:6:32
              |
            6 | ready = { path = "/", status = 99, interval = "1ms" }
              |                                ^^
              = write a whole number from 100 to 599

            error: `interval` cannot be "1ms"
             --> banyan.toml:6:47
              |
            6 | ready = { path = "/", status = 99, interval = "1ms" }
              |                                               ^^^^^
              = write a duration from "100ms" to "1h"

            error: `port` cannot be 80800
             --> banyan.toml:8:8
              |
            8 | port = 80800
              |        ^^^^^
              = write a whole number from 1 to 65535

            error: `workers` cannot be 0
             --> banyan.toml:9:11
              |
            9 | workers = 0
              |           ^
              = write a whole number from 1 to 1024

            error: `headers` cannot be 99999999999999999999999999
              --> banyan.toml:10:22
               |
            10 | limits = { headers = 99999999999999999999999999 }
               |                      ^^^^^^^^^^^^^^^^^^^^^^^^^^
               = write a whole number from 1 to 10000

            error: `postgres` cannot be 9
              --> banyan.toml:12:12
               |
            12 | postgres = 9
               |            ^
               = write a whole number from 13 to 99

            error: `memory` cannot be "1KiB"
              --> banyan.toml:13:10
               |
            13 | memory = "1KiB"
               |          ^^^^^^
               = write a size from "64MiB" to "64TiB"

            8 errors; nothing was changed"#]],
    );
}

#[test]
fn names_have_rules() {
    check(
        r##"version = 1
name = "My_Shop"
[process.Web]
command = "./web"
[process."42"]
command = "./x"
[host]
9 = {}
[database]
name = "postgres"
[app.env]
"A-B" = "x"
PORT = "80"
--- Procfile
web_worker: ./w
release_: ./r
"##,
        expect![[r#"
            error: `name` cannot be `My_Shop`
             --> banyan.toml:2:8
              |
            2 | name = "My_Shop"
              |        ^^^^^^^^^
              = write `my-shop`
              = 1 to 32 lower case letters, digits or hyphens, beginning with a letter

            error: `Web` is not a name
             --> banyan.toml:3:10
              |
            3 | [process.Web]
              |          ^^^
              = write `web`
              = 1 to 32 lower case letters, digits or hyphens, beginning with a letter

            error: `42` is not a name
             --> banyan.toml:5:10
              |
            5 | [process."42"]
              |          ^^^^
              = 1 to 32 lower case letters, digits or hyphens, beginning with a letter

            error: `9` is not a name
             --> banyan.toml:8:1
              |
            8 | 9 = {}
              | ^
              = 1 to 32 lower case letters, digits or hyphens, beginning with a letter

            error: `name` cannot be `postgres`: PostgreSQL uses that name
              --> banyan.toml:10:8
               |
            10 | name = "postgres"
               |        ^^^^^^^^^^
               = choose another name

            error: `A-B` cannot name an environment variable
              --> banyan.toml:12:1
               |
            12 | "A-B" = "x"
               | ^^^^^
               = letters, digits and underscores, not beginning with a digit

            error: `PORT` is set by Banyan, differently for every instance
              --> banyan.toml:13:1
               |
            13 | PORT = "80"
               | ^^^^
               = remove this line; the app reads the variable as it is

            error: a process cannot be named `web_worker`
             --> Procfile:1:1
              |
            1 | web_worker: ./w
              | ^^^^^^^^^^
              = write `web-worker`
              = 1 to 32 lower case letters, digits or hyphens, beginning with a letter

            error: a process cannot be named `release_`
             --> Procfile:2:1
              |
            2 | release_: ./r
              | ^^^^^^^^
              = write `release`
              = 1 to 32 lower case letters, digits or hyphens, beginning with a letter

            9 errors; nothing was changed"#]],
    );
}

#[test]
fn a_path_must_be_a_path() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
ready = "healthz"
live = { path = "http://localhost:80/live" }
[edge]
trusted_proxies = ["10.0.0.0/8", "proxy", "::1"]
balance = "round-robin"
"##,
        expect![[r#"
            error: `ready` cannot be "healthz": only a path, beginning with `/`
             --> banyan.toml:5:9
              |
            5 | ready = "healthz"
              |         ^^^^^^^^^
              = write "/healthz"

            error: `path` cannot be "http://localhost:80/live": only a path, beginning with `/`
             --> banyan.toml:6:17
              |
            6 | live = { path = "http://localhost:80/live" }
              |                 ^^^^^^^^^^^^^^^^^^^^^^^^^^
              = write "/live"

            error: `trusted_proxies` cannot contain "proxy"
             --> banyan.toml:8:34
              |
            8 | trusted_proxies = ["10.0.0.0/8", "proxy", "::1"]
              |                                  ^^^^^^^
              = write addresses and networks: ["10.0.0.5", "10.1.0.0/16"]

            error: `balance` cannot be `round-robin`
             --> banyan.toml:9:11
              |
            9 | balance = "round-robin"
              |           ^^^^^^^^^^^^^
              = did you mean "round_robin"?

            4 errors; nothing was changed"#]],
    );
}
