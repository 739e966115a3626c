//! What is tried again, where, and what never is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use banyan_testkit::upstream::{Upstream, Wire};
use tokio::net::TcpListener;

use crate::world::{World, endpoint, get, post};

/// An address that refuses connections.
async fn nobody() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

#[tokio::test]
async fn a_kept_connection_that_the_upstream_closed_costs_no_post() {
    // Closes each connection right after its first answer, without saying so: the next request meets a dead connection.
    let upstream = Upstream::start(|mut wire| async move {
        if wire.message().await.is_some() {
            wire.answer(200, "ok").await;
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    for number in 0..200 {
        client.send(post("/", "x")).await;
        assert_eq!(client.message().await.unwrap().status(), 200, "request {number}");
    }
}

#[tokio::test]
async fn a_post_that_reached_an_upstream_is_not_sent_again() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let upstream = Upstream::start(move |mut wire| {
        let count = Arc::clone(&count);
        async move {
            if wire.message().await.is_some() {
                count.fetch_add(1, Ordering::SeqCst);
                wire.reset();
            }
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    let answer = world.ask(&post("/", "x")).await;
    assert_eq!(answer.status(), 502);
    assert!(answer.text().contains("may have acted"), "{}", answer.text());
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    assert_eq!(world.logged(1).await[0]["outcome"], "unknown");
}

#[tokio::test]
async fn a_get_that_got_no_answer_is_asked_elsewhere() {
    let broken = Upstream::start(|mut wire| async move {
        if wire.message().await.is_some() {
            wire.reset();
        }
    })
    .await;
    let good = Upstream::answering(|_| "good".to_owned()).await;
    let world = World::start(&[broken.address, good.address]).await;
    for _ in 0..10 {
        assert_eq!(world.get("/").await.text(), "good");
    }
    let report = world.handle.report();
    let lines = world.logged(10).await;
    assert!(
        lines
            .iter()
            .any(|l| l["retries"] == 1 && l["outcome"] == "answered"),
        "{lines:?} {report:?}"
    );
}

#[tokio::test]
async fn a_get_whose_answer_had_begun_is_not_repeated() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let upstream = Upstream::start(move |mut wire| {
        let count = Arc::clone(&count);
        async move {
            if wire.message().await.is_some() {
                count.fetch_add(1, Ordering::SeqCst);
                wire.send("HTTP/1.1 200 O").await;
            }
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    assert_eq!(world.get("/").await.status(), 502);
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_killed_instance_costs_no_request_that_had_not_reached_it() {
    let upstreams = [
        Upstream::answering(|_| "a".to_owned()).await,
        Upstream::answering(|_| "b".to_owned()).await,
    ];
    let mut world = World::start(&[upstreams[0].address, upstreams[1].address]).await;
    let mut client = world.client().await;
    for _ in 0..10 {
        client.send(post("/", "x")).await;
        assert_eq!(client.message().await.unwrap().status(), 200);
    }
    let [first, _second] = upstreams;
    first.kill().await;
    for _ in 0..50 {
        client.send(post("/", "x")).await;
        assert_eq!(client.message().await.unwrap().text(), "b");
    }
    let report = world.until(|r| !r.endpoints[0].healthy).await;
    assert_eq!(report.endpoints[0].reason.as_deref(), Some("connection refused"));
}

#[tokio::test]
async fn without_a_ready_instance_a_request_waits_and_then_hears_503() {
    let address = nobody().await;
    let world = World::launch(&[address], |s| {
        s.settings.timeouts.no_endpoint = Duration::from_millis(300)
    })
    .await;
    let answer = world.get("/").await;
    assert_eq!(
        (answer.status(), answer.header("retry-after").as_str()),
        (503, "1")
    );
    assert_eq!(world.logged(1).await[0]["outcome"], "refused");
}

#[tokio::test]
async fn a_waiting_request_is_served_when_an_instance_becomes_ready() {
    let address = nobody().await;
    let mut world = World::launch(&[address], |_| {}).await;
    let mut client = world.client().await;
    client.send(post("/", "patient")).await;
    world.until(|r| r.totals.in_flight == 1).await;
    let upstream = Upstream::answering(|r| r.text()).await;
    world
        .publish(|s| s.upstream.endpoints.push(endpoint(2, upstream.address)))
        .await;
    assert_eq!(client.message().await.unwrap().text(), "patient");
}

#[tokio::test]
async fn an_upstream_that_says_nothing_in_time_is_504() {
    let upstream = Upstream::start(|mut wire| async move {
        wire.message().await;
        wire.rest().await;
    })
    .await;
    let limit = Duration::from_millis(300);
    let world = World::with(&[upstream.address], |s| s.settings.timeouts.response = limit).await;
    let answer = world.get("/").await;
    assert_eq!(
        (answer.status(), answer.header("content-type").as_str()),
        (504, "application/json")
    );
    assert!(answer.text().contains(&answer.header("x-request-id")));
}

#[tokio::test]
async fn answers_that_are_not_http_are_502() {
    for garbage in [
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nBad Name: 1\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "",
    ] {
        let upstream = Upstream::start(move |mut wire: Wire| async move {
            if wire.message().await.is_some() {
                wire.send(garbage).await;
            }
        })
        .await;
        let world = World::start(&[upstream.address]).await;
        assert_eq!(world.ask(&post("/", "x")).await.status(), 502, "{garbage:?}");
    }
}

#[tokio::test]
async fn bytes_after_an_answer_do_not_become_the_next_answer() {
    let upstream = Upstream::start(|mut wire| async move {
        while wire.message().await.is_some() {
            wire.answer(200, "right").await;
            wire.answer(200, "wrong").await;
        }
    })
    .await;
    let world = World::with(&[upstream.address], |s| s.settings.workers = Some(1)).await;
    let mut client = world.client().await;
    for _ in 0..30 {
        client.send(get("/")).await;
        assert_eq!(client.message().await.unwrap().text(), "right");
    }
}

#[tokio::test]
async fn an_unready_instance_gets_nothing() {
    let unready = Upstream::start(|mut wire| async move {
        if let Some(request) = wire.message().await {
            assert_eq!(
                request.target(),
                "/readyz",
                "a request reached an instance that is not ready"
            );
            wire.send("HTTP/1.1 503 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await;
        }
    })
    .await;
    let good = Upstream::start(|mut wire| async move {
        while let Some(request) = wire.message().await {
            let close = if request.target() == "/readyz" {
                "Connection: close\r\n"
            } else {
                ""
            };
            wire.send(format!("HTTP/1.1 200 OK\r\n{close}Content-Length: 4\r\n\r\ngood"))
                .await;
            if !close.is_empty() {
                return;
            }
        }
    })
    .await;
    let mut world = World::launch(&[unready.address, good.address], |s| {
        s.upstream.ready = Some(banyan_config::ReadyProbe {
            path: "/readyz".to_owned(),
            host: None,
            status: 200,
            service: None,
            interval: Duration::from_millis(50),
            timeout: Duration::from_secs(1),
            rise: 1,
            fall: 2,
        });
    })
    .await;
    for _ in 0..10 {
        assert_eq!(world.get("/").await.text(), "good");
    }
    let report = world.until(|r| r.endpoints[1].healthy).await;
    assert_eq!(
        report.endpoints[0].reason.as_deref(),
        Some("/readyz answered 503 instead of 200")
    );
}

#[tokio::test]
async fn a_check_needs_the_status_only() {
    // Keeps every connection open, whatever the edge asks for.
    let upstream = Upstream::answering(|r| r.target().to_owned()).await;
    let mut world = World::launch(&[upstream.address], |s| {
        s.upstream.ready = Some(banyan_config::ReadyProbe {
            path: "/readyz".to_owned(),
            host: None,
            status: 200,
            service: None,
            interval: Duration::from_millis(50),
            timeout: Duration::from_secs(5),
            rise: 1,
            fall: 1,
        });
    })
    .await;
    world.until(|r| r.endpoints[0].healthy).await;
    assert_eq!(world.get("/").await.text(), "/");
}

#[tokio::test]
async fn instances_are_told_how_much_time_is_left_and_trusted_peers_may_give_less() {
    let upstream = Upstream::answering(|request| request.header("x-request-timeout-ms")).await;
    let mut world = World::with(&[upstream.address], |s| {
        s.settings.deadline_header = Some("X-Request-Timeout-Ms".to_owned());
    })
    .await;
    let asks = "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Timeout-Ms: 900\r\n\r\n";
    assert_eq!(world.ask(asks).await.text(), "10000");
    world
        .publish(|s| s.settings.trusted_proxies = vec!["127.0.0.1".parse().unwrap()])
        .await;
    assert_eq!(world.ask(asks).await.text(), "900");
    world.publish(|s| s.settings.deadline_header = None).await;
    assert_eq!(world.ask(&get("/")).await.text(), "");
}

#[tokio::test]
async fn a_second_instance_has_the_time_that_the_first_left() {
    // Lets most of the time pass, and then breaks off without an answer.
    let late = Upstream::start(|mut wire| async move {
        if wire.message().await.is_some() {
            tokio::time::sleep(Duration::from_millis(1000)).await;
            wire.reset();
        }
    })
    .await;
    let told = Upstream::answering(|request| request.header("x-left")).await;
    let world = World::with(&[late.address, told.address], |s| {
        s.settings.deadline_header = Some("X-Left".to_owned());
        s.settings.timeouts.response = Duration::from_secs(5);
        s.settings.balance = banyan_config::Balance::RoundRobin;
        s.settings.workers = Some(1);
    })
    .await;
    // One of two in turn meets the late one first.
    let mut least = u64::MAX;
    for _ in 0..2 {
        let left: u64 = world.get("/").await.text().parse().unwrap();
        least = least.min(left);
    }
    assert!(least <= 4000, "{least}");
}
