//! Which upstream a request reaches, by the routes of a snapshot, and what is answered without any.

use std::collections::{BTreeMap, BTreeSet};

use banyan_config::{
    Forward, HeaderEdit, PathMatch, Protocol, Route, RouteAction, RouteBounds, RouteMatch, Share, SplitBy,
};
use banyan_testkit::upstream::{Message, Upstream};
use banyan_topology::snapshot::{self, EdgeSnapshot, Endpoint, EndpointState};

use crate::world::{World, get, post};

pub(crate) fn prefix(prefix: &str) -> RouteMatch {
    RouteMatch {
        path: PathMatch::Prefix(prefix.to_owned()),
        ..RouteMatch::default()
    }
}

pub(crate) fn route(name: &str, when: RouteMatch, action: RouteAction) -> Route {
    Route {
        name: name.to_owned(),
        when,
        bounds: RouteBounds::default(),
        action,
        request_headers: HeaderEdit::default(),
        response_headers: HeaderEdit::default(),
    }
}

fn split(shares: &[(&str, u32)], sticky: SplitBy) -> RouteAction {
    RouteAction::Process(Forward {
        shares: shares
            .iter()
            .map(|(process, weight)| Share {
                process: process.parse().unwrap(),
                weight: *weight,
            })
            .collect(),
        sticky,
        rewrite: None,
        mirror: None,
        backup: None,
    })
}

pub(crate) fn to(process: &str, rewrite: Option<&str>) -> RouteAction {
    RouteAction::Process(Forward {
        shares: vec![Share {
            process: process.parse().unwrap(),
            weight: 1,
        }],
        sticky: SplitBy::Cookie,
        rewrite: rewrite.map(str::to_owned),
        mirror: None,
        backup: None,
    })
}

pub(crate) fn group(process: &str, upstreams: &[&Upstream]) -> snapshot::Upstream {
    let endpoint = |(n, upstream): (usize, &&Upstream)| Endpoint {
        id: format!("{process}.{}@r1", n + 1).parse().unwrap(),
        address: upstream.address,
        protocol: Protocol::Http1,
        zone: None,
        state: EndpointState::Active,
    };
    snapshot::Upstream {
        proxy_protocol: None,
        process: process.parse().unwrap(),
        ready: None,
        endpoints: upstreams.iter().enumerate().map(endpoint).collect(),
    }
}

async fn named(name: &'static str) -> Upstream {
    Upstream::answering(move |request| format!("{name} {}", request.target())).await
}

/// An edge before `web` and `api`.
async fn two(routes: Vec<Route>) -> (World, [Upstream; 2]) {
    let (web, api) = (named("web").await, named("api").await);
    let world = World::with(&[web.address], |s: &mut EdgeSnapshot| {
        s.others = vec![group("api", &[&api])];
        s.routes = routes;
    })
    .await;
    (world, [web, api])
}

fn asking(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n{more}\r\n")
}

#[tokio::test]
async fn a_prefix_goes_to_its_process_and_everything_else_does_not() {
    let (world, _upstreams) = two(vec![route("api", prefix("/api"), to("api", None))]).await;
    for (path, answer) in [
        ("/api", "api /api"),
        ("/api/x?y=1", "api /api/x?y=1"),
        ("/%61pi/x", "api /%61pi/x"),
        ("/apix", "web /apix"),
        ("/", "web /"),
        ("/x/api", "web /x/api"),
    ] {
        assert_eq!(world.get(path).await.text(), answer);
    }
    let lines = world.logged(6).await;
    for line in &lines {
        let path = line["path"].as_str().unwrap();
        let expected = ["/api", "/api/x", "/%61pi/x"].contains(&path).then_some("api");
        assert_eq!(line.get("route").and_then(|r| r.as_str()), expected, "{line}");
    }
}

#[tokio::test]
async fn an_ambiguous_path_is_refused_unless_a_route_takes_it_as_received() {
    let files = RouteMatch {
        as_received: true,
        ..prefix("/files")
    };
    let (world, [web, _api]) = two(vec![
        route("api", prefix("/api"), to("api", None)),
        route("files", files, to("api", None)),
    ])
    .await;
    let before = web.connections();
    for path in [
        "/x/../api",
        "/api%2fx",
        "//api",
        "/x/%2e%2e/api",
        "/a\\b",
        "/%00",
        "/api/%",
        "/api/.",
    ] {
        assert_eq!(world.get(path).await.status(), 400, "{path}");
    }
    assert_eq!(web.connections(), before);
    assert_eq!(world.get("/files/a%2Fb").await.text(), "api /files/a%2Fb");
    assert_eq!(world.get("/files/../x").await.text(), "api /files/../x");
}

#[tokio::test]
async fn without_routes_paths_pass_as_they_are() {
    let web = named("web").await;
    let world = World::start(&[web.address]).await;
    assert_eq!(world.get("/a/%2e%2e//b").await.text(), "web /a/%2e%2e//b");
}

