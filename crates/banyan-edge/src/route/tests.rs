//! The order of routes and the words of `banyan route explain`.

use expect_test::{Expect, expect};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use banyan_config::{HeaderEdit, PathMatch, Route, RouteAction, RouteBounds, RouteMatch};

use super::matcher::Decision;
use super::{Asked, Fate, Table};

fn route(name: &str, when: RouteMatch) -> Route {
    Route {
        name: name.to_owned(),
        when,
        bounds: RouteBounds::default(),
        action: RouteAction::Maintenance {
            message: String::new(),
        },
        request_headers: HeaderEdit::default(),
        response_headers: HeaderEdit::default(),
    }
}

/// `domain path method`, each `-` for any; a path `=/x` is exact, `~x` a regex, else a prefix.
fn when(text: &str) -> RouteMatch {
    let mut words = text.split(' ');
    let mut list = || match words.next() {
        None | Some("-") => Vec::new(),
        Some(word) => vec![word.to_owned()],
    };
    let (domains, path, methods) = (list(), list(), list());
    let path = match path.first().map(|path| (path.split_at(1), path)) {
        None => PathMatch::Any,
        Some((("=", path), _)) => PathMatch::Exact(path.to_owned()),
        Some((("~", path), _)) => PathMatch::Regex(path.to_owned()),
        Some((_, path)) => PathMatch::Prefix(path.trim_end_matches('/').to_owned()),
    };
    RouteMatch {
        domains,
        path,
        methods,
        ..RouteMatch::default()
    }
}

fn table(routes: &[&str]) -> Table {
    let routes: Vec<Route> = routes.iter().map(|text| route(text, when(text))).collect();
    Table::compile(&routes).unwrap()
}

fn asked<'a>(method: &'a str, host: &'a str, path: &'a str, headers: &'a HeaderMap) -> Asked<'a> {
    Asked {
        method,
        host,
        path,
        query: None,
        headers,
    }
}

fn explained(routes: &[&str], (method, host, path): (&str, &str, &str), expected: Expect) {
    let headers = HeaderMap::new();
    let explained = table(routes).explain(&asked(method, host, path, &headers));
    let lines: Vec<String> = explained
        .candidates
        .iter()
        .map(|c| format!("{:?} [{}] {}\n", c.fate, c.route, c.why))
        .collect();
    let end = format!(
        "→ {:?}{}\n",
        explained.route,
        if explained.ambiguous { ", ambiguous" } else { "" }
    );
    expected.assert_eq(&(lines.concat() + &end));
}

