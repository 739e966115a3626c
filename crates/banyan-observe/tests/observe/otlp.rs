//! Apps send spans by OTLP, over HTTP and gRPC, and a collector of the user's own gets what is kept.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use banyan_testkit::ports::Port;
use banyan_testkit::upstream::{Upstream, Wire};
use banyan_testkit::wait;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::World;

const LIMIT: Duration = Duration::from_secs(90);
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// A field of protobuf whose value is bytes.
fn field(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap();
    assert!(length < 128, "one byte says how long it is");
    [&[tag << 3 | 2, length], value].concat()
}

/// An ExportTraceServiceRequest with one failed span of a service `payment`.
fn request(trace: u8, name: &str) -> Vec<u8> {
    let at = |tag: u8, ns: u64| [&[tag << 3 | 1][..], &ns.to_le_bytes()].concat();
    let span = [
        field(1, &[trace; 16]),
        field(2, &[7; 8]),
        field(5, name.as_bytes()),
        at(7, 1_800_000_000_000_000_000),
        at(8, 1_800_000_000_250_000_000),
        // Status: error.
        field(15, &[3 << 3, 2]),
    ];
    let service = field(2, &field(1, b"payment"));
    let resource = field(1, &[field(1, b"service.name"), service].concat());
    let spans = field(2, &field(2, &span.concat()));
    field(1, &[field(1, &resource), spans].concat())
}

async fn post(port: u16, path: &str, kind: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A unary call; what the trailers say of it.
async fn call(port: u16, message: &[u8]) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let framed = [&[0], &length[..], message].concat();
    let asked = async move {
        let request = http::Request::post(format!("http://x{EXPORT}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let (answer, mut body) = sender.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(Bytes::from(framed), true).unwrap();
        let mut answer = answer.await.unwrap().into_body();
        while let Some(chunk) = answer.data().await {
            let length = chunk.unwrap().len();
            answer.flow_control().release_capacity(length).unwrap();
        }
        let trailers = answer.trailers().await.unwrap().unwrap();
        trailers["grpc-status"].to_str().unwrap().to_owned()
    };
    tokio::select! {
        status = asked => status,
        ended = connection => panic!("the connection ended: {ended:?}"),
    }
}

/// Traces as the dashboard lists them.
async fn listed(world: &World) -> Vec<Value> {
    let answer = world.get_with_token("/api/traces", "").await;
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    serde_json::from_str(body).unwrap()
}

#[tokio::test]
async fn spans_of_apps_are_taken_by_http_and_grpc_and_go_on_to_a_collector() {
    let got = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&got);
    let collector = Upstream::start(move |mut wire: Wire| {
        let seen = Arc::clone(&seen);
        async move {
            while let Some(message) = wire.message().await {
                // The first one is to come again.
                let first = seen.lock().unwrap().is_empty();
                seen.lock().unwrap().push((message.start, message.body));
                wire.answer(if first { 503 } else { 200 }, "").await;
            }
        }
    })
    .await;
    let ports = [Port::free(), Port::free()];
    let [http, grpc] = [ports[0].number(), ports[1].number()];
    let export = format!("http://{}/v1/traces", collector.address);
    let world = World::with(json!({"http": http, "grpc": grpc, "export": export})).await;
    let bound = async || {
        let both = [
            TcpStream::connect(("127.0.0.1", http)).await,
            TcpStream::connect(("127.0.0.1", grpc)).await,
        ];
        both.iter().all(Result::is_ok).then_some(()).ok_or("not yet")
    };
    wait::until("both ports to be listened on", LIMIT, bound)
        .await
        .unwrap();

    let answer = post(
        http,
        "/v1/traces",
        "application/x-protobuf",
        &request(1, "charge"),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(call(grpc, &request(2, "refund")).await, "0");
    let traces = wait::until("both traces to be listed", LIMIT, async || {
        let traces = listed(&world).await;
        if traces.len() == 2 {
            Ok(traces)
        } else {
            Err(format!("{traces:?}"))
        }
    })
    .await
    .unwrap();
    assert!(
        traces
            .iter()
            .all(|trace| trace["failed"] == true && trace["took_us"] == 250_000),
        "{traces:?}"
    );
    wait::until("the collector to have both", LIMIT, async || {
        let got = got.lock().unwrap();
        let has = |name: &[u8]| {
            got.iter().skip(1).any(|(start, body)| {
                start.starts_with("POST /v1/traces ") && body.windows(name.len()).any(|part| part == name)
            })
        };
        if has(b"charge") && has(b"refund") {
            Ok(())
        } else {
            Err(format!("{got:?}"))
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_is_no_trace_is_refused_and_says_so() {
    let port = Port::free();
    let world = World::with(json!({"http": port.number()})).await;
    wait::until("the port to be listened on", LIMIT, async || {
        TcpStream::connect(port.address())
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    })
    .await
    .unwrap();
    let protobuf = "application/x-protobuf";
    for (path, kind, body, expected) in [
        ("/v1/traces", protobuf, &b"\xff\xff"[..], "HTTP/1.1 400"),
        ("/v1/traces", "application/json", b"{}", "HTTP/1.1 415"),
        ("/v1/logs", protobuf, b"", "HTTP/1.1 404"),
    ] {
        let answer = post(port.number(), path, kind, body).await;
        assert!(answer.starts_with(expected), "{path}: {answer}");
    }
    // Partial success: a span without an id.
    let nameless = field(1, &field(2, &field(2, &field(1, &[1; 16]))));
    let answer = post(port.number(), "/v1/traces", protobuf, &nameless).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("without identifiers"),
        "{answer}"
    );
    assert!(listed(&world).await.is_empty());
}
