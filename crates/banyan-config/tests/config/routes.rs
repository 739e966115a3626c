//! `[[route]]`: what is refused and in which words, and that the resolved form means the same.

use expect_test::{Expect, expect};

use banyan_config::{PathMatch, RouteAction, render_resolved};

use crate::{load, told};

const BASE: &str = "version = 1
name = \"shop\"
[process.web]
command = \"./web\"
[process.api]
command = \"./api\"
";

fn check(routes: &str, expected: Expect) {
    expected.assert_eq(&told(&format!("{BASE}{routes}")));
}

#[test]
fn mistakes_in_conditions_are_named_with_their_cure() {
    check(
        r##"[[route]]
name = "one"
domains = ["https://shop.example", "shop.example:80", "a.*.b", "Shop.Example"]
path = "/a%20b"
prefix = "/b"
methods = ["get"]
headers = { "x y" = "1" }
[[route]]
name = "one"
regex = "(a"
allow = ["10.0.0.0/33", "10.0.0.0/8"]
[[route]]
path = "/a/../b"
"##,
        expect![[r#"
            error: "https://shop.example" is not a domain
             --> banyan.toml:9:12
              |
            9 | domains = ["https://shop.example", "shop.example:80", "a.*.b", "Shop.Example"]
              |            ^^^^^^^^^^^^^^^^^^^^^^
              = write the name alone: "example.org"; paths have keys of their own

            error: "shop.example:80" is not a domain
             --> banyan.toml:9:36
              |
            9 | domains = ["https://shop.example", "shop.example:80", "a.*.b", "Shop.Example"]
              |                                    ^^^^^^^^^^^^^^^^^
              = write it without the port: a route sees every port of the edge

            error: "a.*.b" is not a domain
             --> banyan.toml:9:55
              |
            9 | domains = ["https://shop.example", "shop.example:80", "a.*.b", "Shop.Example"]
              |                                                       ^^^^^^^
              = `*` can only stand for whole names at the beginning: "*.example.org"

            error: no request has the path "/a%20b"
              --> banyan.toml:10:8
               |
            10 | path = "/a%20b"
               |        ^^^^^^^^
               = write the decoded text: requests are decoded before they are compared

            error: `prefix` beside `path`: a route has one of them
              --> banyan.toml:11:10
               |
            11 | prefix = "/b"
               |          ^^^^
               = path is exact, prefix is whole segments, regex is a regular expression

            error: no request has the method "get": methods are in capitals
              --> banyan.toml:12:12
               |
            12 | methods = ["get"]
               |            ^^^^^
               = write "GET"

            error: `x y` cannot be a header's name
              --> banyan.toml:13:13
               |
            13 | headers = { "x y" = "1" }
               |             ^^^^^
               = write the name alone, for example x-frame-options

            error: two routes are named `one`
              --> banyan.toml:14:1
               |
            14 | [[route]]
               | ^^^^^^^^^
               = names tell routes apart in logs and in `banyan route explain`

            error: `regex` is not a regular expression: unclosed group
              --> banyan.toml:16:9
               |
            16 | regex = "(a"
               |         ^^^^
               = the syntax is that of docs.rs/regex; it may match anywhere: begin with ^ and end with $

            error: "10.0.0.0/33" is no address and no network
              --> banyan.toml:17:10
               |
            17 | allow = ["10.0.0.0/33", "10.0.0.0/8"]
               |          ^^^^^^^^^^^^^
               = write for example "10.0.0.5" or "10.0.0.0/8"

            error: no request has the path "/a/../b"
              --> banyan.toml:19:8
               |
            19 | path = "/a/../b"
               |        ^^^^^^^^^
               = such paths are refused as ambiguous; write the plain path

            11 errors; nothing was changed"#]],
    );
}

#[test]
fn mistakes_in_actions_are_named_with_their_cure() {
    check(
        r##"[[route]]
prefix = "/a"
process = "apu"
redirect = "/b"
[[route]]
prefix = "/b"
redirect = { to = "/{path}", status = 305 }
[[route]]
prefix = "/c"
redirect = "//other"
rewrite = "/x"
[[route]]
regex = "^/d"
rewrite = "/x"
split = { web = 0, api = 0 }
response_headers = { set = { content-length = "3", x-a = "é" }, remove = ["x-forwarded-for"] }
"##,
        expect![[r#"
            error: there is no process `apu`
             --> banyan.toml:9:11
              |
            9 | process = "apu"
              |           ^^^^^
              = did you mean `api`?

            error: `redirect` beside `process`: a route does one thing
              --> banyan.toml:10:1
               |
            10 | redirect = "/b"
               | ^^^^^^^^
               = make two routes of it, or remove one

            error: a redirect cannot lead to "/{path}"
              --> banyan.toml:13:19
               |
            13 | redirect = { to = "/{path}", status = 305 }
               |                   ^^^^^^^^^
               = begin with `/` or `https://`: "https://{host}{path}{query}"

            error: 305 is no redirect
              --> banyan.toml:13:39
               |
            13 | redirect = { to = "/{path}", status = 305 }
               |                                       ^^^
               = 301 and 308 are for ever, 302 and 307 for now; 307 and 308 keep the method

            error: a redirect cannot lead to "//other"
              --> banyan.toml:16:12
               |
            16 | redirect = "//other"
               |            ^^^^^^^^^
               = begin with `/` or `https://`: "https://{host}{path}{query}"

            error: `rewrite` does nothing beside `redirect`
              --> banyan.toml:17:11
               |
            17 | rewrite = "/x"
               |           ^^^^
               = remove it

            error: `rewrite` needs `path` or `prefix`
              --> banyan.toml:20:11
               |
            20 | rewrite = "/x"
               |           ^^^^
               = it replaces the matched path or prefix: write one of them

            error: `split` gives nobody a share
              --> banyan.toml:21:1
               |
            21 | split = { web = 0, api = 0 }
               | ^^^^^
               = write for example split = { web = 95, canary = 5 }

            error: header `content-length` cannot be edited
              --> banyan.toml:22:30
               |
            22 | response_headers = { set = { content-length = "3", x-a = "é" }, remove = ["x-forwarded-for"] }
               |                              ^^^^^^^^^^^^^^
               = Banyan sets it itself: it frames messages, or tells the app who asks

            error: "é" cannot be a header's value
              --> banyan.toml:22:58
               |
            22 | response_headers = { set = { content-length = "3", x-a = "é" }, remove = ["x-forwarded-for"] }
               |                                                          ^^^
               = visible ASCII characters, and spaces between them

            error: header `x-forwarded-for` cannot be edited
              --> banyan.toml:22:75
               |
            22 | response_headers = { set = { content-length = "3", x-a = "é" }, remove = ["x-forwarded-for"] }
               |                                                                           ^^^^^^^^^^^^^^^^^
               = Banyan sets it itself: it frames messages, or tells the app who asks

            11 errors; nothing was changed"#]],
    );
}

#[test]
fn a_route_that_can_never_match_is_a_warning() {
    let loaded = load(&format!("{BASE}[[route]]\nprefix = \"/a\"\nprocess = \"api\"\n[[route]]\nprefix = \"/a/\"\nmaintenance = \"soon\"\n"))
        .unwrap();
    let warnings: Vec<String> = loaded
        .warnings
        .iter()
        .map(|warning| warning.message.clone())
        .collect();
    assert_eq!(
        warnings,
        ["route `route-2` never matches: `route-1` above has the same conditions"]
    );
}

#[test]
fn a_star_at_a_paths_end_is_a_warning() {
    for (path, instead) in [("/*", "/"), ("/a/*", "/a"), ("/a*", "/a")] {
        let route = format!("{BASE}[[route]]\npath = \"{path}\"\nprocess = \"api\"\n");
        let warnings = load(&route).unwrap().warnings;
        assert_eq!(warnings.len(), 1, "{path}");
        let help = format!("write prefix = \"{instead}\" for all below it, or a regex");
        assert_eq!(warnings[0].help, [help]);
    }
}

#[test]
fn without_an_edge_there_is_nothing_to_route() {
    expect![[r#"
        error: routes need an edge, and there is none
         --> banyan.toml:5:1
          |
        5 | [[route]]
          | ^^^^^^^^^
          = name the process that gets all other requests: process = "…" in [edge]

        1 error; nothing was changed"#]]
    .assert_eq(&told(
        "version = 1\nname = \"shop\"\n[process.worker]\ncommand = \"./w\"\n[[route]]\nprefix = \"/a\"\n",
    ));
}

#[test]
fn the_resolved_routes_mean_the_same() {
    let text = r##"[[route]]
name = "api"
domains = ["api.shop.example", "*.api.shop.example"]
prefix = "/v1/"
methods = ["GET"]
headers = { X-Beta = "*" }
cookies = { "a b" = "c" }
query = { v = "2" }
split = { web = 1, api = 3 }
sticky = "address"
rewrite = "/"
allow = ["10.0.0.0/8", "::1"]
deny = ["10.1.0.0/16"]
body = "1GiB"
timeout = "5m"
response_header = "16KiB"
response_body = "10MiB"
request_headers = { set = { X-From = "edge" } }
response_headers = { remove = ["Server"] }
[[route]]
path = "/old"
redirect = "https://{host}/new{query}"
[[route]]
regex = "^/x\"$"
as_received = true
respond = { body = "hi\nthere" }
[[route]]
prefix = "/"
domains = ["old.example"]
maintenance = "soon"
"##;
    let config = load(&format!("{BASE}{text}")).unwrap().config;
    let again = load(&render_resolved(&config, false)).unwrap().config;
    assert_eq!(config, again);
    let routes = &config.edge.unwrap().routes;
    assert_eq!(routes[0].when.path, PathMatch::Prefix("/v1".to_owned()));
    assert!(matches!(
        &routes[1].action,
        RouteAction::Redirect { status: 302, .. }
    ));
    assert_eq!(routes[3].when.path, PathMatch::Prefix(String::new()));
}

#[test]
fn a_folder_of_files_is_judged_before_anything_runs() {
    let told = |files: &str| {
        crate::told(&format!(
            "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"./web\"\n[[route]]\nprefix = \"/assets\"\n{files}\n\
             --- public/index.html\n<p>\n--- note.txt\nx\n"
        ))
    };
    assert_eq!(told("static = \"public\""), "no error");
    let table =
        "static = { dir = \"public\", cache_control = \"public, max-age=60\", fallback = \"/index.html\" }";
    assert_eq!(told(table), "no error");
    for (written, expected) in [
        ("static = \"publc\"", "banyan.toml:7:10"),
        (
            "static = \"note.txt\"",
            "the folder note.txt cannot be served: it is a file",
        ),
        ("static = { fallback = \"/index.html\" }", "needs `dir`"),
        ("static = \"public\"\nprocess = \"web\"", "a route does one thing"),
        (
            "static = \"public\"\nas_received = true",
            "`as_received` does nothing beside `static`",
        ),
        (
            "static = { dir = \"public\", not_found = \"/lost.html\" }",
            "`not_found` cannot be served: public/lost.html: there is no such file",
        ),
        (
            "static = { dir = \"public\", fallback = \"index.html\" }",
            "write \"/index.html\"",
        ),
    ] {
        let errors = told(written);
        assert!(errors.contains(expected), "{written}\n{errors}");
    }
}

#[test]
fn copies_go_to_another_process_and_only_of_what_goes_to_one() {
    let base = "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"web\"\n[process.next]\ncommand = \"next\"\n[[route]]\n";
    let config = crate::load(&format!("{base}prefix = \"/a\"\nmirror = \"next\"\n"))
        .unwrap()
        .config;
    let routes = &config.edge.as_ref().unwrap().routes;
    let processes: Vec<_> = routes[0].processes().map(|process| process.as_str()).collect();
    assert_eq!(processes, ["web", "next"]);
    let resolved = banyan_config::render_resolved(&config, false);
    assert_eq!(crate::load(&resolved).unwrap().config, config, "{resolved}");
    let told = |text: &str| crate::told(&format!("{base}{text}"));
    expect_test::expect![[r#"
        error: `mirror` goes to `web`, which gets the requests themselves
         --> banyan.toml:8:10
          |
        8 | mirror = "web"
          |          ^^^^^
          = write another process, or remove `mirror`

        1 error; nothing was changed"#]]
    .assert_eq(&told("mirror = \"web\"\n"));
    expect_test::expect![[r#"
        error: there is no process `nxt`
         --> banyan.toml:8:22
          |
        8 | mirror = { process = "nxt", percent = 0 }
          |                      ^^^^^
          = did you mean `next`?

        error: `percent` cannot be 0
         --> banyan.toml:8:39
          |
        8 | mirror = { process = "nxt", percent = 0 }
          |                                       ^
          = write a whole number from 1 to 100

        2 errors; nothing was changed"#]]
    .assert_eq(&told("mirror = { process = \"nxt\", percent = 0 }\n"));
    expect_test::expect![[r#"
        error: `mirror` does nothing beside `redirect`
         --> banyan.toml:9:1
          |
        9 | mirror = { percent = 5 }
          | ^^^^^^
          = remove it: only what goes to a process is copied

        1 error; nothing was changed"#]]
    .assert_eq(&told("redirect = \"/x\"\nmirror = { percent = 5 }\n"));
    expect_test::expect![[r#"
        error: `mirror` needs `process`
         --> banyan.toml:8:1
          |
        8 | mirror = { percent = 5 }
          | ^^^^^^
          = write mirror = "next" with the process that gets the copies

        1 error; nothing was changed"#]]
    .assert_eq(&told("mirror = { percent = 5 }\n"));
}
