//! HTTP/2 from clients, HTTP/1 to instances: what is mapped, what streams, what ends a connection.

use std::time::Duration;

use h2::client::{Connection, SendRequest};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use banyan_testkit::upstream::{Upstream, Wire};

use crate::tls::{Authority, try_connect, with_tls};
use crate::world::World;

type Body = h2::SendStream<bytes::Bytes>;

/// An h2 client whose connection runs beside it.
struct Client {
    sender: SendRequest<bytes::Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    async fn plain(world: &World) -> Self {
        let stream = TcpStream::connect(world.address()).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        Self::run(sender, connection)
    }

    async fn secure(world: &World, authority: &Authority) -> Self {
        let stream = try_connect(world, &authority.path(), "a.example", &["h2", "http/1.1"]).await;
        let stream = stream.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        Self::run(sender, connection)
    }

    #[expect(clippy::disallowed_methods, reason = "the client's own task")]
    fn run<S>(sender: SendRequest<bytes::Bytes>, connection: Connection<S, bytes::Bytes>) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        Self {
            sender,
            connection: tokio::spawn(connection),
        }
    }

    async fn send(&mut self, request: Request<()>, ends: bool) -> (h2::client::ResponseFuture, Body) {
        let mut ready = self.sender.clone().ready().await.unwrap();
        ready.send_request(request, ends).unwrap()
    }

    async fn get(&mut self, uri: &str) -> (Response<()>, String) {
        let (answer, _) = self.send(Request::get(uri).body(()).unwrap(), true).await;
        whole(answer.await.unwrap()).await
    }
}

async fn whole(answer: Response<RecvStream>) -> (Response<()>, String) {
    let (head, body) = answer.into_parts();
    let text = text(body).await.0;
    (Response::from_parts(head, ()), text)
}

async fn text(mut body: RecvStream) -> (String, Option<HeaderMap>) {
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        text.extend_from_slice(&data);
    }
    (String::from_utf8(text).unwrap(), body.trailers().await.unwrap())
}

#[tokio::test]
async fn a_request_arrives_as_http1_says_it() {
    let upstream = Upstream::answering(|r| {
        let fields = [
            "host",
            "cookie",
            "x-forwarded-proto",
            "connection",
            "transfer-encoding",
        ];
        let fields: Vec<String> = fields.iter().map(|name| r.header(name)).collect();
        format!("{} {}", r.start, fields.join(" | "))
    })
    .await;
    let authority = Authority::new();
    let files = authority.make(&["a.example"]);
    let world = World::with(&[upstream.address], |s| with_tls(s, vec![files])).await;
    let mut client = Client::secure(&world, &authority).await;
    let request = Request::get("https://a.example:8443/x?y=1")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(())
        .unwrap();
    let (answer, _) = client.send(request, true).await;
    let (head, text) = whole(answer.await.unwrap()).await;
    assert_eq!(
        text,
        "GET /x?y=1 HTTP/1.1 a.example:8443 | a=1; b=2 | https |  | "
    );
    assert_eq!(head.version(), http::Version::HTTP_2);
    assert!(head.headers().contains_key("x-request-id"));
    assert!(!head.headers().contains_key("connection"));
}

#[tokio::test]
async fn prior_knowledge_in_the_clear_will_do() {
    let upstream = Upstream::answering(|r| r.header("x-forwarded-proto")).await;
    let world = World::start(&[upstream.address]).await;
    let mut client = Client::plain(&world).await;
    assert_eq!(client.get("http://a/").await.1, "http");
    assert_eq!(client.get("http://a/again").await.1, "http");
}

