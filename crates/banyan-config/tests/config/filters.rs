//! Filters of `[edge]` and of routes: inheritance, and what is refused.

use banyan_config::{RateBy, render_resolved};
use expect_test::expect;

use crate::{load, told};

const BASE: &str = "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"./web\"\n";

#[test]
fn a_route_has_the_filters_of_the_edge_unless_it_has_its_own() {
    let text = r##"[edge]
rate_limit = { rate = "100/1s", burst = 200 }
[[route]]
prefix = "/a"
[[route]]
name = "login"
path = "/login"
rate_limit = [{ rate = "5/1m" }, { rate = "9/1h", by = "header", header = "X-Tenant" }]
[[route]]
prefix = "/free"
rate_limit = "off"
"##;
    let config = load(&format!("{BASE}{text}")).unwrap().config;
    let again = load(&render_resolved(&config, false)).unwrap().config;
    assert_eq!(config, again);
    let edge = config.edge.unwrap();
    let words: Vec<_> = edge
        .routes
        .iter()
        .map(|route| route.bounds.filters.words())
        .collect();
    expect![[r#"
        [
            [
                "rate limit *: 100/1s per client address, 200 at once",
            ],
            [
                "rate limit login: 5/1m per client address, 5 at once",
                "rate limit login-2: 9/1h per value of x-tenant, 9 at once",
            ],
            [],
        ]
    "#]]
    .assert_debug_eq(&words);
    let limits = &edge.routes[1].bounds.filters.rate_limits;
    assert_eq!(limits[1].by, RateBy::Header("x-tenant".to_owned()));
}

#[test]
fn wrong_rate_limits_say_what_to_write() {
    let text = r##"[edge]
rate_limit = { rate = "100 per second" }
[[route]]
path = "/a"
rate_limit = { rate = "1/30d", burst = 1000 }
[[route]]
path = "/b"
rate_limit = [{ rate = "5/1m", by = "header" }, { rate = "5/1m", header = "x-tenant" }, { burst = 3 }]
[[route]]
path = "/c"
rate_limit = "none"
"##;
    expect![[r#"
        error: `rate` cannot be `100 per second`
         --> banyan.toml:6:23
          |
        6 | rate_limit = { rate = "100 per second" }
          |                       ^^^^^^^^^^^^^^^^
          = write requests per time: "100/1s", "20/1m", "1000/1d"

        error: a burst of 1000 takes too long at 1/30d
         --> banyan.toml:9:40
          |
        9 | rate_limit = { rate = "1/30d", burst = 1000 }
          |                                        ^^^^
          = a burst must be allowed again within a year: write a smaller burst or a higher rate

        error: by = "header" needs the header's name
          --> banyan.toml:12:37
           |
        12 | rate_limit = [{ rate = "5/1m", by = "header" }, { rate = "5/1m", header = "x-tenant" }, { burst = 3 }]
           |                                     ^^^^^^^^
           = write header = "x-tenant" beside it

        error: `header` does nothing with by = "ip"
          --> banyan.toml:12:75
           |
        12 | rate_limit = [{ rate = "5/1m", by = "header" }, { rate = "5/1m", header = "x-tenant" }, { burst = 3 }]
           |                                                                           ^^^^^^^^^^
           = write by = "header", or remove `header`

        error: [route.rate_limit] needs `rate`
          --> banyan.toml:12:89
           |
        12 | rate_limit = [{ rate = "5/1m", by = "header" }, { rate = "5/1m", header = "x-tenant" }, { burst = 3 }]
           |                                                                                         ^^^^^^^^^^^^^
           = rate: Requests per time: "100/1s", "20/1m", "1000/1d".

        error: `rate_limit` cannot be `none`
          --> banyan.toml:15:14
           |
        15 | rate_limit = "none"
           |              ^^^^^^
           = write "off"
           = or rate_limit = { rate = "…", burst = "…", by = "…", header = "…" }

        6 errors; nothing was changed"#]].assert_eq(&told(&format!("{BASE}{text}")));
}

#[test]
fn cross_origin_rules_are_inherited_kept_and_checked() {
    let text = r##"[edge]
trace = "proxies"
cors = { origins = ["https://Shop.example", "https://*.shop.example:8443"], credentials = true }
[[route]]
prefix = "/a"
[[route]]
prefix = "/b"
cors = "off"
[[route]]
prefix = "/c"
cors = { origins = ["*"], headers = ["*"] }
"##;
    let config = load(&format!("{BASE}{text}")).unwrap().config;
    let again = load(&render_resolved(&config, false)).unwrap().config;
    assert_eq!(config, again);
    let edge = config.edge.unwrap();
    let cors = |n: usize| edge.routes[n].bounds.filters.cors.as_ref();
    assert_eq!(cors(0).unwrap().origins[0], "https://shop.example");
    assert!(cors(1).is_none() && !cors(2).unwrap().credentials);
    let text = r##"[edge]
cors = { origins = ["*"], credentials = true }
[[route]]
prefix = "/a"
cors = { origins = ["shop.example", "https://shop.example/", "https://*.example", "null", "ftp://a.example"], methods = ["GET POST"] }
[[route]]
prefix = "/b"
cors = { origins = [] }
"##;
    expect![[r#"
        error: `*` beside credentials = true
         --> banyan.toml:6:21
          |
        6 | cors = { origins = ["*"], credentials = true }
          |                     ^^^
          = every site could then act as your users: name the origins

        error: "shop.example" is not an origin
         --> banyan.toml:9:21
          |
        9 | cors = { origins = ["shop.example", "https://shop.example/", "https://*.example", "null", "ftp://a.example"], methods = ["GET POST"] }
          |                     ^^^^^^^^^^^^^^
          = write "https://app.example.org" (with its port, if it has one), "https://*.example.org" or "*"

        error: "https://shop.example/" is not an origin
         --> banyan.toml:9:37
          |
        9 | cors = { origins = ["shop.example", "https://shop.example/", "https://*.example", "null", "ftp://a.example"], methods = ["GET POST"] }
          |                                     ^^^^^^^^^^^^^^^^^^^^^^^
          = write "https://app.example.org" (with its port, if it has one), "https://*.example.org" or "*"

        error: "https://*.example" is not an origin
         --> banyan.toml:9:62
          |
        9 | cors = { origins = ["shop.example", "https://shop.example/", "https://*.example", "null", "ftp://a.example"], methods = ["GET POST"] }
          |                                                              ^^^^^^^^^^^^^^^^^^^
          = write "https://app.example.org" (with its port, if it has one), "https://*.example.org" or "*"

        error: "null" is not an origin
         --> banyan.toml:9:83
          |
        9 | cors = { origins = ["shop.example", "https://shop.example/", "https://*.example", "null", "ftp://a.example"], methods = ["GET POST"] }
          |                                                                                   ^^^^^^
          = write "https://app.example.org" (with its port, if it has one), "https://*.example.org" or "*"

        error: "ftp://a.example" is not an origin
         --> banyan.toml:9:91
          |
        9 | cors = { origins = ["shop.example", "https://shop.example/", "https://*.example", "null", "ftp://a.example"], methods = ["GET POST"] }
          |                                                                                           ^^^^^^^^^^^^^^^^^
          = write "https://app.example.org" (with its port, if it has one), "https://*.example.org" or "*"

        error: "GET POST" is not a name
         --> banyan.toml:9:122
          |
        9 | cors = { origins = ["shop.example", "https://shop.example/", "https://*.example", "null", "ftp://a.example"], methods = ["GET POST"] }
          |                                                                                                                          ^^^^^^^^^^
          = write each name alone: ["x-one", "x-two"]

        error: `origins` names nobody
          --> banyan.toml:12:20
           |
        12 | cors = { origins = [] }
           |                    ^^
           = write origins = ["https://app.example.org"], or cors = "off"

        8 errors; nothing was changed"#]].assert_eq(&told(&format!("{BASE}{text}")));
}

#[test]
fn compression_is_inherited_kept_and_checked() {
    let text = r##"[edge]
compress = "on"
[[route]]
prefix = "/a"
[[route]]
prefix = "/b"
compress = "off"
[[route]]
prefix = "/c"
compress = { codings = ["gzip"], types = ["Text/HTML", "application/*+json"], min = "100B", private = true }
"##;
    let config = load(&format!("{BASE}{text}")).unwrap().config;
    let again = load(&render_resolved(&config, false)).unwrap().config;
    assert_eq!(config, again);
    let edge = config.edge.unwrap();
    let compress = |n: usize| edge.routes[n].bounds.filters.compress.as_ref();
    assert_eq!(
        (compress(0).unwrap().min, compress(0).unwrap().private),
        (1024, false)
    );
    assert!(compress(1).is_none());
    assert_eq!(compress(2).unwrap().types, ["text/html", "application/*+json"]);
    expect!["answers are compressed (gzip; from 100B to 10MiB, private ones, too)"]
        .assert_eq(&edge.routes[2].bounds.filters.words().join("\n"));
    let text = r##"[edge]
compress = "yes"
[[route]]
prefix = "/a"
compress = { codings = ["deflate"], types = ["html", "text/html; charset=utf-8", "*/*"], min = "2MiB", max = "1MiB" }
[[route]]
prefix = "/b"
compress = { codings = [] }
[[route]]
prefix = "/c"
compress = [{ codings = ["br"] }, { codings = ["gzip"] }]
"##;
    expect![[r#"
        error: `compress` cannot be `yes`
         --> banyan.toml:6:12
          |
        6 | compress = "yes"
          |            ^^^^^
          = write "on", "off"
          = or compress = { codings = "…", types = "…", min = "…", max = "…", private = "…" }

        error: `codings` cannot be `deflate`
         --> banyan.toml:9:25
          |
        9 | compress = { codings = ["deflate"], types = ["html", "text/html; charset=utf-8", "*/*"], min = "2MiB", max = "1MiB" }
          |                         ^^^^^^^^^
          = write "zstd", "br", "gzip"

        error: "html" is no media type
         --> banyan.toml:9:46
          |
        9 | compress = { codings = ["deflate"], types = ["html", "text/html; charset=utf-8", "*/*"], min = "2MiB", max = "1MiB" }
          |                                              ^^^^^^
          = write "text/html", "text/*" or "application/*+json", without parameters

        error: "text/html; charset=utf-8" is no media type
         --> banyan.toml:9:54
          |
        9 | compress = { codings = ["deflate"], types = ["html", "text/html; charset=utf-8", "*/*"], min = "2MiB", max = "1MiB" }
          |                                                      ^^^^^^^^^^^^^^^^^^^^^^^^^^
          = write "text/html", "text/*" or "application/*+json", without parameters

        error: "*/*" is no media type
         --> banyan.toml:9:82
          |
        9 | compress = { codings = ["deflate"], types = ["html", "text/html; charset=utf-8", "*/*"], min = "2MiB", max = "1MiB" }
          |                                                                                  ^^^^^
          = write "text/html", "text/*" or "application/*+json", without parameters

        error: `min` is above `max`
         --> banyan.toml:9:96
          |
        9 | compress = { codings = ["deflate"], types = ["html", "text/html; charset=utf-8", "*/*"], min = "2MiB", max = "1MiB" }
          |                                                                                                ^^^^^^
          = `min` is the smallest, `max` the largest answer that is compressed

        error: `codings` names none
          --> banyan.toml:12:24
           |
        12 | compress = { codings = [] }
           |                        ^^
           = write codings = ["zstd", "br", "gzip"], or compress = "off"

        error: `compress` is one table
          --> banyan.toml:15:35
           |
        15 | compress = [{ codings = ["br"] }, { codings = ["gzip"] }]
           |                                   ^^^^^^^^^^^^^^^^^^^^^^
           = put all types into one list

        8 errors; nothing was changed"#]].assert_eq(&told(&format!("{BASE}{text}")));
}

#[test]
fn rules_against_attacks_are_switched_by_route_and_exceptions_are_known() {
    let config = |text: &str| {
        let text = format!("version = 1\nname = \"shop\"\n[process.web]\ncommand = \"run\"\n[edge]\n{text}");
        load(&text).map(|loaded| loaded.config)
    };
    let own = "[[route]]\nprefix = \"/a\"\nwaf = \"off\"\n[[route]]\nprefix = \"/b\"\nwaf = { except = [\"W301\"] }\n";
    let read = config(&format!("waf = \"block\"\n{own}[[route]]\nprefix = \"/c\"\n")).unwrap();
    assert_eq!(
        load(&banyan_config::render_resolved(&read, false))
            .unwrap()
            .config,
        read
    );
    let edge = read.edge.unwrap();
    let words: Vec<_> = edge
        .routes
        .iter()
        .map(|route| route.bounds.filters.words().join("; "))
        .collect();
    assert_eq!(
        words,
        [
            "",
            "requests that look like attacks are logged, but for rule W301",
            "requests that look like attacks are refused"
        ]
    );
    let wrong = config("waf = { mode = \"block\", except = [\"W3O1\"] }")
        .unwrap_err()
        .to_string();
    assert!(
        wrong.contains("there is no rule W3O1") && wrong.contains("W301"),
        "{wrong}"
    );
}
