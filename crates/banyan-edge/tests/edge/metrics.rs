//! The page of metrics: what is counted, in a form that every reader takes, also while one edge replaces another.

use std::net::SocketAddr;
use std::time::Duration;

use banyan_config::{Coding, Compress, Metrics, Route, RouteAction};
use banyan_testkit::exposition::Page;
use banyan_testkit::upstream::{Upstream, Wire};
use banyan_testkit::wait;
use banyan_topology::snapshot::EdgeSnapshot;

use crate::routes::{prefix, route, to};
use crate::tls;
use crate::world::{World, get, post};

pub(crate) fn served(snapshot: &mut EdgeSnapshot) {
    snapshot.settings.metrics = Some(Metrics {
        listen: "127.0.0.1:0".parse().unwrap(),
    });
}

fn routes() -> Vec<Route> {
    let gone = RouteAction::Respond {
        status: 410,
        body: String::new(),
        content_type: "text/plain".to_owned(),
    };
    vec![
        route("api", prefix("/api"), to("web", None)),
        route("gone", prefix("/gone"), gone),
    ]
}

fn metrics_address(world: &World) -> SocketAddr {
    let report = world.handle.report().metrics.expect("metrics are wanted");
    assert_eq!(report.problem, None);
    report.address
}

async fn read(address: SocketAddr, headers: &str) -> (u16, String, String) {
    let mut client = Wire::connect(address).await;
    client
        .send(&format!(
            "GET /metrics HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n"
        ))
        .await;
    let answer = client.message().await.unwrap();
    (answer.status(), answer.header("content-type"), answer.text())
}

pub(crate) async fn page(world: &World) -> Page {
    let (status, kind, text) = read(metrics_address(world), "").await;
    assert_eq!(status, 200, "{text}");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    Page::prometheus(&text).unwrap_or_else(|why| panic!("{why}\n{text}"))
}

