//! Where traces come in and go out by OTLP.

use expect_test::expect;

use banyan_config::{Otlp, render_resolved};

use crate::{load, told};

const BASE: &str = "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"web\"\n[observe]\n";

fn otlp(text: &str) -> Otlp {
    let config = load(&format!("{BASE}{text}")).expect("it is sound").config;
    let again = load(&render_resolved(&config, false))
        .expect("it is sound")
        .config;
    assert_eq!(again, config);
    config.observe.expect("it is on").settings.otlp
}

#[test]
fn ports_and_a_collector_are_read_and_written_out_as_the_same() {
    assert_eq!(otlp(""), Otlp::default());
    let all = otlp("otlp_http = 4318\notlp_grpc = 4317\nexport = \"http://collector:4320\"\n");
    assert_eq!((all.http, all.grpc), (Some(4318), Some(4317)));
    assert_eq!(all.export.as_deref(), Some("http://collector:4320/v1/traces"));
    let own = otlp("export = \"https://collector/otlp/v1/traces\"\n");
    assert_eq!(own.export.as_deref(), Some("https://collector/otlp/v1/traces"));
}

#[test]
fn a_port_for_two_things_and_an_address_with_a_secret_are_mistakes() {
    let text =
        "port = 4318\notlp_http = 4318\notlp_grpc = 4317\nexport = \"http://me:secret@collector:4320\"\n";
    expect![[r#"
        error: this port is `port` already
         --> banyan.toml:7:13
          |
        7 | otlp_http = 4318
          |             ^^^^
          = write another port

        error: this is no address of a collector
         --> banyan.toml:9:10
          = write http://HOST:PORT or https://HOST:PORT, without a password or a query: a secret does not belong here

        2 errors; nothing was changed"#]].assert_eq(&told(&format!("{BASE}{text}")));
}
