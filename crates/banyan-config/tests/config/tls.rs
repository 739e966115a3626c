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
              = write "self-signed", "acme"
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

#[test]
fn acme_needs_names_that_can_be_shown_by_http() {
    let config = load(&with_edge(
        "tls = \"acme\"\nport = 80\ndomains = [\"Shop.Example\"]\nacme = { directory = \"https://ca.example/dir\", contact = \"a@b\", root = \"ca.pem\" }",
    ))
    .unwrap()
    .config;
    let tls = config.edge.clone().unwrap().settings.tls.unwrap();
    let Certificates::Acme(acme) = &tls.certificates else {
        panic!("{tls:?}");
    };
    assert_eq!(acme.directory, "https://ca.example/dir");
    let again = load(&render_resolved(&config, false)).unwrap().config;
    assert_eq!(again, config);
    check(
        "tls = \"acme\"",
        expect![[r#"
        error: tls = "acme" needs the names that the certificate is for
         --> banyan.toml:6:7
          |
        6 | tls = "acme"
          |       ^^^^^^
          = write domains = ["shop.example"]

        1 error; nothing was changed"#]],
    );
    check(
        "port = 80\ntls = \"acme\"\ndomains = [\"*.shop.example\", \"192.0.2.1\"]\nacme = { directory = \"http://ca\", contact = \"me\" }",
        expect![[r#"
            error: a CA cannot be shown by http that *.shop.example is yours
             --> banyan.toml:8:12
              |
            8 | domains = ["*.shop.example", "192.0.2.1"]
              |            ^^^^^^^^^^^^^^^^
              = list each name, or use certificate files: tls = { cert = "…", key = "…" }

            error: a CA cannot be shown by http that 192.0.2.1 is yours
             --> banyan.toml:8:30
              |
            8 | domains = ["*.shop.example", "192.0.2.1"]
              |                              ^^^^^^^^^^^
              = list each name, or use certificate files: tls = { cert = "…", key = "…" }

            error: `directory` must be an https URL
             --> banyan.toml:9:22
              |
            9 | acme = { directory = "http://ca", contact = "me" }
              |                      ^^^^^^^^^^^
              = write for example "https://acme-staging-v02.api.letsencrypt.org/directory"

            error: `contact` is no e-mail address
             --> banyan.toml:9:45
              |
            9 | acme = { directory = "http://ca", contact = "me" }
              |                                             ^^^^
              = write contact = "ops@shop.example"

            4 errors; nothing was changed"#]],
    );
    check(
        "tls = \"self-signed\"\nacme = { contact = \"a@b\" }",
        expect![[r#"
            warning: [edge.acme] has no effect without it
             --> banyan.toml:7:1
              |
            7 | acme = { contact = "a@b" }
              | ^^^^
              = write tls = "acme"

            no error"#]],
    );
}
