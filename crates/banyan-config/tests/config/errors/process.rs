//! `[process.NAME]` and `[host.NAME]`.

use expect_test::expect;

use super::check;

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
fn grpcs_health_is_asked_in_http2_and_only_it_knows_services() {
    check(
        r##"version = 1
name = "shop"
[process.web]
command = "./web"
protocol = "http2"
[process.api]
command = "./api"
ready = "/grpc.health.v1.Health/Check"
[process.orders]
command = "./orders"
protocol = "h2"
proxy_protocol = "v2"
ready = { path = "/healthz", service = "shop.Orders" }
"##,
        expect![[r#"
            error: `protocol` cannot be `http2`
             --> banyan.toml:5:12
              |
            5 | protocol = "http2"
              |            ^^^^^^^
              = did you mean "http1"?

            error: gRPC's health method is asked in HTTP/2
             --> banyan.toml:8:9
              |
            8 | ready = "/grpc.health.v1.Health/Check"
              |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              = write protocol = "h2" in [process.api]

            error: `proxy_protocol` beside protocol = "h2": many clients share a connection
              --> banyan.toml:12:18
               |
            12 | proxy_protocol = "v2"
               |                  ^^^^
               = remove it: the client's address is in X-Forwarded-For

            error: `service` is of gRPC's health method
              --> banyan.toml:13:40
               |
            13 | ready = { path = "/healthz", service = "shop.Orders" }
               |                                        ^^^^^^^^^^^^^
               = write path = "/grpc.health.v1.Health/Check", or remove `service`

            4 errors; nothing was changed"#]],
    );
}
