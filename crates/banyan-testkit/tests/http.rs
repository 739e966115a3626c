//! The client tells "nothing was sent" from "nobody knows".

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use banyan_testkit::http::{Client, Failure};
use banyan_testkit::{Port, wait};
use http::Method;

/// Answers each connection's first request with `answer`, then closes.
fn serve(answers: &'static [&'static str]) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "a scripted server outside the test's runtime"
    )]
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = [0; 1024];
            assert!(stream.read(&mut seen).unwrap() > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

#[tokio::test]
async fn a_refused_connection_is_not_sent() {
    let port = Port::free();
    let failure = Client::keep_alive(port.address()).get("/").await.unwrap_err();
    assert!(matches!(failure, Failure::NotSent(_)), "{failure}");
}

#[tokio::test]
async fn a_connection_cut_after_the_request_is_unknown() {
    let address = serve(&[""]);
    let body = serde_json::json!({});
    let failure = Client::keep_alive(address)
        .json(Method::POST, "/", None, &body)
        .await
        .unwrap_err();
    assert!(matches!(failure, Failure::NoAnswer(_)), "{failure}");
}

#[tokio::test]
async fn a_cut_body_is_unknown() {
    let address = serve(&["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"]);
    let failure = Client::keep_alive(address).get("/").await.unwrap_err();
    assert!(matches!(failure, Failure::NoAnswer(_)), "{failure}");
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced() {
    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let client = Client::keep_alive(serve(&[OK, OK]));
    for _ in 0..2 {
        assert_eq!(&client.get("/").await.unwrap().body()[..], b"ok");
        let closed = async || match client.idle_connections() {
            0 => Ok(()),
            open => Err(open),
        };
        wait::until("the client to see the close", Duration::from_secs(20), closed)
            .await
            .unwrap();
    }
}
