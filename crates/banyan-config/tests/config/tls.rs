//! `tls` of `[edge]`: what it means, and what is refused before anything changes.

use expect_test::{Expect, expect};

use banyan_config::{Certificates, render_resolved};

use crate::{load, told};

fn with_edge(edge: &str) -> String {
    format!(
        "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"web\"\n[edge]\n{edge}\n\
         --- shop.pem\nshop.example *.shop.example\n--- shop.key\n-\n--- other.pem\nother.example\n--- other.key\n-\n"
    )
}

fn check(edge: &str, expected: Expect) {
    expected.assert_eq(&told(&with_edge(edge)));
}

#[test]
fn self_signed_serves_https_beside_the_plain_port() {
    let config = load(&with_edge(
        "tls = \"self-signed\"\ndomains = [\"Shop.Example\"]\npublic = true",
    ))
    .unwrap()
    .config;
    let edge = config.edge.clone().unwrap();
    assert_eq!(edge.https.unwrap().to_string(), "0.0.0.0:8443");
    assert_eq!(edge.listen.to_string(), "0.0.0.0:8080");
    let tls = edge.settings.tls.unwrap();
    assert_eq!(tls.certificates, Certificates::SelfSigned);
    assert_eq!(tls.domains, ["shop.example"]);
    assert!(tls.redirect && tls.hsts.is_zero());
    let resolved = render_resolved(&config, true);
    assert!(resolved.contains("tls = \"self-signed\"\nhttps_port = 8443\ndomains = [\"shop.example\"]\nredirect = true\nhsts = \"0s\"\n"), "{resolved}");
}

#[test]
fn a_certificate_or_a_list_of_them() {
    check(
        "tls = { cert = \"shop.pem\", key = \"shop.key\" }\ndomains = [\"shop.example\", \"www.shop.example\"]",
        expect!["no error"],
    );
    check(
        "tls = [{ cert = \"shop.pem\", key = \"shop.key\" }, { cert = \"other.pem\", key = \"other.key\" }]\n\
         domains = [\"other.example\"]",
        expect!["no error"],
    );
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() {
    check(
        "tls = { cert = \"shop.pem\", key = \"none.key\" }",
        expect![[r#"
            error: failed to read none.key
             --> banyan.toml:6:7
              |
            6 | tls = { cert = "shop.pem", key = "none.key" }
              |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
              = until it is right, the running edge keeps what it has

            1 error; nothing was changed"#]],
    );
    check(
        "tls = { cert = \"shop.pem\", key = \"shop.key\" }\ndomains = [\"a.b.shop.example\"]",
        expect![[r#"
            error: no certificate is valid for a.b.shop.example
             --> banyan.toml:7:12
              |
            7 | domains = ["a.b.shop.example"]
              |            ^^^^^^^^^^^^^^^^^^
              = they are valid for shop.example, *.shop.example

            1 error; nothing was changed"#]],
    );
}

#[test]
fn wrong_shapes_say_what_to_write() {
    check(
        "tls = \"letsencrypt\"",
        expect![[r#"
            error: `tls` cannot be `letsencrypt`
             --> banyan.toml:6:7
              |
            6 | tls = "letsencrypt"
              |       ^^^^^^^^^^^^^
              = write "self-signed"
              = or tls = { cert = "…", key = "…" }

            1 error; nothing was changed"#]],
    );
    check(
        "tls = true",
        expect![[r#"
            error: `tls` is a word or a table, not true or false
             --> banyan.toml:6:7
              |
            6 | tls = true
              |       ^^^^
              = write tls = "self-signed" or tls = { cert = "…", key = "…" }

            1 error; nothing was changed"#]],
    );
    check(
        "tls = { cert = \"shop.pem\" }",
        expect![[r#"
            error: [edge.tls] needs `key`
             --> banyan.toml:6:1
              |
            6 | tls = { cert = "shop.pem" }
              | ^^^
              = key: PEM file: its private key, mode 0600; relative to banyan.toml.

            1 error; nothing was changed"#]],
    );
    check(
        "tls = \"self-signed\"\ndomains = [\"https://shop.example/\"]",
        expect![[r#"
            error: `domains` cannot contain "https://shop.example/": it is not a domain
             --> banyan.toml:7:12
              |
            7 | domains = ["https://shop.example/"]
              |            ^^^^^^^^^^^^^^^^^^^^^^^
              = write "shop.example"

            1 error; nothing was changed"#]],
    );
    check(
        "tls = \"self-signed\"\nhttps_port = 8080",
        expect![[r#"
            error: `port` and `https_port` are both 8080
             --> banyan.toml:7:14
              |
            7 | https_port = 8080
              |              ^^^^
              = choose another one for https_port; 80 and 443 are the usual pair

            1 error; nothing was changed"#]],
    );
    check(
        "hsts = \"30d\"",
        expect![[r#"
            warning: `hsts` has no effect without `tls` in [edge]
             --> banyan.toml:6:1
              |
            6 | hsts = "30d"
              | ^^^^
              = write tls = "self-signed", or tls = { cert = "…", key = "…" }

            no error"#]],
    );
}
