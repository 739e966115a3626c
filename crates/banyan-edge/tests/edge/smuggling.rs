//! Requests that two readers could understand in two ways: refused, and no upstream sees a byte of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use banyan_testkit::upstream::Upstream;

use crate::world::{World, get};

/// (what it is, the request). All are answered 400 (or as noted) and close the connection.
pub(crate) const HEADS: &[(&str, &str)] = &[
    (
        "both lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "both lengths, other order",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    ),
    (
        "two different lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ),
    (
        "the same length twice",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
    ),
    (
        "a list of lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na",
    ),
    (
        "a signed length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na",
    ),
    (
        "a negative length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\na",
    ),
    (
        "a hexadecimal length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na",
    ),
    (
        "an empty length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\na",
    ),
    (
        "a length that overflows",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\na",
    ),
    (
        "a coding that is not chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    ),
    (
        "chunked not last",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "two coding lines",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    ),
    (
        "a coding in quotes",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
    ),
    (
        "a coding with a parameter",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    ),
    (
        "a coding with a vertical tab",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked in 1.0",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a space before the colon",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "a folded line",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n Content-Length: 5\r\n\r\n",
    ),
    ("a folded first line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    ("an empty name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"),
    (
        "a line without colon",
        "GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n",
    ),
    ("a bare LF", "GET / HTTP/1.1\nHost: a\n\n"),
    (
        "a bare LF in a header",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\nContent-Length: 5\r\n\r\n",
    ),
    ("a bare CR", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n"),
    ("a NUL", "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n"),
    ("a NUL in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\0: 1\r\n\r\n"),
    ("no host", "GET / HTTP/1.1\r\n\r\n"),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    (
        "the same host twice",
        "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
    ),
    ("an empty host", "GET / HTTP/1.1\r\nHost: \r\n\r\n"),
    ("a host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("a host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    (
        "a target that names another host",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a target with a user",
        "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a tab for a space", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        "bytes above 127 in the target",
        "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("no version", "GET /\r\nHost: a\r\n\r\n"),
    ("version 2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    ("version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    ("a lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n"),
    ("a method that is no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        "a target that is no URI",
        "GET http://[/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("a target without a slash", "GET x HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        "an upgrade with a body",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc",
    ),
    ("TLS to a clear-text port", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"),
];

pub(crate) const BODIES: &[(&str, &str)] = &[
    ("garbage for a size", "xyz\r\n"),
    ("a signed size", "+5\r\nhello\r\n0\r\n\r\n"),
    ("0x before a size", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("a size with a space", "5 \r\nhello\r\n0\r\n\r\n"),
    ("a size that overflows", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("a size ended by a bare LF", "5\nhello\r\n0\r\n\r\n"),
    ("a chunk longer than its size", "5\r\nhello!\r\n0\r\n\r\n"),
    ("a chunk without its end", "5\r\nhello0\r\n\r\n"),
    ("a bare LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
    ("a folded trailer", "0\r\n a: b\r\n\r\n"),
    ("a trailer without a colon", "0\r\na\r\n\r\n"),
    ("a bare LF after a trailer", "0\r\na: b\n\r\n"),
];

#[tokio::test]
async fn ambiguous_heads_are_refused_and_end_the_connection() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let upstream = Upstream::answering(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        "seen".to_owned()
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    for (what, request) in HEADS {
        let mut client = world.client().await;
        client.send([request, get("/smuggled").as_str()].concat()).await;
        let answer = client
            .message()
            .await
            .unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(answer.status(), 400, "{what}: {}", answer.text());
        assert_eq!(answer.header("connection"), "close", "{what}");
        assert!(client.rest().await.is_empty(), "{what}: the connection goes on");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_broken_body_never_becomes_a_request_of_its_own() {
    let upstream = Upstream::answering(|r| r.target().to_owned()).await;
    let world = World::start(&[upstream.address]).await;
    for (what, body) in BODIES {
        let mut client = world.client().await;
        let head = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send([head, body, &get("/smuggled")].concat()).await;
        let answer = client.message().await;
        assert_eq!(answer.map(|a| a.status()), Some(400), "{what}");
        assert!(client.rest().await.is_empty(), "{what}: the connection goes on");
    }
    let smuggled = |l: &serde_json::Value| l["path"] == "/smuggled";
    assert!(!world.logged(BODIES.len()).await.iter().any(smuggled));
}

#[tokio::test]
async fn good_requests_before_a_bad_one_are_answered() {
    let upstream = Upstream::answering(|r| r.target().to_owned()).await;
    let world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    client
        .send(
            [
                &get("/1"),
                &get("/2"),
                "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            ]
            .concat(),
        )
        .await;
    assert_eq!(client.message().await.unwrap().text(), "/1");
    assert_eq!(client.message().await.unwrap().text(), "/2");
    assert_eq!(client.message().await.unwrap().status(), 400);
}

#[tokio::test]
async fn connect_and_trace_are_not_served() {
    let upstream = Upstream::answering(|_| "seen".to_owned()).await;
    let world = World::start(&[upstream.address]).await;
    for request in [
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
        "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(world.ask(request).await.status(), 405);
    }
}

#[tokio::test]
async fn unusual_but_clear_requests_pass() {
    let upstream = Upstream::answering(|r| format!("{} {}", r.target(), r.text())).await;
    let world = World::start(&[upstream.address]).await;
    for (request, expected) in [
        ("GET http://a/x?y HTTP/1.1\r\nHost: A:80\r\n\r\n", "/x?y "),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "* "),
        ("\r\nGET /empty-line HTTP/1.1\r\nHost: a\r\n\r\n", "/empty-line "),
        (
            "POST /c HTTP/1.1\r\nHost: a\r\ntransfer-encoding:CHUNKED\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
            "/c abc",
        ),
        (
            "PROPFIND /%2e%2e/ HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
            "/%2e%2e/ ",
        ),
    ] {
        assert_eq!(world.ask(request).await.text(), expected, "{request:?}");
    }
}
