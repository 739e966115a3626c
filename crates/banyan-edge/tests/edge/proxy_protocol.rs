//! PROXY headers from trusted proxies, and to instances that want them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use banyan_config::{EdgeLimits, ProxyProtocol};
use banyan_edge::proxy_protocol::{Parsed, parse};
use banyan_testkit::upstream::{Upstream, Wire};
use banyan_tls::client::{self, Trust};
use banyan_topology::snapshot::EdgeSnapshot;
use tokio::net::TcpStream;

use crate::tls::{Authority, https, with_tls};
use crate::world::{World, get};

const LINE: &str = "PROXY TCP4 203.0.113.7 198.51.100.2 50007 443\r\n";

fn believed(snapshot: &mut EdgeSnapshot) {
    snapshot.settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    snapshot.settings.proxy_protocol = true;
}

/// 203.0.113.7:50007 to 198.51.100.2:443, with one TLV.
fn binary() -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11".to_vec();
    bytes.extend([
        203, 0, 113, 7, 198, 51, 100, 2, 0xc3, 0x57, 1, 0xbb, 5, 0, 2, 8, 8,
    ]);
    bytes
}

async fn mirror() -> Upstream {
    Upstream::answering(|r| {
        format!(
            "{} {}",
            r.header("x-forwarded-for"),
            r.header("x-forwarded-proto")
        )
    })
    .await
}

