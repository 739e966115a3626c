//! Garbage, oversized and slow HTTP at a running system: a correct refusal, and everyone else is served.

use std::time::Duration;

use banyan_e2e::{Installation, Manifest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(60);

/// What is sent, and what the first line of the answer must contain ("" : the connection just ends).
fn cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let get = |headers: &str| format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n").into_bytes();
    let post = |headers: &str| format!("POST / HTTP/1.1\r\nhost: a\r\n{headers}\r\n").into_bytes();
    vec![
        (
            "garbage",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage\r\n\r\n".to_vec(),
            "400",
        ),
        ("no HTTP version", b"GET /\r\n\r\n".to_vec(), "400"),
        ("a header without a colon", get("nonsense\r\n"), "400"),
        (
            "a header of 64 KiB",
            get(&format!("x: {}\r\n", "a".repeat(64 << 10))),
            "431",
        ),
        ("200 headers", get(&"x: y\r\n".repeat(200)), "431"),
        (
            "a path of 16 KiB",
            format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(16 << 10)).into_bytes(),
            "414",
        ),
        (
            "two lengths",
            post("content-length: 1\r\ncontent-length: 2\r\n"),
            "400",
        ),
        ("a length that is no number", post("content-length: x\r\n"), "400"),
        (
            "a body above the limit",
            post("content-length: 99999999999\r\n"),
            "413",
        ),
        (
            "half a header, then silence",
            b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: ".to_vec(),
            "408",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_http_is_refused_and_the_system_goes_on() {
    let manifest = Manifest::misfit("")
        .edge("timeouts = { header = \"500ms\" }")
        .edge("limits = { body = \"1MiB\" }");
    let mut installation = Installation::new(manifest);
    installation.up().await;
    let client = installation.client();
    for (what, bytes, wanted) in cases() {
        let answer = exchange(installation.edge_address(), &bytes).await;
        let first = answer.lines().next().unwrap_or_default().to_owned();
        println!("{what}: {first:?}");
        assert!(
            first.starts_with("HTTP/1.") && first.contains(wanted),
            "{what}: wanted {wanted}, got {answer:?}"
        );
        assert_eq!(
            client.get("/").await.unwrap().status(),
            200,
            "others are served after {what}"
        );
    }
    installation.down().await;
}

/// Sends and reads until the edge closes.
async fn exchange(address: std::net::SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The edge may answer and close before it has read everything.
    stream.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(Ok(read @ 1..)) = tokio::time::timeout(LIMIT, stream.read(&mut chunk)).await {
        answer.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}