#[tokio::test]
async fn requests_are_counted_by_route_listener_process_and_instance() {
    let upstream = Upstream::answering(|request| format!("{} bytes", request.body.len())).await;
    let mut world = World::with(&[upstream.address], |snapshot| {
        served(snapshot);
        snapshot.routes = routes();
    })
    .await;
    world.get("/").await;
    world.ask(&post("/api/x", "12345")).await;
    world.ask(&post("/api/y", "1234567")).await;
    assert_eq!(world.get("/gone").await.status(), 410);
    world.ask("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await;
    let open = world.client().await;
    // Answered before their clients have the last byte, counted just after it.
    world
        .soon(|report| report.totals.requests == 5 && report.totals.in_flight == 0)
        .await;
    let page = page(&world).await;
    let routed = "http_server_request_duration_seconds_count";
    assert_eq!(page.sum(routed, &["http_route=\"api\"", "code=\"2xx\""]), 2.0);
    assert_eq!(page.sum(routed, &["http_route=\"gone\"", "code=\"4xx\""]), 1.0);
    assert_eq!(page.sum(routed, &["http_route=\"*\""]), 2.0);
    assert_eq!(
        page.get("banyan_edge_received_bytes_total{http_route=\"api\"}"),
        Some(12.0)
    );
    assert_eq!(
        page.get("banyan_edge_sent_bytes_total{http_route=\"api\"}"),
        Some(14.0)
    );
    assert_eq!(page.sum("http_server_active_requests", &[]), 0.0);
    let listener = format!("listener=\"{}\"", world.address());
    let of = |name: &str| page.sum(name, &[&listener, "url_scheme=\"http\""]);
    assert_eq!(of("banyan_edge_listener_requests_total"), 5.0);
    assert_eq!(of("banyan_edge_listener_connections_total"), 6.0);
    assert!(of("banyan_edge_listener_open_connections") >= 1.0);
    assert_eq!(
        page.get("banyan_edge_upstream_requests_total{upstream=\"web\"}"),
        Some(3.0)
    );
    assert_eq!(
        page.get("banyan_edge_upstream_errors_total{upstream=\"web\"}"),
        Some(0.0)
    );
    let endpoint = "{endpoint=\"web.1@r1\",http_response_status_code=\"2xx\",upstream=\"web\"}";
    assert_eq!(
        page.get(&format!("banyan_edge_endpoint_responses_total{endpoint}")),
        Some(3.0)
    );
    assert_eq!(
        page.get("http_client_request_duration_seconds_count{endpoint=\"web.1@r1\",upstream=\"web\"}"),
        Some(3.0)
    );
    assert_eq!(
        page.get("banyan_edge_endpoint_ready{endpoint=\"web.1@r1\",upstream=\"web\"}"),
        Some(1.0)
    );
    assert_eq!(
        page.get("banyan_edge_refusals_total{http_response_status_code=\"400\"}"),
        Some(1.0)
    );
    assert!(page.sum("process_resident_memory_bytes", &["role=\"edge\""]) > 1e6);
    let documented = include_str!("../../../../docs/reference/metrics.md");
    for name in page.types.keys() {
        assert!(
            documented.contains(&format!("`{name}")),
            "{name} is not in the reference"
        );
    }
    let reported = world.handle.report().processes;
    assert_eq!(
        (reported.len(), reported[0].requests, reported[0].errors),
        (1, 3, 0)
    );
    assert!(reported[0].p50_us.is_some());
    drop(open);
}

#[tokio::test]
async fn errors_of_an_instance_are_those_of_its_process_too() {
    let broken = Upstream::start(|mut wire| async move {
        while wire.message().await.is_some() {
            wire.answer(500, "no").await;
        }
    })
    .await;
    let mut world = World::with(&[broken.address], |snapshot| {
        served(snapshot);
        snapshot.settings.timeouts.no_endpoint = Duration::from_millis(200);
    })
    .await;
    for _ in 0..3 {
        assert_eq!(world.get("/").await.status(), 500);
    }
    broken.kill().await;
    assert!(world.get("/").await.status() >= 502);
    world
        .soon(|report| report.totals.requests == 4 && report.totals.in_flight == 0)
        .await;
    let page = page(&world).await;
    assert_eq!(
        page.get("banyan_edge_upstream_errors_total{upstream=\"web\"}"),
        Some(4.0)
    );
    let endpoint = "{endpoint=\"web.1@r1\",http_response_status_code=\"5xx\",upstream=\"web\"}";
    assert_eq!(
        page.get(&format!("banyan_edge_endpoint_responses_total{endpoint}")),
        Some(3.0)
    );
    assert_eq!(
        page.sum("http_server_request_duration_seconds_count", &["code=\"5xx\""]),
        4.0
    );
}

#[tokio::test]
async fn a_reader_of_openmetrics_gets_it_and_others_get_prometheus_text() {
    let upstream = Upstream::answering(|_| String::new()).await;
    let world = World::with(&[upstream.address], served).await;
    world.get("/").await;
    let accept = "Accept: application/openmetrics-text; version=1.0.0,text/plain;q=0.5\r\n";
    let (status, kind, text) = read(metrics_address(&world), accept).await;
    assert_eq!(status, 200);
    assert!(kind.starts_with("application/openmetrics-text"));
    let page = Page::open_metrics(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    assert_eq!(page.types["banyan_edge_upstream_requests"], "counter");
}

#[tokio::test]
async fn strangers_and_other_paths_get_no_metrics() {
    let upstream = Upstream::answering(|_| String::new()).await;
    let world = World::with(&[upstream.address], served).await;
    let address = metrics_address(&world);
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n", 404),
        (
            "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n",
            405,
        ),
        ("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n", 403),
        ("GET /metrics HTTP/1.1\r\nHost: localhost\r\n", 200),
    ] {
        let mut client = Wire::connect(address).await;
        client.send(&format!("{request}Connection: close\r\n\r\n")).await;
        assert_eq!(client.message().await.unwrap().status(), expected, "{request}");
    }
}

#[tokio::test]
async fn a_taken_port_is_said_and_taken_up_when_it_is_free_and_requests_do_not_mind() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let mut world = World::with(&[upstream.address], |snapshot| {
        snapshot.settings.metrics = Some(Metrics { listen: address });
    })
    .await;
    assert_eq!(world.get("/").await.status(), 200);
    let report = world.until(|report| report.metrics.is_some()).await;
    assert!(report.metrics.unwrap().problem.unwrap().contains("in use"));
    drop(other);
    world
        .until(|report| report.metrics.as_ref().is_some_and(|m| m.problem.is_none()))
        .await;
    page(&world).await;
    // And given up when it is not wanted any more.
    world.publish(|snapshot| snapshot.settings.metrics = None).await;
    world.until(|report| report.metrics.is_none()).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

/// Both processes of a hand-over are on the page, at the same port, whichever of them is asked.
#[tokio::test]
async fn the_page_goes_over_to_the_next_edge_with_what_the_old_one_did() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let port = banyan_testkit::Port::free();
    let mut world = World::with(&[upstream.address], |snapshot| {
        snapshot.settings.metrics = Some(Metrics {
            listen: port.address(),
        });
    })
    .await;
    for _ in 0..2 {
        world.get("/").await;
    }
    world
        .soon(|report| report.totals.requests == 2 && report.totals.in_flight == 0)
        .await;
    let mut new = world.successor();
    new.until(|report| !report.listening.is_empty()).await;
    assert_eq!(metrics_address(&new), port.address());
    for _ in 0..5 {
        let page = page(&new).await;
        assert_eq!(
            page.get("banyan_edge_upstream_requests_total{upstream=\"web\"}"),
            Some(2.0)
        );
        assert_eq!(
            page.get("banyan_edge_handovers_total{direction=\"given\"}"),
            Some(1.0)
        );
        assert_eq!(
            page.get("banyan_edge_handovers_total{direction=\"taken\"}"),
            Some(1.0)
        );
    }
    world.drain();
    world.ended().await;
    let page = page(&new).await;
    assert_eq!(
        page.get("banyan_edge_handovers_total{direction=\"given\"}"),
        Some(0.0)
    );
}

