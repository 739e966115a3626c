//! Who connects, and how they say who they are: PROXY protocol in and out, limits per address.

use expect_test::{Expect, expect};

use banyan_config::{ProxyProtocol, render_resolved};

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
