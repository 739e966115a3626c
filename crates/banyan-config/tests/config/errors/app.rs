//! `[app]`: its files, its secrets and what is put into them.

use expect_test::expect;

use super::check;

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
