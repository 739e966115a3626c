//! Instances that are spoken to in HTTP/2: what they get, how connections are shared, what is tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::Reason;
use http::{Request, Response, Version};
use tokio::sync::{Semaphore, mpsc};

use banyan_config::Balance;

use crate::h2_peer::{Client, Instance, before, read, say, soon, with};
use crate::world::{World, get, post};

#[tokio::test]
async fn a_request_arrives_as_http2_says_it() {
    let instance = Instance::start(|request, reply| async move {
        let names = ["host", "connection", "upgrade", "te", "x-forwarded-for", "x-a"];
        let fields: Vec<_> = names
            .iter()
            .map(|name| request.headers().get(*name).map_or("-", |v| v.to_str().unwrap()))
            .collect();
        assert_eq!(request.version(), Version::HTTP_2);
        let text = format!("{} {} {}", request.method(), request.uri(), fields.join(" "));
        say(reply, text);
    })
    .await;
    let world = before(&[&instance]).await;
    let asks =
        "GET /x?y=1 HTTP/1.1\r\nHost: shop.example:81\r\nX-A: 1\r\nTE: trailers\r\nConnection: te\r\n\r\n";
    assert_eq!(
        world.ask(asks).await.text(),
        "GET http://shop.example:81/x?y=1 - - - trailers 127.0.0.1 1"
    );
    // An instance may pass a wish for another protocol over, and HTTP/2 has none.
    let asks = "GET /u HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n";
    assert_eq!(world.ask(asks).await.text(), "GET http://a/u - - - - 127.0.0.1 -");
}

#[tokio::test]
async fn a_body_flows_both_ways_and_its_length_is_kept() {
    let instance = Instance::start(|request, mut reply| async move {
        let length = request.headers()["content-length"].clone();
        let (text, _) = read(&mut request.into_body()).await.unwrap();
        let answer = Response::builder().header("content-length", length);
        let mut stream = reply.send_response(answer.body(()).unwrap(), false).unwrap();
        stream.reserve_capacity(text.len());
        let mut rest = Bytes::from(text);
        while !rest.is_empty() {
            let room = soon(std::future::poll_fn(|cx| stream.poll_capacity(cx))).await;
            let now = rest.split_to(room.unwrap().unwrap().min(rest.len()));
            stream.send_data(now, rest.is_empty()).unwrap();
        }
    })
    .await;
    let world = before(&[&instance]).await;
    let body = "0123456789".repeat(100_000);
    let answer = world.ask(&post("/", &body)).await;
    assert_eq!(answer.header("content-length"), "1000000");
    assert!(answer.text() == body);
    let client = Client::connect(&world).await;
    let request = Request::post("http://a/")
        .header("content-length", "3")
        .body(())
        .unwrap();
    let (head, text, _) = client.ask(request, Some("abc")).await;
    assert_eq!(
        (head.headers()["content-length"].as_bytes(), text.as_str()),
        (&b"3"[..], "abc")
    );
}

/// Answers each request when it gets a permit, and counts how many are there at once.
async fn gated(builder: h2::server::Builder, gate: &Arc<Semaphore>, most: &Arc<AtomicUsize>) -> Instance {
    let (gate, most, now) = (Arc::clone(gate), Arc::clone(most), Arc::new(AtomicUsize::new(0)));
    Instance::with(builder, move |_, reply| {
        let (gate, most, now) = (Arc::clone(&gate), Arc::clone(&most), Arc::clone(&now));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            now.fetch_sub(1, Ordering::SeqCst);
            say(reply, "ok");
        }
    })
    .await
}

async fn eight(world: &World, gate: &Arc<Semaphore>) {
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = world.client().await;
        client.send(get("/")).await;
        clients.push(client);
    }
    gate.add_permits(8);
    for client in &mut clients {
        assert_eq!(client.message().await.unwrap().text(), "ok");
    }
}

#[tokio::test]
async fn many_requests_share_one_connection() {
    let (gate, most) = (Arc::new(Semaphore::new(1)), Arc::default());
    let instance = gated(h2::server::Builder::new(), &gate, &most).await;
    let world = with(&[&instance], |s| s.settings.workers = Some(1)).await;
    assert_eq!(world.get("/").await.text(), "ok");
    eight(&world, &gate).await;
    assert_eq!(instance.connections(), 1);
}

#[tokio::test]
async fn an_instance_gets_no_more_at_once_on_a_connection_than_it_allows() {
    let (gate, most) = (Arc::new(Semaphore::new(1)), Arc::default());
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(2);
    let instance = gated(builder, &gate, &most).await;
    let mut world = with(&[&instance], |s| s.settings.workers = Some(1)).await;
    assert_eq!(world.get("/").await.text(), "ok");
    eight(&world, &gate).await;
    let report = world.soon(|r| r.totals.in_flight == 0).await;
    assert_eq!(report.endpoints[0].failures, 0, "nothing was refused");
    assert!(
        instance.connections() > 1,
        "what was too much for one went over another"
    );
}