/// What another process of the machine measures stands on the same page, added where it is the same thing.
#[tokio::test]
async fn what_other_processes_measure_is_on_the_page() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let mut world = World::with(&[upstream.address], served).await;
    world.get("/").await;
    world
        .soon(|report| report.totals.requests == 1 && report.totals.in_flight == 0)
        .await;
    let folder = world.dir.path().join("metrics");
    let listener = banyan_runtime::control::Listener::bind(&folder.join("1.sock")).unwrap();
    let mut theirs = banyan_telemetry::Families::default();
    theirs
        .family(
            banyan_telemetry::families::Kind::Counter,
            "banyan_edge_upstream_requests_total",
            "",
        )
        .count(&[("upstream", "web")], 41);
    // Nobody listens there any more.
    drop(std::os::unix::net::UnixListener::bind(folder.join("2.sock")).unwrap());
    let telling = async {
        let mut reader = listener.accept().await.unwrap();
        reader.send(&theirs).await.unwrap();
    };
    let (page, ()) = tokio::join!(page(&world), telling);
    assert_eq!(
        page.get("banyan_edge_upstream_requests_total{upstream=\"web\"}"),
        Some(42.0)
    );
    assert!(!folder.join("2.sock").exists(), "what was left behind is removed");
}

#[tokio::test]
async fn tls_handshakes_are_counted_by_version_and_failures_apart() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let authority = tls::Authority::new();
    let files = authority.make(&["a.example"]);
    let mut world = World::with(&[upstream.address], |snapshot| {
        served(snapshot);
        tls::with_tls(snapshot, vec![files]);
    })
    .await;
    let stream = tls::try_connect(&world, &authority.path(), "a.example", &["http/1.1"]).await;
    let mut client = Wire::over(stream.unwrap());
    client.send(&get("/")).await;
    assert_eq!(client.message().await.unwrap().status(), 200);
    world
        .soon(|report| report.totals.requests >= 1 && report.totals.in_flight == 0)
        .await;
    // No TLS at all.
    let mut plain = Wire::connect(tls::https(&world)).await;
    plain.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    plain.rest().await;
    // The client hears of it a moment before it is counted.
    let counted = async || {
        let page = page(&world).await;
        let failures = page.sum("banyan_edge_tls_handshake_failures_total", &[]);
        if failures >= 1.0 { Ok(page) } else { Err(failures) }
    };
    let page = wait::until("the failure to be counted", Duration::from_secs(10), counted)
        .await
        .unwrap();
    let done = "banyan_edge_tls_handshakes_total";
    assert_eq!(
        page.sum(done, &["tls_protocol_version=\"1.3\"", "tls_resumed=\"false\""]),
        1.0
    );
}

