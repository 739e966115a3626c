//! Who connects, and how they say who they are: PROXY protocol in and out, limits per address.

use expect_test::{Expect, expect};

use banyan_config::{ProxyProtocol, StreamTo, render_resolved};

use crate::{load, told};

const BASE: &str = "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"web\"\n";

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&told(&format!("{BASE}{text}")));
}

#[test]
fn proxy_protocol_in_and_out_is_read_and_shown() {
    let text = "proxy_protocol = \"v2\"\n[edge]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\nproxy_protocol = true\n\
                [edge.limits]\nconnections_per_ip = 0\nnew_per_ip = 9\nexempt_ips = [\"10.0.0.0/8\"]\n";
    let config = load(&format!("{BASE}{text}")).unwrap().config;
    let edge = config.edge.as_ref().unwrap();
    assert!(edge.settings.proxy_protocol);
    assert!(edge.settings.trusts("10.200.0.1".parse().unwrap()));
    assert!(!edge.settings.trusts("11.0.0.1".parse().unwrap()));
    let web = config.processes.values().next().unwrap();
    assert_eq!(web.settings.proxy_protocol, Some(ProxyProtocol::V2));
    let resolved = render_resolved(&config, false);
    assert_eq!(load(&resolved).unwrap().config, config, "{resolved}");
}

#[test]
fn a_header_that_nobody_may_send_is_a_mistake() {
    check(
        "[edge]\nproxy_protocol = true\n",
        expect![[r#"
            error: `proxy_protocol` needs `trusted_proxies`: nobody else is believed
             --> banyan.toml:6:1
              |
            6 | proxy_protocol = true
              | ^^^^^^^^^^^^^^
              = write trusted_proxies = ["10.0.0.5"] with the addresses or networks of your proxies

            1 error; nothing was changed"#]],
    );
    check(
        "proxy_protocol = \"2\"\n[edge.limits]\nexempt_ips = [\"10.0.0.0/40\"]\n",
        expect![[r#"
            error: `proxy_protocol` cannot be `2`
             --> banyan.toml:5:18
              |
            5 | proxy_protocol = "2"
              |                  ^^^
              = did you mean "v2"?

            error: `exempt_ips` cannot contain "10.0.0.0/40"
             --> banyan.toml:7:15
              |
            7 | exempt_ips = ["10.0.0.0/40"]
              |               ^^^^^^^^^^^^^
              = write addresses and networks: ["10.0.0.5", "10.1.0.0/16"]

            2 errors; nothing was changed"#]],
    );
}

#[test]
fn listeners_are_read_and_shown() {
    let text = "[process.db]\ncommand = \"db\"\n[edge]\ntls = \"self-signed\"\npassthrough = { \"Git.Example\" = \"db\" }\n\
                [[listener]]\nport = 9418\nprocess = \"db\"\npublic = true\nidle = \"10m\"\n\
                [[listener]]\nname = \"mqtt\"\nprotocol = \"tls\"\nport = 8883\nproxy_protocol = true\n\
                names = { \"*.Example.org\" = \"db\", \"a.b\" = \"web\" }\nprocess = \"web\"\n";
    let config = load(&format!("{BASE}{text}")).unwrap().config;
    let edge = config.edge.as_ref().unwrap();
    assert_eq!(edge.listeners[0].name, "listener-1");
    assert_eq!(edge.listeners[0].listen.to_string(), "0.0.0.0:9418");
    let StreamTo::Names { names, otherwise } = &edge.listeners[1].to else {
        panic!("{:?}", edge.listeners[1].to);
    };
    assert_eq!(names["*.example.org"].as_str(), "db");
    assert_eq!(otherwise.as_ref().unwrap().as_str(), "web");
    assert_eq!(edge.passthrough["git.example"].as_str(), "db");
    let resolved = render_resolved(&config, false);
    assert_eq!(load(&resolved).unwrap().config, config, "{resolved}");
}

#[test]
fn a_listener_that_leads_nowhere_or_shares_a_port_is_refused() {
    check(
        "[[listener]]\nport = 9000\n[[listener]]\nport = 9001\nprocess = \"wbe\"\n[[listener]]\nprotocol = \"tls\"\nport = 9002\n",
        expect![[r#"
            error: this listener leads to no process
             --> banyan.toml:5:1
              |
            5 | [[listener]]
              | ^^^^^^^^^^^^
              = write process = "…" with the process that gets its connections

            error: there is no process `wbe`
             --> banyan.toml:9:11
              |
            9 | process = "wbe"
              |           ^^^^^
              = did you mean `web`?

            error: this listener leads to no process
              --> banyan.toml:10:1
               |
            10 | [[listener]]
               | ^^^^^^^^^^^^
               = write names = { "db.example.org" = "db" }, or process = "…" for every name

            3 errors; nothing was changed"#]],
    );
    check(
        "[[listener]]\nport = 8080\nprocess = \"web\"\n[[listener]]\nport = 9000\nprocess = \"web\"\n\
         [[listener]]\nport = 9000\nprocess = \"web\"\nname = \"listener-1\"\n",
        expect![[r#"
            error: port 8080 is that of `port` of [edge], too
             --> banyan.toml:6:8
              |
            6 | port = 8080
              |        ^^^^
              = each listener needs a port of its own

            error: two listeners are named `listener-1`
              --> banyan.toml:11:1
               |
            11 | [[listener]]
               | ^^^^^^^^^^^^
               = names tell them apart in `banyan status`

            error: port 9000 is that of listener `listener-2`, too
              --> banyan.toml:12:8
               |
            12 | port = 9000
               |        ^^^^
               = each listener needs a port of its own

            3 errors; nothing was changed"#]],
    );
    check(
        "[[listener]]\nport = 9000\nprocess = \"web\"\nnames = { \"a.example\" = \"web\" }\n\
         [[listener]]\nport = 9001\nprotocol = \"tls\"\nnames = { \"https://a\" = \"web\", \"b.example\" = \"webb\" }\n",
        expect![[r#"
            error: `names` are not read with protocol = "tcp"
             --> banyan.toml:8:1
              |
            8 | names = { "a.example" = "web" }
              | ^^^^^
              = write protocol = "tls" to go by the name in the handshake

            error: `https://a` cannot contain "https://a": it is not a domain
              --> banyan.toml:12:11
               |
            12 | names = { "https://a" = "web", "b.example" = "webb" }
               |           ^^^^^^^^^^^
               = write "a"

            error: there is no process `webb`
              --> banyan.toml:12:46
               |
            12 | names = { "https://a" = "web", "b.example" = "webb" }
               |                                              ^^^^^^
               = did you mean `web`?

            3 errors; nothing was changed"#]],
    );
    check(
        "[edge]\npassthrough = { \"a.example\" = \"web\" }\n[[listener]]\nprotocol = \"udp\"\nport = 53\nprocess = \"web\"\n[[listener]]\nprocess = \"web\"\n",
        expect![[r#"
            error: `passthrough` shares the https port, and there is none without `tls`
             --> banyan.toml:6:1
              |
            6 | passthrough = { "a.example" = "web" }
              | ^^^^^^^^^^^
              = write tls = "self-signed", or certificate files; or a [[listener]] with protocol = "tls"

            error: `protocol` cannot be `udp`
             --> banyan.toml:8:12
              |
            8 | protocol = "udp"
              |            ^^^^^
              = write "tcp", "tls"

            error: [listener] needs `port`
              --> banyan.toml:11:1
               |
            11 | [[listener]]
               | ^^^^^^^^^^^^
               = port: Where clients connect.

            3 errors; nothing was changed"#]],
    );
}