#[tokio::test]
async fn a_rewrite_replaces_the_prefix_and_nothing_else() {
    let (world, _upstreams) = two(vec![route("api", prefix("/api"), to("api", Some("/")))]).await;
    assert_eq!(world.get("/api/a%20b?c=/api").await.text(), "api /a%20b?c=/api");
    assert_eq!(world.get("/api").await.text(), "api /");
}

#[tokio::test]
async fn conditions_on_host_method_header_cookie_and_query_all_count() {
    let when = RouteMatch {
        domains: vec!["*.example".to_owned()],
        methods: vec!["GET".to_owned()],
        headers: BTreeMap::from([("x-beta".to_owned(), "*".to_owned())]),
        cookies: BTreeMap::from([("side".to_owned(), "b".to_owned())]),
        query: BTreeMap::from([("q".to_owned(), "a b".to_owned())]),
        ..RouteMatch::default()
    };
    let (world, _upstreams) = two(vec![route("beta", when, to("api", None))]).await;
    let all = "X-Beta: 1\r\nCookie: other=1; side=b\r\n";
    let world = &world;
    let served = |request: String| async move { world.ask(&request).await.text().starts_with("api") };
    assert!(served(asking("/?q=a+b", all)).await);
    assert!(served(asking("/?x=1&q=a%20b", all)).await);
    assert!(!served(asking("/?q=a", all)).await);
    assert!(!served(asking("/?q=a+b", "X-Beta: 1\r\nCookie: side=c\r\n")).await);
    assert!(!served(asking("/?q=a+b", "Cookie: side=b\r\n")).await);
    assert!(!served(asking("/?q=a+b", all).replace("app.example", "app.org")).await);
    assert!(!served(asking("/?q=a+b", all).replace("GET", "DELETE")).await);
}

#[tokio::test]
async fn redirects_fixed_answers_and_maintenance_reach_no_instance() {
    let redirect = RouteAction::Redirect {
        to: "https://{host}/new{path}{query}".to_owned(),
        status: 308,
    };
    let respond = RouteAction::Respond {
        status: 418,
        body: "short".to_owned(),
        content_type: "text/x".to_owned(),
    };
    let maintenance = RouteAction::Maintenance {
        message: "back at <ten>".to_owned(),
    };
    let (world, [web, _api]) = two(vec![
        route("old", prefix("/old"), redirect),
        route("tea", prefix("/tea"), respond),
        route("admin", prefix("/admin"), maintenance),
    ])
    .await;
    let before = web.connections();
    let moved = world.get("/old/x?y=1").await;
    assert_eq!(moved.status(), 308);
    assert_eq!(moved.header("location"), "https://app.example/new/old/x?y=1");
    let tea = world.get("/tea").await;
    assert_eq!((tea.status(), tea.text().as_str()), (418, "short"));
    assert_eq!(tea.header("content-type"), "text/x");
    let page = world.ask(&asking("/admin/x", "Accept: text/html\r\n")).await;
    assert_eq!(page.status(), 503);
    assert_eq!(page.header("retry-after"), "60");
    assert!(page.text().contains("back at &lt;ten&gt;"), "{}", page.text());
    assert_eq!(web.connections(), before);
    // Another request on the same connection is served as ever.
    let mut client = world.client().await;
    client.send(get("/tea")).await;
    assert_eq!(client.message().await.unwrap().status(), 418);
    client.send(get("/x")).await;
    assert_eq!(client.message().await.unwrap().text(), "web /x");
}

#[tokio::test]
async fn headers_change_both_ways_and_a_client_cannot_undo_it() {
    let echo = |request: &Message| {
        let headers: Vec<String> = request.headers.iter().map(|(n, v)| format!("{n}={v}")).collect();
        headers.join("\n").to_lowercase()
    };
    let web = Upstream::answering(echo).await;
    let mut all = route("all", prefix(""), to("web", None));
    all.request_headers
        .set
        .insert("x-from".to_owned(), "edge".to_owned());
    all.request_headers.remove.push("x-debug".to_owned());
    all.response_headers
        .set
        .insert("x-frame-options".to_owned(), "DENY".to_owned());
    all.response_headers.remove.push("content-type".to_owned());
    let world = World::with(&[web.address], |s| s.routes = vec![all]).await;
    let more = "X-From: me\r\nX-Debug: 1\r\nConnection: x-from\r\n";
    let answer = world.ask(&asking("/", more)).await;
    let text = answer.text();
    assert!(
        text.contains("x-from=edge") && !text.contains("x-from=me") && !text.contains("x-debug"),
        "{text}"
    );
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert_eq!(answer.header("content-type"), "");
}

