//! Which instances are near the edge: zones of hosts.

use expect_test::{Expect, expect};

use banyan_config::render_resolved;

use crate::{load, told};

const BASE: &str = "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"web\"\n";
const HOSTS: &str = "[host.a]\nzone = \"north\"\n[host.b]\nzone = \"south\"\n[host.c]\n";

fn check(text: &str, expected: Expect) {
    expected.assert_eq(&told(&format!("{BASE}{text}{HOSTS}")));
}

#[test]
fn instances_are_in_the_zones_of_their_hosts_in_turn() {
    let text = format!("{BASE}hosts = [\"a\", \"b\"]\n[edge]\nhosts = [\"b\"]\n{HOSTS}");
    let config = load(&text).unwrap().config;
    let web = &config.processes.values().next().unwrap().settings;
    let zones: Vec<_> = (1..=5).map(|slot| web.zone(slot).unwrap().as_str()).collect();
    assert_eq!(zones, ["north", "south", "north", "south", "north"]);
    let edge = config.edge.as_ref().unwrap();
    assert_eq!(edge.settings.zone.as_ref().unwrap().as_str(), "south");
    let resolved = render_resolved(&config, false);
    assert_eq!(load(&resolved).unwrap().config, config, "{resolved}");
}

#[test]
fn half_told_zones_are_mistakes() {
    check(
        "hosts = [\"a\", \"c\"]\n[edge]\nhosts = [\"a\"]\n",
        expect![[r#"
        error: process web runs in zones, but host `c` is in none
         --> banyan.toml:5:1
          |
        5 | hosts = ["a", "c"]
          | ^^^^^
          = write zone = "…" in [host.c]

        1 error; nothing was changed"#]],
    );
    check(
        "hosts = [\"a\"]\n[edge]\nhosts = [\"a\", \"b\"]\n",
        expect![[r#"
        error: the edge is in one zone, but its hosts are in `north` and `south`
         --> banyan.toml:7:1
          |
        7 | hosts = ["a", "b"]
          | ^^^^^
          = write hosts of one zone

        1 error; nothing was changed"#]],
    );
    check(
        "hosts = [\"a\"]\n",
        expect![[r#"
        error: process web runs in zones, but the edge is in none
         --> banyan.toml:5:1
          |
        5 | hosts = ["a"]
          | ^^^^^
          = write hosts = ["…"] in [edge], with a host of its zone

        1 error; nothing was changed"#]],
    );
    check(
        "hosts = [\"a\"]\n[edge]\nhosts = [\"d\"]\n[host.x]\nzone = \"The North\"\n",
        expect![[r#"
            error: process web runs in zones, but the edge is in none
             --> banyan.toml:5:1
              |
            5 | hosts = ["a"]
              | ^^^^^
              = write hosts = ["…"] in [edge], with a host of its zone

            error: unknown host `d`
             --> banyan.toml:7:10
              |
            7 | hosts = ["d"]
              |          ^^^
              = did you mean "a"?

            error: `zone` cannot be `The North`
             --> banyan.toml:9:8
              |
            9 | zone = "The North"
              |        ^^^^^^^^^^^
              = write `the-north`
              = 1 to 32 lower case letters, digits or hyphens, beginning with a letter

            3 errors; nothing was changed"#]],
    );
}
