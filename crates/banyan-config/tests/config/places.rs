//! `[edge.place.NAME]`: edges beside the first.

use banyan_config::{CountLimits, render_resolved};
use expect_test::expect;

use crate::{load, told};

const BASE: &str = "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"run\"\n[edge]\n";

#[test]
fn a_place_has_ports_of_its_own_and_is_written_back_as_it_is_in_force() {
    let text = format!(
        "{BASE}public = true\n[edge.place.south]\nport = 8081\n[edge.place.west]\nport = 8082\npublic = false\n"
    );
    let config = load(&text).unwrap().config;
    assert_eq!(load(&render_resolved(&config, false)).unwrap().config, config);
    let edge = config.edge.unwrap();
    let places: Vec<_> = edge
        .places
        .iter()
        .map(|(name, place)| format!("{name} {}", place.listen))
        .collect();
    assert_eq!(places, ["south 0.0.0.0:8081", "west 127.0.0.1:8082"]);
}

#[test]
fn clashes_and_what_is_missing_are_named_with_their_place() {
    let places = r#"tls = "self-signed"
[[listener]]
port = 9000
process = "web"
[edge.place.edge]
port = 8081
https_port = 8445
[edge.place.south]
port = 8080
https_port = 9000
[edge.place.west]
port = 8082
https_port = 8082
[edge.place.north]
port = 9464
"#;
    expect![[r#"
        error: the place `edge` is there already
          --> banyan.toml:10:13
           |
        10 | [edge.place.edge]
           |             ^^^^
           = [edge] itself is that place; give this one another name

        error: port 8080 is that of `port` of [edge], too
          --> banyan.toml:14:8
           |
        14 | port = 8080
           |        ^^^^
           = each place needs ports of its own

        error: port 9000 is that of listener `listener-1`, too
          --> banyan.toml:15:14
           |
        15 | https_port = 9000
           |              ^^^^
           = each place needs ports of its own

        error: port 8082 is that of place `west`, too
          --> banyan.toml:18:14
           |
        18 | https_port = 8082
           |              ^^^^
           = each place needs ports of its own

        error: the edge has `tls`, so place `north` needs an https port
          --> banyan.toml:19:13
           |
        19 | [edge.place.north]
           |             ^^^^^
           = write https_port = …

        error: port 9464 is that of `listen` of [metrics], too
          --> banyan.toml:20:8
           |
        20 | port = 9464
           |        ^^^^
           = each place needs ports of its own

        6 errors; nothing was changed"#]]
    .assert_eq(&told(&format!("{BASE}{places}")));
    let plain = "[edge.place.south]\nport = 8081\nhttps_port = 8444\n";
    expect![[r#"
        warning: `https_port` has no effect: the edge has no `tls`
         --> banyan.toml:8:1
          |
        8 | https_port = 8444
          | ^^^^^^^^^^
          = write tls = "self-signed" or certificate files in [edge], or leave it away

        no error"#]]
    .assert_eq(&told(&format!("{BASE}{plain}")));
}

#[test]
fn a_shield_is_a_place_that_is_there_and_others_ask_it() {
    let with =
        |shield: &str, places: &str| told(&format!("{BASE}cache = {{ shield = \"{shield}\" }}\n{places}"));
    let south = "[edge.place.south]\nport = 8081\n";
    for shield in ["south", "edge"] {
        expect!["no error"].assert_eq(&with(shield, south));
    }
    expect![[r#"
        error: there is no place `suoth`
         --> banyan.toml:6:20
          |
        6 | cache = { shield = "suoth" }
          |                    ^^^^^^^
          = did you mean `south`?

        1 error; nothing was changed"#]]
    .assert_eq(&with("suoth", south));
    expect![[r#"
        warning: `shield` has no effect: there is one edge
         --> banyan.toml:6:20
          |
        6 | cache = { shield = "edge" }
          |                    ^^^^^^
          = write [edge.place.NAME] with a port for each edge that is to ask it

        no error"#]]
    .assert_eq(&with("edge", ""));
    let text = format!("{BASE}cache = {{ shield = \"south\" }}\n{south}");
    let config = load(&text).unwrap().config;
    assert_eq!(load(&render_resolved(&config, false)).unwrap().config, config);
}

#[test]
fn edges_that_share_what_they_keep_stand_beside_one_that_is_there() {
    let with = |cache: &str, places: &str| told(&format!("{BASE}{cache}{places}"));
    let place = |name: &str, port: u16, beside: &str| {
        format!("[edge.place.{name}]\nport = {port}\nbeside = \"{beside}\"\n")
    };
    let cache = "cache = {}\n";
    let two =
        place("south", 8081, "edge") + "[edge.place.west]\nport = 8082\n" + &place("west2", 8083, "west");
    expect!["no error"].assert_eq(&with(cache, &two));
    let config = load(&format!("{BASE}{cache}{two}")).unwrap().config;
    assert_eq!(load(&render_resolved(&config, false)).unwrap().config, config);
    let cache_of = config.edge.unwrap().settings.cache.unwrap();
    let sites = ["edge", "south", "west", "west2"].map(|place| cache_of.site(place));
    assert_eq!(sites, ["edge", "edge", "west", "west"]);
    let wrong = place("south", 8081, "suoth")
        + &place("west", 8082, "west")
        + &place("north", 8083, "south")
        + &place("a-place-with-a-very-long-name", 8084, "edge");
    expect![[r#"
        error: there is no place `suoth`
         --> banyan.toml:9:10
          |
        9 | beside = "suoth"
          |          ^^^^^^^
          = places are `a-place-with-a-very-long-name`, `north`, `west`, `edge`

        error: place `west` cannot stand beside itself
          --> banyan.toml:12:10
           |
        12 | beside = "west"
           |          ^^^^^^
           = places are `a-place-with-a-very-long-name`, `north`, `south`, `edge`

        error: place `south` stands beside `suoth` itself
          --> banyan.toml:15:10
           |
        15 | beside = "south"
           |          ^^^^^^^
           = write the name of one that all of them stand beside

        error: the name `a-place-with-a-very-long-name` is too long for edges that share what they keep
          --> banyan.toml:18:10
           |
        18 | beside = "edge"
           |          ^^^^^^
           = give that place a name of at most 24 characters

        4 errors; nothing was changed"#]]
    .assert_eq(&with(cache, &wrong));
    expect![[r#"
        warning: `beside` has no effect: the edges keep nothing
         --> banyan.toml:8:10
          |
        8 | beside = "edge"
          |          ^^^^^^
          = write cache = {} in [edge], or leave it away

        no error"#]]
    .assert_eq(&with("", &place("south", 8081, "edge")));
}

#[test]
fn several_edges_count_limits_in_redis_where_there_is_one_and_else_each_by_itself() {
    let place = "[edge.place.south]\nport = 8081\n";
    let limit = "rate_limit = { rate = \"5/1m\" }\n";
    let counted = |text: &str| {
        let config = load(text).unwrap().config;
        assert_eq!(load(&render_resolved(&config, false)).unwrap().config, config);
        config.edge.unwrap().settings.count_limits
    };
    for (text, expected) in [
        (format!("{BASE}{limit}{place}[sessions]\n"), CountLimits::Redis),
        (
            format!("{BASE}{place}[sessions]\n[[route]]\nname = \"a\"\npath = \"/a\"\n{limit}"),
            CountLimits::Redis,
        ),
        (
            format!("{BASE}count_limits = \"here\"\n{limit}{place}[sessions]\n"),
            CountLimits::Here,
        ),
        (
            format!("{BASE}count_limits = \"redis\"\n{limit}[sessions]\n"),
            CountLimits::Redis,
        ),
        (format!("{BASE}{limit}{place}"), CountLimits::Here),
        (format!("{BASE}{limit}{place}[cache]\n"), CountLimits::Here),
        (format!("{BASE}{limit}[sessions]\n"), CountLimits::Here),
        (format!("{BASE}{place}[sessions]\n"), CountLimits::Here),
        (
            format!("{BASE}{limit}{place}[sessions]\nurl = \"redis+cluster://one,two\"\n"),
            CountLimits::Here,
        ),
        (
            format!("{BASE}{limit}{place}[sessions]\nurl = \"redis://one\"\n"),
            CountLimits::Redis,
        ),
    ] {
        assert_eq!(counted(&text), expected, "{text}");
    }
}

#[test]
fn to_count_in_redis_needs_one_server_that_keeps() {
    let wanted = "count_limits = \"redis\"\nrate_limit = { rate = \"5/1m\" }\n";
    expect![[r#"
        error: count_limits = "redis" needs a Redis that keeps what it counts, and there is no [sessions]
         --> banyan.toml:6:16
          |
        6 | count_limits = "redis"
          |                ^^^^^^^
          = write [sessions] (it may be empty: Banyan runs Redis), or remove this line

        1 error; nothing was changed"#]]
    .assert_eq(&told(&format!("{BASE}{wanted}")));
    expect![[r#"
        error: edges count in one server, and the `url` of [sessions] names Sentinels or a Cluster
         --> banyan.toml:6:16
          |
        6 | count_limits = "redis"
          |                ^^^^^^^
          = write count_limits = "here": each edge counts for itself

        1 error; nothing was changed"#]]
    .assert_eq(&told(&format!(
        "{BASE}{wanted}[sessions]\nurl = \"redis+sentinel://one/main\"\n"
    )));
    expect![[r#"
        warning: `count_limits` has no effect: there is no `rate_limit`
         --> banyan.toml:6:16
          |
        6 | count_limits = "redis"
          |                ^^^^^^^
          = write rate_limit = { rate = "100/1s" } in [edge] or a route

        no error"#]]
    .assert_eq(&told(&format!("{BASE}count_limits = \"redis\"\n[sessions]\n")));
}