#[test]
fn the_most_specific_route_wins_whatever_the_order_in_the_file() {
    let routes = [
        "- /",
        "- /a",
        "- /a/b",
        "- ~^/a",
        "- =/a/b",
        "*.x.org -",
        "*.b.x.org -",
        "a.b.x.org /",
        "a.b.x.org / GET",
    ];
    explained(
        &routes,
        ("GET", "A.b.x.org:80", "/a/b"),
        expect![[r#"
        Wins [a.b.x.org / GET] everything that it asks for holds
        Loses [a.b.x.org /] `a.b.x.org / GET` comes first: it has more conditions
        Loses [*.b.x.org -] `a.b.x.org / GET` comes first: its domain is more specific
        Loses [*.x.org -] `a.b.x.org / GET` comes first: its domain is more specific
        Loses [- =/a/b] `a.b.x.org / GET` comes first: its domain is more specific
        Loses [- ~^/a] `a.b.x.org / GET` comes first: its domain is more specific
        Loses [- /a/b] `a.b.x.org / GET` comes first: its domain is more specific
        Loses [- /a] `a.b.x.org / GET` comes first: its domain is more specific
        Loses [- /] `a.b.x.org / GET` comes first: its domain is more specific
        → Some("a.b.x.org / GET")
    "#]],
    );
    explained(
        &routes,
        ("POST", "other", "/a/c"),
        expect![[r#"
        DoesNotMatch [a.b.x.org / GET] its domain is not other
        DoesNotMatch [a.b.x.org /] its domain is not other
        DoesNotMatch [*.b.x.org -] its domain is not other
        DoesNotMatch [*.x.org -] its domain is not other
        DoesNotMatch [- =/a/b] its path is another
        Wins [- ~^/a] everything that it asks for holds
        DoesNotMatch [- /a/b] its path is another
        Loses [- /a] `- ~^/a` comes first: a regex comes before a prefix
        Loses [- /] `- ~^/a` comes first: a regex comes before a prefix
        → Some("- ~^/a")
    "#]],
    );
    explained(
        &routes,
        ("GET", "x.org", "/a%2fb"),
        expect![[r#"
        DoesNotMatch [a.b.x.org / GET] its domain is not x.org
        DoesNotMatch [a.b.x.org /] its domain is not x.org
        DoesNotMatch [*.b.x.org -] its domain is not x.org
        DoesNotMatch [*.x.org -] its domain is not x.org
        DoesNotMatch [- =/a/b] the path is ambiguous and it has no as_received = true
        DoesNotMatch [- ~^/a] the path is ambiguous and it has no as_received = true
        DoesNotMatch [- /a/b] the path is ambiguous and it has no as_received = true
        DoesNotMatch [- /a] the path is ambiguous and it has no as_received = true
        DoesNotMatch [- /] the path is ambiguous and it has no as_received = true
        → None, ambiguous
    "#]],
    );
}

#[test]
fn what_is_missing_is_named() {
    let mut beta = when("-");
    beta.headers.insert("x-beta".to_owned(), "1".to_owned());
    beta.cookies.insert("side".to_owned(), "*".to_owned());
    let table = Table::compile(&[route("beta", beta)]).unwrap();
    let mut headers = HeaderMap::new();
    let why = |headers: &HeaderMap| {
        let explained = table.explain(&asked("GET", "x", "/", headers));
        explained.candidates[0].why.clone()
    };
    assert_eq!(why(&headers), "header x-beta is missing or another");
    headers.insert(HeaderName::from_static("x-beta"), HeaderValue::from_static("1"));
    assert_eq!(why(&headers), "cookie side is missing or another");
    headers.insert("cookie", HeaderValue::from_static("side=\"z\""));
    assert_eq!(why(&headers), "everything that it asks for holds");
}

fn one_route() -> impl Strategy<Value = String> {
    let domain = prop::sample::select(vec!["-", "x.org", "a.x.org", "*.x.org", "*.a.x.org"]);
    let path = prop::sample::select(vec!["-", "/", "/a", "/a/b", "=/a", "=/a/b", "~^/a", "~b$"]);
    let method = prop::sample::select(vec!["-", "GET", "POST"]);
    (domain, path, method).prop_map(|(domain, path, method)| format!("{domain} {path} {method}"))
}

proptest! {
    /// Among different routes the file's order does not matter, except between two regexes.
    #[test]
    fn the_winner_does_not_depend_on_the_order(
        routes in prop::collection::btree_set(one_route(), 1..8),
        host in prop::sample::select(vec!["x.org", "a.x.org", "b.a.x.org", "y"]),
        path in prop::sample::select(vec!["/", "/a", "/a/b", "/ab", "/c", "/a/b/c"]),
    ) {
        let headers = HeaderMap::new();
        let asked = asked("GET", host, path, &headers);
        let one_regex = |routes: &[&str]| routes.iter().filter(|r| r.contains('~')).count() < 2;
        let forward: Vec<&str> = routes.iter().map(String::as_str).collect();
        let backward: Vec<&str> = forward.iter().rev().copied().collect();
        let winner = |routes: &[&str]| table(routes).explain(&asked).route;
        if one_regex(&forward) {
            prop_assert_eq!(winner(&forward), winner(&backward));
        }
    }

    /// What is explained is what is done, one wins at most, and nothing that wins fails to match.
    #[test]
    fn the_explanation_is_the_decision(
        routes in prop::collection::vec(one_route(), 0..8),
        host in "(a\\.)?x\\.org(:80)?",
        path in "/[ab/%.2e]{0,6}",
    ) {
        let texts: Vec<&str> = routes.iter().map(String::as_str).collect();
        let headers = HeaderMap::new();
        let asked = asked("GET", &host, &path, &headers);
        let table = table(&texts);
        let explained = table.explain(&asked);
        let wins: Vec<_> = explained.candidates.iter().filter(|c| c.fate == Fate::Wins).collect();
        prop_assert!(wins.len() <= 1);
        match table.decide(&asked) {
            Decision::Route(index) => {
                prop_assert_eq!(Some(&table.route(index).name), explained.route.as_ref());
                prop_assert_eq!(&wins[0].route, &table.route(index).name);
                prop_assert!(!explained.ambiguous);
            }
            Decision::Ambiguous => prop_assert!(explained.ambiguous && wins.is_empty()),
            Decision::Default => prop_assert!(!explained.ambiguous && wins.is_empty()),
        }
    }
}