#[tokio::test]
async fn a_preface_in_pieces_is_still_one_and_half_of_one_is_not() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let world = World::with(&[upstream.address], |s| {
        s.settings.timeouts.header = Duration::from_millis(500);
    })
    .await;
    let mut wire = world.client().await;
    for piece in ["PRI", " * HTTP/2.0\r\n\r\n", "SM\r\n\r\n"] {
        wire.send(piece).await;
        tokio::task::yield_now().await;
    }
    wire.send([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    let settings = wire.bytes(9).await.unwrap();
    assert_eq!(settings[3], 4, "the server's SETTINGS");
    let mut half = world.client().await;
    half.send("PRI * HT").await;
    assert!(half.rest().await.is_empty());
    let answer = world.ask("PRI * HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer.status(), 200, "a method like any other");
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let upstream = Upstream::start(|mut wire| async move {
        if wire.head().await.is_none() {
            return;
        }
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        // Every chunk goes back before the next one comes.
        while let Some(size) = wire.line().await {
            let size = usize::from_str_radix(&size, 16).unwrap();
            let data = wire.bytes(size + 2).await.unwrap();
            wire.send(format!("{size:x}\r\n")).await;
            wire.send(&data).await;
            if size == 0 {
                return;
            }
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    let mut client = Client::plain(&world).await;
    let (answer, mut up) = client
        .send(Request::post("http://a/").body(()).unwrap(), false)
        .await;
    let mut down = answer.await.unwrap().into_body();
    for word in ["one", "two", "three"] {
        up.send_data(word.into(), false).unwrap();
        assert_eq!(down.data().await.unwrap().unwrap(), word);
    }
    up.send_data(bytes::Bytes::new(), true).unwrap();
    assert_eq!(text(down).await.0, "");
}

#[tokio::test]
async fn trailers_of_an_instance_arrive() {
    let upstream = Upstream::start(|mut wire| async move {
        while let Some(request) = wire.message().await {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n";
            let te = request.header("te");
            wire.send(format!(
                "{head}{:x}\r\n{te}\r\n0\r\ngrpc-status: 0\r\n\r\n",
                te.len()
            ))
            .await;
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    let mut client = Client::plain(&world).await;
    let request = Request::get("http://a/")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (answer, _) = client.send(request, true).await;
    let (body, trailers) = text(answer.await.unwrap().into_body()).await;
    assert_eq!(body, "trailers");
    assert_eq!(trailers.unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let upstream = Upstream::start(|mut wire| async move {
        while wire.head().await.is_some() {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").await;
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    let mut client = Client::plain(&world).await;
    for _ in 0..2 {
        let request = Request::head("http://a/").body(()).unwrap();
        let (answer, _) = client.send(request, true).await;
        let answer = answer.await.unwrap();
        assert_eq!(answer.headers()["content-length"], "5");
        assert!(answer.body().is_end_stream());
    }
}

#[tokio::test]
async fn limits_are_those_of_http1() {
    let upstream = Upstream::answering(|r| panic!("got {r:?}")).await;
    let world = World::with(&[upstream.address], |s| s.settings.limits.body = 1000).await;
    let mut client = Client::plain(&world).await;
    let long = format!("http://a/{}", "x".repeat(9000));
    assert_eq!(client.get(&long).await.0.status(), StatusCode::URI_TOO_LONG);
    let mut many = Request::get("http://a/");
    for n in 0..101 {
        many = many.header(format!("h{n}"), "v");
    }
    let big = Request::get("http://a/").header("big", "x".repeat(40_000));
    for request in [many, big] {
        let (answer, _) = client.send(request.body(()).unwrap(), true).await;
        assert_eq!(
            answer.await.unwrap().status(),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        );
    }
    for length in [Some("1001"), None] {
        let mut request = Request::post("http://a/");
        if let Some(length) = length {
            request = request.header("content-length", length);
        }
        let (answer, mut body) = client.send(request.body(()).unwrap(), false).await;
        body.send_data(vec![b'x'; 1001].into(), length.is_none()).unwrap();
        assert_eq!(answer.await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    let connect = Request::builder()
        .method("CONNECT")
        .uri("a:443")
        .body(())
        .unwrap();
    let (answer, _) = client.send(connect, true).await;
    assert_eq!(answer.await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_host_that_differs_from_authority_is_refused() {
    let upstream = Upstream::answering(|r| r.header("host")).await;
    let world = World::start(&[upstream.address]).await;
    let mut client = Client::plain(&world).await;
    let request = Request::get("http://a/").header("host", "b").body(()).unwrap();
    let (answer, _) = client.send(request, true).await;
    assert_eq!(answer.await.unwrap().status(), StatusCode::BAD_REQUEST);
    assert_eq!(client.get("http://a/").await.1, "a", "only that stream ended");
}

#[tokio::test]
async fn a_stream_that_is_taken_back_ends_its_request_upstream() {
    let upstream = Upstream::start(|mut wire| async move {
        wire.message().await;
        wire.rest().await;
    })
    .await;
    let mut world = World::start(&[upstream.address]).await;
    let mut client = Client::plain(&world).await;
    let (_answer, mut body) = client
        .send(Request::post("http://a/").body(()).unwrap(), false)
        .await;
    world.until(|r| r.endpoints[0].in_flight == 1).await;
    body.send_reset(Reason::CANCEL);
    world.until(|r| r.endpoints[0].in_flight == 0).await;
}

#[tokio::test]
async fn a_drain_finishes_every_stream_and_says_goaway() {
    let upstream = Upstream::answering(|r| r.text()).await;
    let mut world = World::start(&[upstream.address]).await;
    let mut client = Client::plain(&world).await;
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(
            client
                .send(Request::post("http://a/").body(()).unwrap(), false)
                .await,
        );
    }
    world.until(|r| r.totals.in_flight == 20).await;
    world.drain();
    world.until(|r| r.listening.is_empty()).await;
    for (answer, mut body) in open {
        body.send_data("late".into(), true).unwrap();
        let (head, text) = whole(answer.await.unwrap()).await;
        assert_eq!((head.status(), text.as_str()), (StatusCode::OK, "late"));
    }
    client.connection.await.unwrap().unwrap();
    world.ended().await;
}

/// A frame without payload or with zeros, on a stream.
fn frame(kind: u8, flags: u8, stream: u8, payload: usize) -> Vec<u8> {
    let length = u8::try_from(payload).unwrap();
    let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
    bytes.extend(vec![0; payload]);
    bytes
}

/// The error code of the GOAWAY that ends the connection; `None`: it ended without one.
async fn goaway(wire: &mut Wire) -> Option<u8> {
    loop {
        let head = wire.bytes(9).await?;
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = wire.bytes(length).await?;
        if head[3] == 7 && payload[7] != 0 {
            return Some(payload[7]);
        }
    }
}

const ENHANCE_YOUR_CALM: u8 = 11;

#[tokio::test]
async fn a_flood_of_frames_is_told_to_calm_down() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let world = World::start(&[upstream.address]).await;
    for (what, flood) in [("ping", frame(6, 0, 0, 8)), ("settings", frame(4, 0, 0, 0))] {
        let mut wire = world.client().await;
        wire.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        wire.send(frame(4, 0, 0, 0)).await;
        wire.send(flood.repeat(201)).await;
        assert_eq!(goaway(&mut wire).await, Some(ENHANCE_YOUR_CALM), "{what}");
    }
    let mut client = Client::plain(&world).await;
    assert_eq!(client.get("http://a/").await.1, "ok", "others are served");
}

#[tokio::test]
async fn a_client_that_takes_back_request_after_request_is_told_to_calm_down() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let world = World::start(&[upstream.address]).await;
    let mut client = Client::plain(&world).await;
    for _ in 0..101 {
        let (_answer, mut body) = client
            .send(Request::post("http://a/").body(()).unwrap(), false)
            .await;
        body.send_reset(Reason::CANCEL);
        tokio::task::yield_now().await;
        if client.connection.is_finished() {
            break;
        }
    }
    let ended = tokio::time::timeout(Duration::from_secs(60), client.connection).await;
    let error = ended.expect("the connection goes on").unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM), "{error:?}");
}

#[tokio::test]
async fn an_idle_connection_ends() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let world = World::with(&[upstream.address], |s| {
        s.settings.timeouts.idle = Duration::from_millis(300);
    })
    .await;
    let mut client = Client::plain(&world).await;
    assert_eq!(client.get("http://a/").await.1, "ok");
    let ended = tokio::time::timeout(Duration::from_secs(60), client.connection).await;
    ended.expect("the connection stays").unwrap().unwrap();
}
