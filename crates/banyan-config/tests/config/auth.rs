//! `[auth.NAME]`: files are judged before anything changes, and what would let anybody in is refused.

use banyan_config::{AuthBy, JwtKeys, render_resolved};
use expect_test::expect;

use crate::{load, told};

const BASE: &str = "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"./web\"\n";
const DIGEST: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
const BCRYPT: &str = "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe";

#[test]
fn every_way_is_kept_with_its_paths_and_without_its_secrets() {
    let text = format!(
        r##"{BASE}[edge]
auth = ["staff"]
[auth.staff]
jwks = "https://login.example.org/jwks"
issuer = "https://login.example.org/"
audience = ["shop"]
require = {{ "realm_access.roles" = "admin" }}
claims = {{ X-Auth-Email = "email" }}
[auth.partners]
keys = "partners.keys"
[auth.people]
users = "people.htpasswd"
forward = true
[auth.inside]
jwks = "inside.json"
audience = ["x"]
algorithms = ["HS256"]
[auth.links]
signed = "links.keys"
[[route]]
prefix = "/api"
auth = ["partners", "people", "links"]
rate_limit = [{{ rate = "5/1s", by = "key" }}, {{ rate = "5/1s", by = "user" }}]
[[route]]
prefix = "/open"
auth = []
--- partners.keys
# one line for each
acme:{DIGEST}
--- links.keys
2026-11:{DIGEST}
--- people.htpasswd
ann:{BCRYPT}
--- inside.json
{{ "keys": [{{ "kty": "oct", "k": "AAAA" }}] }}
"##
    );
    let config = load(&text).unwrap().config;
    let shown = render_resolved(&config, false);
    let (_, files) = text.split_once("--- ").unwrap();
    let again = load(&format!("{shown}\n--- {files}")).unwrap().config;
    assert_eq!(config, again);
    assert!(!shown.contains(DIGEST) && !shown.contains(BCRYPT));
    let edge = config.edge.unwrap();
    let AuthBy::Jwt(jwt) = &edge.settings.auth["staff"].by else {
        panic!("no JWT");
    };
    assert!(matches!(jwt.keys, JwtKeys::Url { .. }));
    assert!(jwt.claims.contains_key("x-auth-email"));
    let names: Vec<_> = edge
        .routes
        .iter()
        .map(|route| route.bounds.filters.auth.len())
        .collect();
    assert_eq!((names, edge.settings.filters.auth.len()), (vec![3, 0], 1));
}

#[test]
fn wrong_tables_say_what_to_write() {
    let text = r##"[edge]
auth = ["stuff"]
[auth.staff]
jwks = "http://login.example.org/jwks"
[auth.empty]
forward = true
[auth.both]
keys = "a"
users = "b"
[auth.clear]
jwks = "https://login.example.org/jwks"
algorithms = ["HS256", "none"]
user_header = "X-Forwarded-For"
[auth.people]
users = "people.htpasswd"
issuer = "x"
[auth.open]
keys = "open.keys"
[auth.gone]
keys = "gone.keys"
[auth.links]
signed = "links.keys"
forward = true
[auth.set]
jwks = "set.json"
audience = ["x"]
refresh = "1m"
[[route]]
path = "/a"
rate_limit = { rate = "1/1s", by = "user" }
auth = ["open"]
--- people.htpasswd
ann:secret
bob
--- open.keys 644
a:b
--- links.keys
new:0123
--- set.json
{ "keys": [] }
"##;
    expect![[r#"
        error: there is no [auth.stuff]
         --> banyan.toml:6:9
          |
        6 | auth = ["stuff"]
          |         ^^^^^^^
          = write a table [auth.stuff] with jwks, keys, users or signed

        error: keys are not fetched in clear text
         --> banyan.toml:8:8
          |
        8 | jwks = "http://login.example.org/jwks"
          |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          = whoever changes them on the way may log in: write https://

        error: it does not say how clients show who they are
         --> banyan.toml:9:7
          |
        9 | [auth.empty]
          |       ^^^^^
          = write jwks = "https://…", keys = "FILE", users = "FILE" or signed = "FILE"

        error: `users` beside `keys`: a table has one of them
          --> banyan.toml:13:9
           |
        13 | users = "b"
           |         ^^^
           = make two tables of it; a route may name several: auth = ["a", "b"]

        error: `algorithms` cannot be `none`
          --> banyan.toml:16:24
           |
        16 | algorithms = ["HS256", "none"]
           |                        ^^^^^^
           = write "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384", "HS512"

        error: x-forwarded-for means something else
          --> banyan.toml:17:15
           |
        17 | user_header = "X-Forwarded-For"
           |               ^^^^^^^^^^^^^^^^^
           = take a name of its own, such as x-auth-user

        error: line 1 of people.htpasswd has no argon2 or bcrypt hash
          --> banyan.toml:19:9
           |
        19 | users = "people.htpasswd"
           |         ^^^^^^^^^^^^^^^^^
           = each line is NAME: and an argon2 or bcrypt hash; make one by: htpasswd -nB NAME

        error: line 2 of people.htpasswd is not NAME:HASH
          --> banyan.toml:19:9
           |
        19 | users = "people.htpasswd"
           |         ^^^^^^^^^^^^^^^^^
           = each line is NAME: and an argon2 or bcrypt hash; make one by: htpasswd -nB NAME

        error: `issuer` does nothing beside `users`
          --> banyan.toml:20:1
           |
        20 | issuer = "x"
           | ^^^^^^
           = it goes with `jwks`; remove it

        error: others can read open.keys (mode 644)
          --> banyan.toml:22:8
           |
        22 | keys = "open.keys"
           |        ^^^^^^^^^^^
           = chmod 600 open.keys

        error: failed to read gone.keys: there is no such file
          --> banyan.toml:24:8
           |
        24 | keys = "gone.keys"
           |        ^^^^^^^^^^^
           = the path is relative to banyan.toml

        error: line 1 of links.keys has no secret of 64 hexadecimal digits
          --> banyan.toml:26:10
           |
        26 | signed = "links.keys"
           |          ^^^^^^^^^^^^
           = each line is NAME: and a secret of 64 hexadecimal digits; make one by: openssl rand -hex 32

        error: `forward` does nothing beside `signed`
          --> banyan.toml:27:1
           |
        27 | forward = true
           | ^^^^^^^
           = it goes with `jwks, keys and users`; remove it

        error: set.json holds no keys
          --> banyan.toml:29:8
           |
        29 | jwks = "set.json"
           |        ^^^^^^^^^^
           = a JSON Web Key Set is { "keys": [{ "kty": "RSA", … }] }

        error: `refresh` does nothing with a file of keys
          --> banyan.toml:31:1
           |
        31 | refresh = "1m"
           | ^^^^^^^
           = a file is read again when it changes; remove it

        error: a limit by user counts nobody: nobody says who they are that way
          --> banyan.toml:34:1
           |
        34 | rate_limit = { rate = "1/1s", by = "user" }
           | ^^^^^^^^^^
           = write auth = ["…"] with the name of an [auth] table that has jwks or users

        16 errors; nothing was changed"#]].assert_eq(&told(&format!("{BASE}{text}")));
}