#[tokio::test]
async fn compression_is_told_of_by_coding_and_bytes() {
    let mut world = World::with(&[], |snapshot| {
        served(snapshot);
        let body = "words and words; ".repeat(1_000);
        let content_type = "text/plain".to_owned();
        let text = RouteAction::Respond {
            status: 200,
            body,
            content_type,
        };
        snapshot.routes = vec![route("text", prefix("/text"), text)];
        snapshot.routes[0].bounds.filters.compress = Some(Compress {
            codings: Coding::ALL.to_vec(),
            types: vec!["text/*".to_owned()],
            min: 0,
            max: 1 << 20,
            private: false,
        });
    })
    .await;
    assert!(
        !page(&world)
            .await
            .types
            .contains_key("banyan_edge_compressed_responses_total")
    );
    let request = "GET /text HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n";
    assert_eq!(world.ask(request).await.header("content-encoding"), "gzip");
    world
        .soon(|report| report.totals.requests == 1 && report.totals.in_flight == 0)
        .await;
    let page = page(&world).await;
    let count = |coding: &str| {
        page.get(&format!(
            "banyan_edge_compressed_responses_total{{coding=\"{coding}\"}}"
        ))
    };
    assert_eq!((count("gzip"), count("br")), (Some(1.0), Some(0.0)));
    assert_eq!(page.get("banyan_edge_compression_in_bytes_total"), Some(17_000.0));
    let out = page.get("banyan_edge_compression_out_bytes_total").unwrap();
    assert!(out > 20.0 && out < 2_000.0, "{out}");
    assert_eq!(page.get("banyan_edge_compressing_responses"), Some(0.0));
    let documented = include_str!("../../../../docs/reference/metrics.md");
    for name in page.types.keys() {
        assert!(
            documented.contains(&format!("`{name}")),
            "{name} is not in the reference"
        );
    }
}

#[tokio::test]
async fn connections_of_an_address_that_is_given_up_count_until_they_end() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let mut world = World::with(&[upstream.address], served).await;
    let old = world.address();
    let mut stays = world.client().await;
    stays.send(get("/")).await;
    assert_eq!(stays.message().await.unwrap().status(), 200);
    let new = banyan_testkit::Port::free().address();
    world.publish(|s| s.listeners[0].address = new).await;
    world.until(|r| r.listening == [new]).await;
    stays.send(get("/")).await;
    assert_eq!(stays.message().await.unwrap().status(), 200);
    let labels = format!("{{listener=\"{old}\",url_scheme=\"http\"}}");
    let open = format!("banyan_edge_listener_open_connections{labels}");
    assert_eq!(page(&world).await.get(&open), Some(1.0));
    drop(stays);
    let gone = async || match page(&world).await.get(&open) {
        None => Ok(()),
        Some(open) => Err(open),
    };
    wait::until("it is forgotten", Duration::from_secs(30), gone)
        .await
        .unwrap();
}