#[tokio::test]
async fn the_address_in_the_header_is_the_clients_for_everything() {
    let upstream = mirror().await;
    let world = World::with(&[upstream.address], believed).await;
    for head in [LINE.as_bytes().to_vec(), binary()] {
        // What the client itself claims is stripped: the proxy in front says nothing in headers.
        let request =
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n\r\n";
        let mut client = world.client().await;
        client.send([&head[..], request.as_bytes()].concat()).await;
        assert_eq!(client.message().await.unwrap().text(), "203.0.113.7 http");
        // It stays so for the whole connection.
        client.send(get("/")).await;
        assert_eq!(client.message().await.unwrap().text(), "203.0.113.7 http");
    }
    let lines = world.logged(4).await;
    assert!(
        lines.iter().all(|line| line["client"] == "203.0.113.7"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_header_in_pieces_is_a_header_and_one_that_never_ends_is_closed() {
    let upstream = mirror().await;
    let world = World::with(&[upstream.address], |snapshot| {
        believed(snapshot);
        snapshot.settings.timeouts.header = Duration::from_millis(400);
    })
    .await;
    let mut client = world.client().await;
    for byte in binary() {
        client.send([byte]).await;
        tokio::task::yield_now().await;
    }
    client.send(get("/")).await;
    assert_eq!(client.message().await.unwrap().text(), "203.0.113.7 http");
    for begun in ["", "PROXY TCP4 203.0.113.7", "PROXY UNKNOWN", "\r\n\r\n\0"] {
        let mut client = world.client().await;
        client.send(begun).await;
        assert!(client.rest().await.is_empty(), "{begun:?}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_that_sends_no_proper_header_is_closed() {
    let upstream = mirror().await;
    let world = World::with(&[upstream.address], believed).await;
    for begun in [
        get("/"),
        format!("PROXY TCP4 203.0.113.7 198.51.100.2 50007\r\n{}", get("/")),
        format!("PROXY TCP4 203.0.113.7 198.51.100.2 50007 443\n{}", get("/")),
        format!("{}{}", "PROXY ".repeat(30), get("/")),
    ] {
        let mut client = world.client().await;
        client.send(&begun).await;
        assert!(client.rest().await.is_empty(), "{begun:?}");
    }
    assert!(world.log.lines().is_empty());
}

#[tokio::test]
async fn nobody_else_can_say_who_it_is() {
    let upstream = mirror().await;
    let world = World::with(&[upstream.address], |snapshot| {
        believed(snapshot);
        snapshot.settings.trusted_proxies = vec!["192.0.2.0/24".parse().unwrap()];
    })
    .await;
    assert_eq!(world.get("/").await.text(), "127.0.0.1 http");
    assert_eq!(world.ask(&format!("{LINE}{}", get("/"))).await.status(), 400);
    assert_eq!(upstream_requests(&world).await, 1);
}

async fn upstream_requests(world: &World) -> usize {
    let lines = world.logged(2).await;
    lines.iter().filter(|line| line["upstream"].is_string()).count()
}

#[tokio::test]
async fn a_proxy_that_speaks_for_itself_is_the_client() {
    let upstream = mirror().await;
    let world = World::with(&[upstream.address], believed).await;
    for head in ["PROXY UNKNOWN\r\n".as_bytes(), ProxyProtocol::V2.own()] {
        let mut client = world.client().await;
        client.send([head, get("/").as_bytes()].concat()).await;
        assert_eq!(client.message().await.unwrap().text(), "127.0.0.1 http");
    }
}

#[tokio::test]
async fn it_comes_before_tls() {
    let upstream = mirror().await;
    let authority = Authority::new();
    let files = authority.make(&["a.example"]);
    let world = World::with(&[upstream.address], |snapshot| {
        with_tls(snapshot, vec![files]);
        believed(snapshot);
    })
    .await;
    let stream = TcpStream::connect(https(&world)).await.unwrap();
    let head = binary();
    assert_eq!(stream.try_write(&head).unwrap(), head.len());
    let path = authority.path();
    let secure = client::connect(stream, "a.example", Trust::Authority(&path), &["http/1.1"]).await;
    let mut client = Wire::over(secure.unwrap());
    client.send(get("/")).await;
    assert_eq!(client.message().await.unwrap().text(), "203.0.113.7 https");
}

#[tokio::test]
async fn limits_per_address_count_the_client_not_the_proxy() {
    let upstream = mirror().await;
    let world = World::with(&[upstream.address], |snapshot| {
        believed(snapshot);
        snapshot.settings.limits = EdgeLimits {
            connections_per_ip: 2,
            new_per_ip: 0,
            ..snapshot.settings.limits.clone()
        };
    })
    .await;
    let ask = async |client: u8| {
        let mut wire = world.client().await;
        wire.send(format!(
            "PROXY TCP4 203.0.113.{client} 198.51.100.2 1 443\r\n{}",
            get("/")
        ))
        .await;
        (wire.message().await.is_some(), wire)
    };
    let (first, second, third) = (ask(1).await, ask(1).await, ask(1).await);
    assert_eq!((first.0, second.0, third.0), (true, true, false));
    assert!(ask(2).await.0);
}

/// Answers with who its connection says the client is, once per connection or as often as asked.
async fn told(asked: Arc<AtomicUsize>) -> Upstream {
    Upstream::start(move |mut wire| {
        let asked = Arc::clone(&asked);
        async move {
            let ends = match wire.bytes(1).await.as_deref() {
                Some(b"P") => {
                    let line = wire.line().await.unwrap_or_default();
                    parse(format!("P{line}\r\n").as_bytes())
                }
                Some(first) => {
                    let first = first.to_vec();
                    let rest = wire.bytes(15).await.unwrap_or_default();
                    let length = usize::from(rest[14]);
                    let addresses = wire.bytes(length).await.unwrap_or_default();
                    parse(&[first, rest, addresses].concat())
                }
                None => return,
            };
            let Ok(Parsed::Whole { ends, .. }) = ends else {
                panic!("no PROXY header: {ends:?}");
            };
            while let Some(request) = wire.message().await {
                if request.target() != "/ready" {
                    asked.fetch_add(1, Ordering::SeqCst);
                }
                let said = ends.map_or("nobody".to_owned(), |e| format!("{} {}", e.source, e.destination));
                if request.target() == "/ready" {
                    assert_eq!(said, "nobody");
                }
                wire.answer(200, &said).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn instances_are_told_who_asks_on_a_connection_per_request() {
    for version in ProxyProtocol::ALL {
        let asked = Arc::new(AtomicUsize::new(0));
        let upstream = told(Arc::clone(&asked)).await;
        let world = World::with(&[upstream.address], |snapshot| {
            snapshot.upstream.proxy_protocol = Some(version);
            let text = r#"{"path":"/ready","host":null,"status":200,"interval":"2s","timeout":"1s","rise":1,"fall":2}"#;
            snapshot.upstream.ready = Some(serde_json::from_str(text).unwrap());
        })
        .await;
        let before = upstream.connections();
        let mut clients = [world.client().await, world.client().await];
        let mut seen = Vec::new();
        for which in [0, 1, 0] {
            let wire = &mut clients[which];
            wire.send(get("/")).await;
            seen.push(wire.message().await.unwrap().text());
        }
        let to = world.address();
        let ends: Vec<(SocketAddr, SocketAddr)> = seen
            .iter()
            .map(|text| text.split_once(' ').unwrap())
            .map(|(source, destination)| (source.parse().unwrap(), destination.parse().unwrap()))
            .collect();
        assert!(
            ends.iter()
                .all(|(source, destination)| source.ip() == to.ip() && *destination == to)
        );
        assert_eq!(ends[0], ends[2]);
        assert_ne!(ends[0], ends[1]);
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        assert!(upstream.connections() >= before + 3);
    }
}

#[tokio::test]
async fn what_a_proxy_says_of_a_client_reaches_the_instance() {
    let upstream = told(Arc::default()).await;
    let world = World::with(&[upstream.address], |snapshot| {
        believed(snapshot);
        snapshot.upstream.proxy_protocol = Some(ProxyProtocol::V2);
    })
    .await;
    let answer = world.ask(&format!("{LINE}{}", get("/"))).await;
    assert_eq!(answer.text(), "203.0.113.7:50007 198.51.100.2:443");
}
