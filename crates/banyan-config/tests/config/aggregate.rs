//! `aggregate`: what is kept, and what is refused with its place.

use banyan_config::{OnFailure, RouteAction, render_resolved};
use expect_test::expect;

use crate::{load, told};

const BASE: &str = "version = 1\nname = \"shop\"\n[process.web]\ncommand = \"./web\"\n[process.users]\ncommand = \"./users\"\n[edge]\nprocess = \"web\"\n";

#[test]
fn parts_keep_their_order_and_inherit_times_and_policies() {
    let text = r##"[[route]]
regex = "^/dash/(?P<id>[0-9]+)$"
methods = ["GET"]
[route.aggregate]
timeout = "2s"
on_failure = "null"
headers = ["Authorization"]
[route.aggregate.parts.user]
process = "users"
path = "/users/{id}?full=1{query}"
on_failure = "fail"
[route.aggregate.parts."a cart"]
path = "/cart"
timeout = "500ms"
max = "10KiB"
"##;
    let config = load(&format!("{BASE}{text}")).unwrap().config;
    let again = load(&render_resolved(&config, false)).unwrap().config;
    assert_eq!(config, again);
    let route = &config.edge.as_ref().unwrap().routes[0];
    let RouteAction::Aggregate(aggregate) = &route.action else {
        panic!("{:?}", route.action);
    };
    let shown: Vec<_> = aggregate
        .parts
        .iter()
        .map(|p| {
            (
                p.name.as_str(),
                p.process.as_str(),
                p.timeout.as_millis(),
                p.on_failure,
                p.max,
            )
        })
        .collect();
    let expected = [
        ("user", "users", 2000, OnFailure::Fail, 1 << 20),
        ("a cart", "web", 500, OnFailure::Null, 10 << 10),
    ];
    assert_eq!(shown, expected);
    assert_eq!(aggregate.headers, ["authorization"]);
    assert_eq!(
        route.processes().map(|p| p.as_str()).collect::<Vec<_>>(),
        ["users", "web"]
    );
}

#[test]
fn what_could_never_answer_is_refused_where_it_is_written() {
    let text = r##"[[route]]
regex = "^/dash/(?P<id>[0-9]+)$"
methods = ["GET", "POST"]
as_received = true
[route.aggregate]
timeout = "2s"
on_failure = "ignore"
headers = ["if-none-match", "Connection"]
[route.aggregate.parts.user]
process = "user"
path = "/users/{ID}"
timeout = "3s"
[route.aggregate.parts.cart]
path = "cart/../x"
[route.aggregate.parts.more]
path = "{query}/x"
[route.aggregate.parts.none]
[[route]]
prefix = "/b"
aggregate = { parts = {} }
static = "public"
[[route]]
prefix = "/c"
rewrite = "/"
aggregate = { parts = { x = { path = "/x{" } } }
"##;
    expect![[r#"
        error: `aggregate` answers GET and HEAD, never POST
          --> banyan.toml:11:19
           |
        11 | methods = ["GET", "POST"]
           |                   ^^^^^^
           = write methods = ["GET", "HEAD"], and another route for the rest

        error: `as_received` does nothing beside `aggregate`
          --> banyan.toml:12:1
           |
        12 | as_received = true
           | ^^^^^^^^^^^
           = remove it: here a path is read in one way only

        error: `on_failure` cannot be `ignore`
          --> banyan.toml:15:14
           |
        15 | on_failure = "ignore"
           |              ^^^^^^^^
           = write "fail", "omit", "null", "note"

        error: `if-none-match` cannot be passed on to parts
          --> banyan.toml:16:12
           |
        16 | headers = ["if-none-match", "Connection"]
           |            ^^^^^^^^^^^^^^^
           = parts are whole answers without conditions; leave it out

        error: `connection` cannot be passed on to parts
          --> banyan.toml:16:29
           |
        16 | headers = ["if-none-match", "Connection"]
           |                             ^^^^^^^^^^^^
           = parts are whole answers without conditions; leave it out

        error: there is no process `user`
          --> banyan.toml:18:11
           |
        18 | process = "user"
           |           ^^^^^^
           = did you mean `users`?

        error: nothing is called {ID}
          --> banyan.toml:19:8
           |
        19 | path = "/users/{ID}"
           |        ^^^^^^^^^^^^^
           = known here are `path`, `query`, `id`; names of a regex are (?P<name>…)

        error: a part cannot wait 3s where all together wait 2s
          --> banyan.toml:20:11
           |
        20 | timeout = "3s"
           |           ^^^^
           = shorten it, or lengthen `timeout` of `aggregate`

        error: "cart/../x" is no path of a request
          --> banyan.toml:22:8
           |
        22 | path = "cart/../x"
           |        ^^^^^^^^^^^
           = write for example "/users/{id}"; URL-encode what is no letter of a URL

        error: {query} is followed by something
          --> banyan.toml:24:8
           |
        24 | path = "{query}/x"
           |        ^^^^^^^^^^^
           = it is the whole query with its `?`: write it at the end

        error: "{query}/x" is no path of a request
          --> banyan.toml:24:8
           |
        24 | path = "{query}/x"
           |        ^^^^^^^^^^^
           = write for example "/users/{id}"; URL-encode what is no letter of a URL

        error: [route.aggregate.parts.none] needs `path`
          --> banyan.toml:25:24
           |
        25 | [route.aggregate.parts.none]
           |                        ^^^^
           = path: What it is asked for; {path}, {rest} (behind the prefix), {query} (with its ?) and names of the regex are the request's.

        error: `parts` has 0 parts: 1 to 16 are possible
          --> banyan.toml:28:23
           |
        28 | aggregate = { parts = {} }
           |                       ^^
           = write parts = { user = { process = "users", path = "/me" } }

        error: `static` beside `aggregate`: a route does one thing
          --> banyan.toml:29:1
           |
        29 | static = "public"
           | ^^^^^^
           = make two routes of it, or remove one

        error: `rewrite` does nothing beside `aggregate`
          --> banyan.toml:32:11
           |
        32 | rewrite = "/"
           |           ^^^
           = remove it

        error: "/x{" is no path of a request
          --> banyan.toml:33:38
           |
        33 | aggregate = { parts = { x = { path = "/x{" } } }
           |                                      ^^^^^
           = write for example "/users/{id}"; URL-encode what is no letter of a URL

        16 errors; nothing was changed"#]].assert_eq(&told(&format!("{BASE}{text}")));
}
