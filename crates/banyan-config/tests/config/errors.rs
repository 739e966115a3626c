//! Every mistake that people make, and the message that they get. `UPDATE_EXPECT=1 cargo test -p banyan-config` rewrites
//! them; read the difference as a tired person would.

use expect_test::{Expect, expect};

fn check(input: &str, expected: Expect) {
    expected.assert_eq(&crate::told(input));
}

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
              = did you mean `port`? `port` belongs in [edge] or [database]

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

            error: unknown table [scale]
              --> banyan.toml:15:2
               |
            15 | [scale.web]
               |  ^^^^^
               = known here: `version`, `name`, `app`, `process`, `edge`, `route`, `database`, `host`

            8 errors; nothing was changed"#]],
    );
}

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
fn placeholders_must_be_known_and_have_a_value() {
    check(
        r##"version = 1
name = "shop"
[app]
secrets = "secrets.env"
[app.env]
A = "{{databse.url}}"
B = "{{database.url}}"
C = "{{secret.SECRT_KEY}}"
D = "{{secrets.SECRET_KEY}}"
E = "{{ port"
F = "{{nothing.like.it}}"
G = "{{{{ literal }}"
[process.web]
command = "./web --password {{secret.SECRET_KEY}} {{database.name}}"
--- secrets.env
SECRET_KEY=abc
"##,
        expect![[r#"
            error: unknown placeholder `{{databse.url}}`
             --> banyan.toml:6:6
              |
            6 | A = "{{databse.url}}"
              |      ^^^^^^^^^^^^^^^
              = did you mean {{database.url}}?
              = available here: `host`, `port`, `process`, `instance`, `release`, `data`, `secret.SECRET_KEY`

            error: `{{database.url}}` needs a database, and there is none
             --> banyan.toml:7:6
              |
            7 | B = "{{database.url}}"
              |      ^^^^^^^^^^^^^^^^
              = add a [database] table; empty, it makes Banyan run PostgreSQL

            error: secret `SECRT_KEY` is not in secrets.env
             --> banyan.toml:8:6
              |
            8 | C = "{{secret.SECRT_KEY}}"
              |      ^^^^^^^^^^^^^^^^^^^^
              = did you mean {{secret.SECRET_KEY}}?
              = add a line SECRT_KEY=… to secrets.env

            error: unknown placeholder `{{secrets.SECRET_KEY}}`
             --> banyan.toml:9:6
              |
            9 | D = "{{secrets.SECRET_KEY}}"
              |      ^^^^^^^^^^^^^^^^^^^^^^
              = did you mean {{secret.SECRET_KEY}}?
              = available here: `host`, `port`, `process`, `instance`, `release`, `data`, `secret.SECRET_KEY`

            error: `{{` without `}}` on the same line
              --> banyan.toml:10:6
               |
            10 | E = "{{ port"
               |      ^^
               = write {{name}}; for two literal braces write {{{{

            error: unknown placeholder `{{nothing.like.it}}`
              --> banyan.toml:11:6
               |
            11 | F = "{{nothing.like.it}}"
               |      ^^^^^^^^^^^^^^^^^^^
               = available here: `host`, `port`, `process`, `instance`, `release`, `data`, `secret.SECRET_KEY`

            error: `{{secret.SECRET_KEY}}` cannot be in a command: every user of this machine can see arguments
              --> banyan.toml:14:29
               |
            14 | command = "./web --password {{secret.SECRET_KEY}} {{database.name}}"
               |                             ^^^^^^^^^^^^^^^^^^^^^
               = put it in [app.env] as a variable that the program reads

            error: `{{database.name}}` needs a database, and there is none
              --> banyan.toml:14:51
               |
            14 | command = "./web --password {{secret.SECRET_KEY}} {{database.name}}"
               |                                                   ^^^^^^^^^^^^^^^^^
               = add a [database] table; empty, it makes Banyan run PostgreSQL

            8 errors; nothing was changed"#]],
    );
}

#[test]
fn a_secret_without_a_secrets_file() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
env = { KEY = "{{secret.KEY}}" }
"##,
        expect![[r#"
            error: secret `KEY` is not defined: there is no secrets file
             --> banyan.toml:5:16
              |
            5 | env = { KEY = "{{secret.KEY}}" }
              |                ^^^^^^^^^^^^^^
              = write secrets = "secrets.env" in [app], and NAME=value lines in that file (mode 0600)

            1 error; nothing was changed"#]],
    );
}

#[test]
fn what_needs_a_shell_says_how_to_get_one() {
    check(
        r##"version = 1
name = "shop"
[app]
release = "./migrate {{port}} > log"
--- Procfile
web: cd app && ./web $PORT
a: RAILS_ENV=production bundle exec puma
b: exec ./b
c: ./c | tee log
d: ./d `hostname`
e: ./e $(hostname)
f: ./f "unclosed
g: ./g ${PORT:-80}
h: ./h &
i: ./i # comment
j: source env; ./j
k:
"##,
        expect![[r##"
            error: `{{port}}` has no value in the release command, which is no instance
             --> banyan.toml:4:22
              |
            4 | release = "./migrate {{port}} > log"
              |                      ^^^^^^^^
              = leave it out of the release command

            error: `>` needs a shell, and commands run without one
             --> banyan.toml:4:31
              |
            4 | release = "./migrate {{port}} > log"
              |                               ^
              = write sh -c './migrate {{port}} > log'

            error: `&&` needs a shell, and commands run without one
             --> Procfile:1:13
              |
            1 | web: cd app && ./web $PORT
              |             ^^
              = write sh -c 'cd app && ./web $PORT'

            error: `RAILS_ENV=production` sets a variable, which needs a shell
             --> Procfile:2:4
              |
            2 | a: RAILS_ENV=production bundle exec puma
              |    ^^^^^^^^^^^^^^^^^^^^
              = put RAILS_ENV in [process.a.env] and remove it here

            error: `exec` is part of a shell, and commands run without one
             --> Procfile:3:4
              |
            3 | b: exec ./b
              |    ^^^^
              = remove the word: the program is started directly

            error: `|` needs a shell, and commands run without one
             --> Procfile:4:8
              |
            4 | c: ./c | tee log
              |        ^
              = write sh -c './c | tee log'

            error: ``` needs a shell, and commands run without one
             --> Procfile:5:8
              |
            5 | d: ./d `hostname`
              |        ^
              = write sh -c './d `hostname`'

            error: `$(` needs a shell, and commands run without one
             --> Procfile:6:8
              |
            6 | e: ./e $(hostname)
              |        ^^
              = write sh -c './e $(hostname)'

            error: the quote " is never closed
             --> Procfile:7:8
              |
            7 | f: ./f "unclosed
              |        ^
              = add the closing ", or write \" for a literal one

            error: `${PORT:-80}` needs a shell, and commands run without one
             --> Procfile:8:8
              |
            8 | g: ./g ${PORT:-80}
              |        ^^^^^^^^^^^
              = write sh -c './g ${PORT:-80}'

            error: `&` puts a program into the background, where nothing watches it
             --> Procfile:9:8
              |
            9 | h: ./h &
              |        ^
              = remove it: Banyan runs processes side by side

            error: commands have no comments
              --> Procfile:10:8
               |
            10 | i: ./i # comment
               |        ^
               = remove it, or write "#" with quotes if it is an argument

            error: `;` needs a shell, and commands run without one
              --> Procfile:11:14
               |
            11 | j: source env; ./j
               |              ^
               = write sh -c 'source env; ./j'

            error: the command is empty
              --> Procfile:12:3
               |
            12 | k:
               |   ^
               = write a program and its arguments

            14 errors; nothing was changed"##]],
    );
}

#[test]
fn commands_see_only_their_environment() {
    check(
        r##"version = 1
name = "shop"
[app.env]
MODE = "x"
[process.web]
command = "./web $PORT $MODE $MDOE $HOMEDIR ${DATABASE_URL}"
"##,
        expect![[r#"
            error: `$MDOE` is not set for this command
             --> banyan.toml:6:30
              |
            6 | command = "./web $PORT $MODE $MDOE $HOMEDIR ${DATABASE_URL}"
              |                              ^^^^^
              = did you mean $MODE?
              = set MDOE in [app.env]: Banyan passes nothing of its own environment on
              = for a shell that the command starts, use single quotes: sh -c 'echo $NAME'

            error: `$HOMEDIR` is not set for this command
             --> banyan.toml:6:36
              |
            6 | command = "./web $PORT $MODE $MDOE $HOMEDIR ${DATABASE_URL}"
              |                                    ^^^^^^^^
              = set HOMEDIR in [app.env]: Banyan passes nothing of its own environment on
              = for a shell that the command starts, use single quotes: sh -c 'echo $NAME'

            error: `$DATABASE_URL` is not set for this command
             --> banyan.toml:6:45
              |
            6 | command = "./web $PORT $MODE $MDOE $HOMEDIR ${DATABASE_URL}"
              |                                             ^^^^^^^^^^^^^^^
              = add a [database] table; empty, it makes Banyan run PostgreSQL
              = for a shell that the command starts, use single quotes: sh -c 'echo $NAME'

            3 errors; nothing was changed"#]],
    );
}

#[test]
fn hosts_must_exist() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
hosts = ["web1", "wbe2"]
[edge]
hosts = ["edge"]
[host]
web2 = {}
other = { kind = "lab" }
"##,
        expect![[r#"
            error: unknown host `web1`
             --> banyan.toml:5:10
              |
            5 | hosts = ["web1", "wbe2"]
              |          ^^^^^^
              = did you mean "web2"?

            error: unknown host `wbe2`
             --> banyan.toml:5:18
              |
            5 | hosts = ["web1", "wbe2"]
              |                  ^^^^^^
              = did you mean "web2"?

            error: unknown host `edge`
             --> banyan.toml:7:10
              |
            7 | hosts = ["edge"]
              |          ^^^^^^
              = add it to [host]; known: `other`, `web2`

            error: `kind` cannot be `lab`
              --> banyan.toml:10:18
               |
            10 | other = { kind = "lab" }
               |                  ^^^^^
               = write "machine"

            4 errors; nothing was changed"#]],
    );
}

#[test]
fn a_host_without_any_host_table() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
hosts = ["web1"]
"##,
        expect![[r#"
            error: unknown host `web1`
             --> banyan.toml:5:10
              |
            5 | hosts = ["web1"]
              |          ^^^^^^
              = remove `hosts` to run on this machine, or add [host.web1] with kind = "machine"

            1 error; nothing was changed"#]],
    );
}

#[test]
fn the_edge_needs_its_process() {
    check(
        r##"version = 1
name = "shop"
[edge]
process = "wbe"
--- Procfile
web: ./web
"##,
        expect![[r#"
            error: the edge needs a process `wbe`, and there is none
             --> banyan.toml:4:11
              |
            4 | process = "wbe"
              |           ^^^^^
              = did you mean process = "web" in [edge]?

            1 error; nothing was changed"#]],
    );
}

#[test]
fn the_edge_without_any_process() {
    check(
        r##"version = 1
name = "shop"
[edge]
port = 80
"##,
        expect![[r#"
            error: the edge needs a process `web`, and there is none
             --> banyan.toml:3:2
              |
            3 | [edge]
              |  ^^^^
              = write a Procfile with a line web: command, or command = "…" in [process.web]

            1 error; nothing was changed"#]],
    );
}

#[test]
fn nothing_to_run() {
    check(
        r##"version = 1
name = "shop"
"##,
        expect![[r#"
            error: there is nothing to run: no process is defined
             --> banyan.toml
              = write a Procfile with a line web: command, or command = "…" in [process.web]

            1 error; nothing was changed"#]],
    );
}

#[test]
fn a_process_without_a_command() {
    check(
        r##"version = 1
name = "shop"
[process.wroker]
count = 2
[process.release]
command = "./migrate"
--- Procfile
web: ./web
worker: ./worker
"##,
        expect![[r#"
            error: process `wroker` has no command
             --> banyan.toml:3:10
              |
            3 | [process.wroker]
              |          ^^^^^^
              = did you mean [process.worker]? The Procfile has that one
              = write command = "…" here, or a line in the Procfile

            error: the release command is not a process
             --> banyan.toml:5:10
              |
            5 | [process.release]
              |          ^^^^^^^
              = write release = "…" in [app]

            2 errors; nothing was changed"#]],
    );
}

#[test]
fn count_may_not_exceed_max() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
count = 3
max = 2
[process.clock]
command = "./clock"
count = 0
max = 0
"##,
        expect![[r#"
            error: `count` is 3, but `max` is 2
             --> banyan.toml:5:9
              |
            5 | count = 3
              |         ^
              = write max = 3 or more, or count = 2 or less

            error: `max` cannot be 0
              --> banyan.toml:10:7
               |
            10 | max = 0
               |       ^
               = write a whole number from 1 to 100

            2 errors; nothing was changed"#]],
    );
}

#[test]
fn ports_may_not_collide() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[edge]
port = 5432
[database]
port = 5432
"##,
        expect![[r#"
            error: port 5432 is taken: the edge listens on it
             --> banyan.toml:8:8
              |
            8 | port = 5432
              |        ^^^^
              = write another port, or remove the line: Banyan finds a free one

            1 error; nothing was changed"#]],
    );
}

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
fn a_secrets_file_never_shows_its_lines() {
    check(
        r##"version = 1
name = "shop"
[app]
secrets = "conf/secrets.env"
[process.web]
command = "./web"
--- conf/secrets.env 644
GOOD=1
hunter2
1BAD=hunter2
Q="hunter2
"##,
        expect![[r#"
            error: other users can read this file: its mode is 0644
             --> conf/secrets.env
              = run: chmod 600 conf/secrets.env

            error: this line has no `=`
             --> conf/secrets.env:2:1
              = write NAME=value, or begin the line with `#` if it is a comment

            error: this name cannot be used in an environment
             --> conf/secrets.env:3:1
              = a name is letters, digits and underscores, and does not begin with a digit

            error: the quoted value that begins here has no end
             --> conf/secrets.env:4:1
              = add the closing quote; a quote inside "…" is written \"

            4 errors; nothing was changed"#]],
    );
}

#[test]
fn a_secrets_file_with_doubtful_lines() {
    check(
        r##"version = 1
name = "shop"
[app]
secrets = "secrets.env"
[process.web]
command = "./web"
--- secrets.env
A=hunter2 # comment
B='hunter2' hunter3
A2=x
A2=y
"##,
        expect![[r#"
            error: it is not clear whether ` #` begins a comment or is part of the value
             --> secrets.env:1:1
              = write NAME='value' with quotes, and comments on lines of their own

            error: there is text after the closing quote
             --> secrets.env:2:1
              = put the whole value inside the quotes, and comments on lines of their own

            error: `A2` is defined twice
             --> secrets.env:4:1
              = remove one of the two lines

            3 errors; nothing was changed"#]],
    );
}

#[test]
fn files_that_are_missing() {
    check(
        r##"version = 1
name = "shop"
[app]
dir = "app"
procfile = "Procfile.prod"
secrets = "secrets.env"
files = [{ from = "a.in", to = "a" }, { from = "b", to = "b" }, { to = "c" }]
[process.web]
command = "./web"
env = { KEY = "{{secret.KEY}}" }
"##,
        expect![[r#"
            error: cannot read app/Procfile.prod: there is no such file
             --> banyan.toml:5:12
              |
            5 | procfile = "Procfile.prod"
              |            ^^^^^^^^^^^^^^^
              = the path is relative to the app's folder, `dir` in [app]

            error: cannot read the secrets file secrets.env: there is no such file
             --> banyan.toml:6:11
              |
            6 | secrets = "secrets.env"
              |           ^^^^^^^^^^^^^
              = create it: install -m 600 /dev/null secrets.env

            error: cannot read app/a.in: there is no such file
             --> banyan.toml:7:19
              |
            7 | files = [{ from = "a.in", to = "a" }, { from = "b", to = "b" }, { to = "c" }]
              |                   ^^^^^^
              = the path is relative to the app's folder, `dir` in [app]

            error: the file would overwrite its own template
             --> banyan.toml:7:58
              |
            7 | files = [{ from = "a.in", to = "a" }, { from = "b", to = "b" }, { to = "c" }]
              |                                                          ^^^
              = name the template differently, for example with .in at the end

            error: [app.files] needs `from`
             --> banyan.toml:7:65
              |
            7 | files = [{ from = "a.in", to = "a" }, { from = "b", to = "b" }, { to = "c" }]
              |                                                                 ^^^^^^^^^^^^
              = from: The template, relative to the app's folder.

            5 errors; nothing was changed"#]],
    );
}

#[test]
fn a_file_template_points_into_its_file() {
    check(
        r##"version = 1
name = "shop"
[app]
files = [{ from = "shop.cfg.in", to = "shop.cfg" }]
[process.web]
command = "./web"
--- shop.cfg.in
[db]
host = {{database.host}}
port = {{port}}
jinja = {{ user }}
"##,
        expect![[r#"
            error: `{{database.host}}` needs a database, and there is none
             --> shop.cfg.in:2:8
              |
            2 | host = {{database.host}}
              |        ^^^^^^^^^^^^^^^^^
              = add a [database] table; empty, it makes Banyan run PostgreSQL

            error: `{{port}}` has no value in a file: all instances share it
             --> shop.cfg.in:3:8
              |
            3 | port = {{port}}
              |        ^^^^^^^^
              = let the app read PORT or BANYAN_INSTANCE from its environment

            error: unknown placeholder `{{user}}`
             --> shop.cfg.in:4:9
              |
            4 | jinja = {{ user }}
              |         ^^^^^^^^^^
              = available here: `host`, `release`, `data`
              = for two literal braces write {{{{

            3 errors; nothing was changed"#]],
    );
}

#[test]
fn a_procfile_points_into_its_lines() {
    check(
        r##"version = 1
name = "shop"
[app]
dir = "app"
--- app/Procfile
# the processes
web: ./web
  web: ./again
nonsense
Worker One: ./w
"##,
        expect![[r#"
            error: process `web` is defined twice
             --> app/Procfile:3:3
              |
            3 |   web: ./again
              |   ^^^
              = remove one of the two lines

            error: this line has no `:`
             --> app/Procfile:4:1
              |
            4 | nonsense
              | ^^^^^^^^
              = write name: command, for example web: ./server

            error: a process cannot be named `Worker One`
             --> app/Procfile:5:1
              |
            5 | Worker One: ./w
              | ^^^^^^^^^^
              = write `worker-one`
              = 1 to 32 lower case letters, digits or hyphens, beginning with a letter

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

            error: `trusted_proxies` cannot contain "10.0.0.0/8"
             --> banyan.toml:8:20
              |
            8 | trusted_proxies = ["10.0.0.0/8", "proxy", "::1"]
              |                    ^^^^^^^^^^^^
              = networks are not supported yet: list each address

            error: `trusted_proxies` cannot contain "proxy"
             --> banyan.toml:8:34
              |
            8 | trusted_proxies = ["10.0.0.0/8", "proxy", "::1"]
              |                                  ^^^^^^^
              = write IP addresses: ["10.0.0.5"]

            error: `balance` cannot be `round-robin`
             --> banyan.toml:9:11
              |
            9 | balance = "round-robin"
              |           ^^^^^^^^^^^^^
              = did you mean "round_robin"?

            5 errors; nothing was changed"#]],
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

#[test]
fn balance_health_queue_and_sticky_sessions_are_checked() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[edge]
balance = "leastconn"
weights = [3, 0]
slow_start = 20
sticky = "session"
[edge.health]
max_ejected = 200
base_ejection_time = "30s"
[edge.queue]
maxconn = 50
"##,
        expect![[r#"
            error: `balance` cannot be `leastconn`
             --> banyan.toml:6:11
              |
            6 | balance = "leastconn"
              |           ^^^^^^^^^^^
              = write "p2c_ewma", "round_robin", "weighted", "least_connections", "ip_hash", "ring"

            error: `weights` cannot be 0
             --> banyan.toml:7:15
              |
            7 | weights = [3, 0]
              |               ^
              = write a whole number from 1 to 100

            error: `slow_start` has no unit
             --> banyan.toml:8:14
              |
            8 | slow_start = 20
              |              ^^
              = write slow_start = "20s" for seconds, or use ms, m, h, d

            error: `sticky` cannot be `session`
             --> banyan.toml:9:10
              |
            9 | sticky = "session"
              |          ^^^^^^^^^
              = write "cookie", "ip"

            error: `max_ejected` cannot be 200
              --> banyan.toml:11:15
               |
            11 | max_ejected = 200
               |               ^^^
               = write a whole number from 0 to 100

            error: unknown key `base_ejection_time` in [edge.health]
              --> banyan.toml:12:1
               |
            12 | base_ejection_time = "30s"
               | ^^^^^^^^^^^^^^^^^^
               = did you mean `eject`?

            error: unknown key `maxconn` in [edge.queue]
              --> banyan.toml:14:1
               |
            14 | maxconn = 50
               | ^^^^^^^
               = did you mean `max_connections`?

            7 errors; nothing was changed"#]],
    );
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[edge.sticky]
by = "ip"
cookie = "shop_i"
"##,
        expect![[r#"
            error: sticky by address has no cookie
             --> banyan.toml:7:10
              |
            7 | cookie = "shop_i"
              |          ^^^^^^^^
              = write sticky = "ip", or sticky = { cookie = "…" }

            1 error; nothing was changed"#]],
    );
}

#[test]
fn keys_of_the_edge_without_effect_are_named() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[edge]
balance = "round_robin"
weights = [3, 1]
hash_by = "ip"
sticky = "ip"
queue = { length = 5 }
"##,
        expect![[r#"
            warning: `balance` has no effect with sticky = "ip"
             --> banyan.toml:6:1
              |
            6 | balance = "round_robin"
              | ^^^^^^^
              = the client's address alone decides; remove one of the two

            warning: `weights` has no effect with balance = "round_robin"
             --> banyan.toml:7:1
              |
            7 | weights = [3, 1]
              | ^^^^^^^
              = balance = "weighted" is round robin with weights

            warning: `hash_by` has no effect with balance = "round_robin"
             --> banyan.toml:8:1
              |
            8 | hash_by = "ip"
              | ^^^^^^^
              = only balance = "ring" goes by it

            warning: `length` has no effect without `max_connections`
              --> banyan.toml:10:11
               |
            10 | queue = { length = 5 }
               |           ^^^^^^
               = without a limit per instance nothing waits

            no error"#]],
    );
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
[edge]
sticky = "cookie"
"##,
        expect![[r#"
            error: sticky by cookie needs the cookie's name
             --> banyan.toml:6:10
              |
            6 | sticky = "cookie"
              |          ^^^^^^^^
              = write sticky = { cookie = "myapp_i" }

            1 error; nothing was changed"#]],
    );
}
