//! `[origin.NAME]`, and routes that lead there.

use banyan_config::{RouteAction, render_resolved};
use expect_test::expect;

use crate::{load, told};

const BASE: &str = "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"run\"\n[edge]\n";
const SECRET: &str = "--- media.secret\n0123456789abcdef0123456789abcdef\n";

#[test]
fn an_origin_is_its_servers_in_turn_and_written_back_as_it_is_in_force() {
    let text = format!(
        r#"{BASE}[origin.media]
url = "https://Media.example"
backup = ["https://media.example.net:8443"]
secret_file = "media.secret"
ready = "/healthz"
[[route]]
prefix = "/media"
origin = "media"
rewrite = "/"
[[route]]
prefix = "/shop"
backup = "media"
{SECRET}"#
    );
    let config = load(&text).unwrap().config;
    let again = format!("{}{SECRET}", render_resolved(&config, false));
    assert_eq!(load(&again).unwrap().config, config);
    let edge = config.edge.unwrap();
    let urls: Vec<String> = edge.settings.origins["media"]
        .urls
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(urls, ["https://media.example", "https://media.example.net:8443"]);
    assert!(matches!(&edge.routes[0].action, RouteAction::Origin(to) if to.origin == "media"));
    let RouteAction::Process(forward) = &edge.routes[1].action else {
        panic!("a process");
    };
    assert_eq!(forward.backup.as_deref(), Some("media"));
}

#[test]
fn what_is_no_origin_is_named_with_its_place() {
    let text = r#"[origin.a]
url = "media.example"
backup = ["https://b.example/x"]
[origin.b]
url = "http://b.example"
backup = ["http://b.example:80"]
host = "two words"
secret_file = "open.secret"
ca = "none.pem"
[origin.c]
url = "https://c.example"
secret_file = "short.secret"
redy = "/"
[[route]]
prefix = "/a"
origin = "c"
backup = "c"
--- open.secret 644
0123456789abcdef0123456789abcdef
--- short.secret
short
"#;
    expect![[r#"
        error: "media.example" is no URL of an origin: it has no scheme
         --> banyan.toml:7:7
          |
        7 | url = "media.example"
          |       ^^^^^^^^^^^^^^^
          = write for example "https://media.example.org"

        error: "https://b.example/x" is no URL of an origin: it has a path: which one is asked for says the request, and `rewrite` of the route
         --> banyan.toml:8:11
          |
        8 | backup = ["https://b.example/x"]
          |           ^^^^^^^^^^^^^^^^^^^^^
          = write for example "https://media.example.org"

        error: http://b.example is named twice
          --> banyan.toml:11:11
           |
        11 | backup = ["http://b.example:80"]
           |           ^^^^^^^^^^^^^^^^^^^^^
           = it would fail twice: write another one, or leave it out

        error: "two words" cannot be a Host
          --> banyan.toml:12:8
           |
        12 | host = "two words"
           |        ^^^^^^^^^^^
           = write a name, perhaps with a port

        error: others can read open.secret (mode 644)
          --> banyan.toml:13:15
           |
        13 | secret_file = "open.secret"
           |               ^^^^^^^^^^^^^
           = chmod 600 open.secret

        error: the secret would pass http://b.example unencrypted
          --> banyan.toml:13:15
           |
        13 | secret_file = "open.secret"
           |               ^^^^^^^^^^^^^
           = write https://

        error: failed to read none.pem: there is no such file
          --> banyan.toml:14:6
           |
        14 | ca = "none.pem"
           |      ^^^^^^^^^^
           = the path is relative to banyan.toml

        error: short.secret holds no secret: 16 visible ASCII characters or more, on one line
          --> banyan.toml:17:15
           |
        17 | secret_file = "short.secret"
           |               ^^^^^^^^^^^^^^
           = make one: (umask 077; openssl rand -hex 32 > short.secret)

        error: unknown key `redy` in [origin.c]
          --> banyan.toml:18:1
           |
        18 | redy = "/"
           | ^^^^
           = did you mean `ready`?

        error: `backup` does nothing beside `origin`
          --> banyan.toml:22:1
           |
        22 | backup = "c"
           | ^^^^^^
           = its servers have backups of their own: write `backup` in its [origin.NAME]

        10 errors; nothing was changed"#]].assert_eq(&told(&format!("{BASE}{text}")));
}

#[test]
fn a_route_names_an_origin_that_is_there_and_one_that_nobody_names_is_told() {
    let text =
        "[origin.media]\nurl = \"https://media.example\"\n[[route]]\nprefix = \"/m\"\norigin = \"medea\"\n";
    expect![[r#"
        error: there is no [origin.medea]
          --> banyan.toml:10:10
           |
        10 | origin = "medea"
           |          ^^^^^^^
           = did you mean "media"?

        1 error; nothing was changed"#]]
    .assert_eq(&told(&format!("{BASE}{text}")));
    let text = "[origin.media]\nurl = \"https://media.example\"\n";
    expect![[r#"
        warning: no route leads to [origin.media]
         --> banyan.toml:6:9
          |
        6 | [origin.media]
          |         ^^^^^
          = write origin = "media" in a [[route]], or backup = "media" beside its process

        no error"#]]
    .assert_eq(&told(&format!("{BASE}{text}")));
}