#[tokio::test]
async fn a_split_keeps_a_user_where_the_first_request_went() {
    let (mut world, _upstreams) = two(vec![route(
        "canary",
        prefix(""),
        split(&[("api", 1), ("web", 1)], SplitBy::Cookie),
    )])
    .await;
    let mut sides = BTreeSet::new();
    let mut known = Vec::new();
    for _ in 0..40 {
        let first = world.get("/").await;
        let cookie = first.header("set-cookie");
        let mark = cookie.split(';').next().unwrap().to_owned();
        assert!(mark.starts_with("banyan_split="), "{cookie}");
        let side = first.text();
        for _ in 0..3 {
            let next = world.ask(&asking("/", &format!("Cookie: {mark}\r\n"))).await;
            assert_eq!(next.text(), side);
            assert_eq!(next.header("set-cookie"), "");
        }
        sides.insert(side.clone());
        known.push((mark, side));
    }
    assert_eq!(sides.len(), 2, "40 users all went to {sides:?}");
    // The canary grows: its users stay.
    world
        .publish(|s| s.routes[0].action = split(&[("api", 9), ("web", 1)], SplitBy::Cookie))
        .await;
    for (mark, side) in known.iter().filter(|(_, side)| side.starts_with("api")) {
        let next = world.ask(&asking("/", &format!("Cookie: {mark}\r\n"))).await;
        assert_eq!(&next.text(), side);
    }
    world
        .publish(|s| s.routes[0].action = split(&[("api", 1), ("web", 1)], SplitBy::Address))
        .await;
    let side = world.get("/").await;
    assert_eq!(side.header("set-cookie"), "");
    for _ in 0..10 {
        assert_eq!(world.get("/").await.text(), side.text());
    }
}

#[tokio::test]
async fn routes_change_under_kept_connections() {
    let (mut world, _upstreams) = two(vec![route("api", prefix("/api"), to("api", None))]).await;
    let mut client = world.client().await;
    client.send(get("/api")).await;
    assert_eq!(client.message().await.unwrap().text(), "api /api");
    world.publish(|s| s.routes.clear()).await;
    client.send(get("/api")).await;
    assert_eq!(client.message().await.unwrap().text(), "web /api");
    let wrong = route(
        "wrong",
        RouteMatch {
            path: PathMatch::Regex("(".to_owned()),
            ..RouteMatch::default()
        },
        to("api", None),
    );
    world.snapshot.routes = vec![wrong];
    world.snapshot.epoch = world.snapshot.epoch.next();
    world.put();
    let report = world.until(|r| r.refused.is_some()).await;
    assert!(report.refused.unwrap().contains("route wrong"));
    client.send(get("/api")).await;
    assert_eq!(client.message().await.unwrap().text(), "web /api");
}

#[tokio::test]
async fn a_route_whose_process_is_not_ready_leaves_the_others_alone() {
    let web = named("web").await;
    let gone = named("api").await;
    let mut world = World::launch(&[web.address], |s| {
        s.settings.timeouts.no_endpoint = std::time::Duration::from_millis(50);
        s.others = vec![group("api", &[&gone])];
        s.routes = vec![route("api", prefix("/api"), to("api", None))];
    })
    .await;
    gone.kill().await;
    world
        .until(|r| {
            r.endpoints
                .iter()
                .all(|e| e.healthy == e.id.to_string().starts_with("web"))
        })
        .await;
    assert_eq!(world.get("/api").await.status(), 503);
    assert_eq!(world.get("/x").await.text(), "web /x");
}

#[tokio::test]
async fn a_route_bounds_who_may_ask_and_how_much_is_sent() {
    let mut inner = route("inner", prefix("/inner"), to("api", None));
    inner.bounds.allow = vec!["10.0.0.0/8".parse().unwrap()];
    let mut denied = route("denied", prefix("/denied"), to("api", None));
    denied.bounds.deny = vec!["127.0.0.0/8".parse().unwrap()];
    let mut small = route("small", prefix("/small"), to("api", None));
    small.bounds.body = Some(4);
    let mut large = route("large", prefix("/large"), to("api", None));
    large.bounds.body = Some(1 << 20);
    let (mut world, _upstreams) = two(vec![inner, denied, small, large]).await;
    world.publish(|s| s.settings.limits.body = 8).await;
    assert_eq!(world.get("/inner").await.status(), 403);
    assert_eq!(world.get("/denied/x").await.status(), 403);
    assert_eq!(world.get("/x").await.status(), 200);
    for (path, length, status) in [
        ("/small", 4, 200),
        ("/small", 5, 413),
        ("/large", 9000, 200),
        ("/x", 8, 200),
        ("/x", 9, 413),
    ] {
        let answer = world.ask(&post(path, &"x".repeat(length))).await;
        assert_eq!(answer.status(), status, "{path} {length}");
    }
    // Behind a trusted proxy the client's own address counts, and nobody else's word for it.
    let forwarded = asking("/inner", "X-Forwarded-For: 10.1.2.3\r\n");
    assert_eq!(world.ask(&forwarded).await.status(), 403);
    world
        .publish(|s| s.settings.trusted_proxies = vec!["127.0.0.1".parse().unwrap()])
        .await;
    assert_eq!(world.ask(&forwarded).await.status(), 200);
}