#[tokio::test]
async fn what_an_instance_refused_to_process_is_sent_again_whatever_its_method() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let instance = Instance::start(move |request, mut reply| {
        let count = Arc::clone(&count);
        async move {
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                return reply.send_reset(Reason::REFUSED_STREAM);
            }
            let method = request.method().to_string();
            say(reply, method);
        }
    })
    .await;
    let world = before(&[&instance]).await;
    let answer = world
        .ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!((answer.text().as_str(), seen.load(Ordering::SeqCst)), ("POST", 2));
    assert_eq!(world.logged(1).await[0]["retries"], 1);
}

#[tokio::test]
async fn a_reset_may_have_had_an_effect_so_only_idempotent_requests_are_sent_again() {
    let bad = Instance::start(|_, mut reply| async move { reply.send_reset(Reason::INTERNAL_ERROR) }).await;
    let good = Instance::start(|_, reply| async move { say(reply, "good") }).await;
    let world = with(&[&bad, &good], |s| s.settings.balance = Balance::RoundRobin).await;
    let mut broke = 0;
    for _ in 0..4 {
        assert_eq!(world.get("/").await.text(), "good");
        let answer = world
            .ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            .await;
        broke += usize::from(answer.status() == 502);
    }
    assert!(broke > 0);
}

#[tokio::test]
async fn goodbye_ends_a_connection_for_new_requests_only() {
    let (held, mut waiting) = mpsc::unbounded_channel();
    let instance = Instance::start(move |request, reply| {
        let held = held.clone();
        async move {
            match request.uri().path() {
                "/held" => held.send(reply).unwrap(),
                path => say(reply, path.to_owned()),
            }
        }
    })
    .await;
    let mut world = with(&[&instance], |s| s.settings.workers = Some(1)).await;
    let mut client = world.client().await;
    client.send(get("/held")).await;
    let held = soon(waiting.recv()).await.unwrap();
    assert_eq!(world.get("/goodbye").await.text(), "/goodbye");
    for n in 0..10 {
        let answer = world.ask(&post(&format!("/{n}"), "x")).await;
        assert_eq!(answer.text(), format!("/{n}"));
    }
    say(held, "kept");
    assert_eq!(client.message().await.unwrap().text(), "kept");
    assert_eq!(instance.connections(), 2);
    let report = world.soon(|r| r.totals.in_flight == 0).await;
    assert_eq!(report.endpoints[0].failures, 0, "that is no failure");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_stream_at_the_instance() {
    let (told, mut ended) = mpsc::unbounded_channel();
    let instance = Instance::start(move |request, mut reply| {
        let told = told.clone();
        async move {
            told.send("begun").unwrap();
            let mut stream = reply.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"first"), false).unwrap();
            let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await.unwrap();
            assert_eq!(reason, Reason::CANCEL);
            drop(request);
            told.send("cancelled").unwrap();
        }
    })
    .await;
    let mut world = before(&[&instance]).await;
    let mut client = world.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
        .await;
    assert_eq!(client.head().await.unwrap().status(), 200);
    assert_eq!(soon(ended.recv()).await, Some("begun"));
    drop(client);
    assert_eq!(soon(ended.recv()).await, Some("cancelled"));
    world.soon(|r| r.endpoints[0].in_flight == 0).await;
}

#[tokio::test]
async fn an_instance_that_is_gone_is_left_out_and_a_draining_one_finishes() {
    let (held, mut waiting) = mpsc::unbounded_channel();
    let first = Instance::start(move |_, reply| {
        let held = held.clone();
        async move { held.send(reply).unwrap() }
    })
    .await;
    let second = Instance::start(|_, reply| async move { say(reply, "second") }).await;
    let mut world = with(&[&first], |_| {}).await;
    let mut client = world.client().await;
    client.send(get("/")).await;
    let reply = soon(waiting.recv()).await.unwrap();
    let mut endpoint = crate::world::endpoint(2, second.address);
    endpoint.protocol = banyan_config::Protocol::H2;
    world
        .publish(|s| {
            s.upstream.endpoints[0].state = banyan_topology::snapshot::EndpointState::Draining;
            s.upstream.endpoints.push(endpoint);
        })
        .await;
    world.until(|r| r.endpoints[1].healthy).await;
    assert_eq!(world.get("/").await.text(), "second");
    assert_eq!(world.handle.report().endpoints[0].in_flight, 1);
    say(reply, "finished");
    assert_eq!(client.message().await.unwrap().text(), "finished");
    world.until(|r| r.endpoints[0].in_flight == 0).await;
    drop(second);
    world.publish(|s| s.upstream.endpoints.truncate(1)).await;
}
