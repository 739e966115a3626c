//! Every pairing of client and instance, HTTP/1 or HTTP/2 on either side: the same rows for all four.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::sync::{Mutex, mpsc};

use banyan_config::Protocol;
use banyan_testkit::upstream::{Upstream, Wire};

use crate::h2_peer::{Asked, Client, Instance, Reply, read, soon};
use crate::world::World;

/// What an instance does with a request, by its path.
#[derive(Clone, Default)]
struct Plan {
    /// Before the body is read.
    interim: Vec<(u16, &'static str)>,
    /// The body is not read.
    early: bool,
    status: u16,
    fields: &'static [(&'static str, &'static str)],
    /// `None`: what was seen.
    body: Option<&'static str>,
    trailers: bool,
    head_only: bool,
}

fn plan(path: &str) -> Plan {
    let ok = Plan {
        status: 200,
        ..Plan::default()
    };
    match path {
        "/length" => Plan {
            fields: &[("content-length", "5"), ("etag", "\"a\"")],
            body: Some("12345"),
            ..ok
        },
        "/head" => Plan {
            fields: &[("content-length", "1000")],
            head_only: true,
            ..ok
        },
        "/range" => Plan {
            status: 206,
            fields: &[
                ("content-type", "multipart/byteranges; boundary=x"),
                ("content-length", "47"),
            ],
            body: Some("--x\r\nContent-Range: bytes 0-0/9\r\n\r\na\r\n--x--\r\n\r\n"),
            ..ok
        },
        "/hints" => Plan {
            interim: vec![(103, "</a.css>"), (102, "-"), (103, "</b.css>")],
            ..ok
        },
        "/wanted" => Plan {
            interim: vec![(100, "-")],
            ..ok
        },
        "/unwanted" => Plan {
            early: true,
            status: 403,
            body: Some("no"),
            ..ok
        },
        "/early" => Plan {
            early: true,
            status: 413,
            body: Some("enough"),
            ..ok
        },
        "/trailers" => Plan { trailers: true, ..ok },
        "/empty" => Plan {
            status: 204,
            head_only: true,
            ..ok
        },
        "/unchanged" => Plan {
            status: 304,
            fields: &[("etag", "\"a\"")],
            head_only: true,
            ..ok
        },
        _ => ok,
    }
}

async fn http1_instance() -> Upstream {
    Upstream::start(|mut wire: Wire| async move {
        while let Some(head) = wire.head().await {
            let plan = plan(head.target().split('?').next().unwrap());
            for (status, link) in &plan.interim {
                wire.send(format!("HTTP/1.1 {status} X\r\nLink: {link}\r\n\r\n"))
                    .await;
            }
            let mut message = head.clone();
            if !plan.early {
                wire.body_of(&mut message).await.unwrap();
            }
            let trailers: Vec<_> = message.trailers.iter().map(|(n, v)| format!("{n}={v}")).collect();
            let seen = format!(
                "{} te={} range={} body={} {}",
                head.start.split(' ').next().unwrap(),
                head.header("te"),
                head.header("range"),
                message.text(),
                trailers.join(",")
            );
            let mut text = format!("HTTP/1.1 {} X\r\n", plan.status);
            for (name, value) in plan.fields {
                text += &format!("{name}: {value}\r\n");
            }
            let body = plan.body.map_or(seen, str::to_owned);
            let sized = plan.head_only || plan.fields.iter().any(|(name, _)| *name == "content-length");
            if plan.trailers {
                text += "Transfer-Encoding: chunked\r\nTrailer: x-sum\r\n";
            } else if !sized {
                text += "Transfer-Encoding: chunked\r\n";
            }
            text += "\r\n";
            match (plan.head_only, sized) {
                (true, _) => {}
                (false, true) => text += &body,
                (false, false) => {
                    let trailer = if plan.trailers { "X-Sum: 42\r\n" } else { "" };
                    text += &format!("{:x}\r\n{body}\r\n0\r\n{trailer}\r\n", body.len());
                }
            }
            wire.send(text).await;
            if plan.early {
                // Reads on until the edge has had enough.
                wire.rest().await;
                return;
            }
        }
    })
    .await
}

async fn http2_instance() -> Instance {
    Instance::start(|request: Asked, mut reply: Reply| async move {
        let plan = plan(request.uri().path());
        for (status, link) in &plan.interim {
            let interim = Response::builder().status(*status).header("link", *link);
            reply.send_informational(interim.body(()).unwrap()).unwrap();
        }
        let field = |name: &str| {
            request
                .headers()
                .get(name)
                .map_or("", |v| v.to_str().unwrap())
                .to_owned()
        };
        let (te, range, method) = (field("te"), field("range"), request.method().clone());
        let mut body = request.into_body();
        let (text, trailers) = if plan.early {
            Default::default()
        } else {
            read(&mut body).await.unwrap()
        };
        let trailers: Vec<_> = trailers
            .iter()
            .flatten()
            .map(|(n, v)| format!("{n}={}", v.to_str().unwrap()))
            .collect();
        let seen = format!(
            "{method} te={te} range={range} body={text} {}",
            trailers.join(",")
        );
        let mut answer = Response::builder().status(plan.status);
        for (name, value) in plan.fields {
            answer = answer.header(*name, *value);
        }
        let Ok(mut stream) = reply.send_response(answer.body(()).unwrap(), plan.head_only) else {
            return;
        };
        if plan.head_only {
            return;
        }
        let body = plan.body.map_or(seen, str::to_owned);
        stream.send_data(body.into(), !plan.trailers).unwrap();
        if plan.trailers {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("42"));
            stream.send_trailers(trailers).unwrap();
        }
    })
    .await
}

/// A request with a body in pieces.
#[derive(Clone, Copy, Default)]
struct Ask {
    method: &'static str,
    path: &'static str,
    fields: &'static [(&'static str, &'static str)],
    body: Option<&'static str>,
    trailers: bool,
    /// The body is sent when the edge says so.
    waits: bool,
    /// The body's end never comes.
    endless: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Got {
    interim: Vec<(u16, String)>,
    status: u16,
    length: String,
    fields: HeaderMap,
    body: String,
    trailers: String,
}

async fn ask_http1(world: &World, ask: Ask) -> Got {
    let mut wire = world.client().await;
    let mut text = format!("{} {} HTTP/1.1\r\nHost: a\r\n", ask.method, ask.path);
    for (name, value) in ask.fields {
        text += &format!("{name}: {value}\r\n");
    }
    text += match (ask.body, ask.trailers) {
        (Some(_), true) => "Trailer: x-check\r\nTransfer-Encoding: chunked\r\n\r\n",
        (Some(_), false) => "Transfer-Encoding: chunked\r\n\r\n",
        (None, _) => "\r\n",
    };
    wire.send(text).await;
    let mut got = Got::default();
    let body = ask.body.map(|body| {
        let end = match (ask.endless, ask.trailers) {
            (true, _) => "",
            (false, true) => "0\r\nX-Check: 7\r\n\r\n",
            (false, false) => "0\r\n\r\n",
        };
        format!("{:x}\r\n{body}\r\n{end}", body.len())
    });
    if let Some(body) = body.as_ref().filter(|_| !ask.waits) {
        wire.send(body).await;
    }
    let mut head = loop {
        let head = wire.head().await.expect("an answer");
        if head.status() >= 200 {
            break head;
        }
        if head.status() == 100 {
            wire.send(body.as_ref().unwrap()).await;
        }
        got.interim.push((head.status(), head.header("link")));
    };
    if ask.method != "HEAD" {
        wire.body_of(&mut head).await.expect("a whole answer");
    }
    got.status = head.status();
    got.length = head.header("content-length");
    for (name, value) in &head.headers {
        got.fields.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            value.parse().unwrap(),
        );
    }
    got.body = head.text();
    got.trailers = head.trailers.iter().map(|(n, v)| format!("{n}={v}")).collect();
    got
}

async fn ask_http2(world: &World, ask: Ask) -> Got {
    let client = Client::connect(world).await;
    let mut request = Request::builder()
        .method(ask.method)
        .uri(format!("http://a{}", ask.path));
    for (name, value) in ask.fields.iter().filter(|(name, _)| *name != "connection") {
        request = request.header(*name, *value);
    }
    let (mut answer, mut to) = client.send(request.body(()).unwrap(), ask.body.is_none()).await;
    let mut send = |body: &'static str| {
        to.send_data(Bytes::from_static(body.as_bytes()), !ask.trailers && !ask.endless)
            .unwrap();
        if ask.trailers {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-check", HeaderValue::from_static("7"));
            to.send_trailers(trailers).unwrap();
        }
    };
    let mut got = Got::default();
    if let Some(body) = ask.body.filter(|_| !ask.waits) {
        send(body);
    }
    let response = soon(std::future::poll_fn(|cx| {
        while let std::task::Poll::Ready(Some(Ok(interim))) = answer.poll_informational(cx) {
            let link = interim.headers().get("link").map_or("", |v| v.to_str().unwrap());
            got.interim.push((interim.status().as_u16(), link.to_owned()));
            if interim.status() == 100 {
                send(ask.body.unwrap());
            }
        }
        std::future::Future::poll(std::pin::Pin::new(&mut answer), cx)
    }));
    let (head, mut body) = response.await.unwrap().into_parts();
    let (text, trailers) = soon(read(&mut body)).await.unwrap();
    got.status = head.status.as_u16();
    got.length = head
        .headers
        .get("content-length")
        .map_or("", |v| v.to_str().unwrap())
        .to_owned();
    got.body = text;
    got.trailers = trailers
        .iter()
        .flatten()
        .map(|(n, v)| format!("{n}={}", v.to_str().unwrap()))
        .collect();
    got.fields = head.headers;
    got
}

/// All four; `judge` gets which one it is.
async fn all(ask: Ask, judge: impl Fn(&str, Got)) {
    let (one, two) = (http1_instance().await, http2_instance().await);
    for (instance, protocol) in [(one.address, Protocol::Http1), (two.address, Protocol::H2)] {
        let world = World::with(&[instance], |s| s.upstream.endpoints[0].protocol = protocol).await;
        let name = format!(
            "{} {} to an instance with {}",
            ask.method,
            ask.path,
            protocol.name()
        );
        judge(&format!("{name}, from HTTP/1"), ask_http1(&world, ask).await);
        judge(&format!("{name}, from HTTP/2"), ask_http2(&world, ask).await);
    }
}

fn get(path: &'static str) -> Ask {
    Ask {
        method: "GET",
        path,
        ..Ask::default()
    }
}

fn post(path: &'static str) -> Ask {
    Ask {
        method: "POST",
        path,
        body: Some("abc"),
        ..Ask::default()
    }
}

#[tokio::test]
async fn a_known_length_is_kept_and_an_unknown_one_is_none() {
    all(get("/length"), |name, got| {
        assert_eq!((got.length.as_str(), got.body.as_str()), ("5", "12345"), "{name}");
        assert!(
            !got.fields.contains_key("transfer-encoding") && got.fields["etag"] == "\"a\"",
            "{name}"
        );
    })
    .await;
    all(post("/x"), |name, got| {
        assert_eq!(
            (got.length.as_str(), got.body.trim()),
            ("", "POST te= range= body=abc"),
            "{name}"
        );
    })
    .await;
}

#[tokio::test]
async fn an_answer_to_head_has_the_length_and_no_body() {
    let head = Ask {
        method: "HEAD",
        ..get("/head")
    };
    all(head, |name, got| {
        assert_eq!(
            (got.status, got.length.as_str(), got.body.as_str()),
            (200, "1000", ""),
            "{name}"
        );
    })
    .await;
}

#[tokio::test]
async fn answers_that_have_no_body_have_none() {
    all(get("/empty"), |name, got| {
        assert_eq!((got.status, got.body.as_str()), (204, ""), "{name}")
    })
    .await;
    all(get("/unchanged"), |name, got| {
        assert_eq!((got.status, got.body.as_str()), (304, ""), "{name}");
        assert_eq!(got.fields["etag"], "\"a\"", "{name}");
    })
    .await;
}

#[tokio::test]
async fn ranges_pass_untouched() {
    let range = Ask {
        fields: &[("range", "bytes=0-0,2-3")],
        ..get("/x")
    };
    all(range, |name, got| {
        assert!(got.body.contains("range=bytes=0-0,2-3"), "{name}: {got:?}")
    })
    .await;
    all(get("/range"), |name, got| {
        assert_eq!((got.status, got.length.as_str()), (206, "47"), "{name}");
        assert_eq!(
            got.fields["content-type"], "multipart/byteranges; boundary=x",
            "{name}"
        );
        assert!(
            got.body.starts_with("--x\r\nContent-Range: bytes 0-0/9\r\n"),
            "{name}"
        );
    })
    .await;
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let trailers = Ask {
        fields: &[("te", "trailers"), ("connection", "te")],
        trailers: true,
        ..post("/trailers")
    };
    all(trailers, |name, got| {
        assert_eq!(got.body, "POST te=trailers range= body=abc x-check=7", "{name}");
        assert_eq!(got.trailers, "x-sum=42", "{name}");
    })
    .await;
}

#[tokio::test]
async fn interim_answers_pass_in_their_order() {
    all(get("/hints"), |name, got| {
        let expected = [(103, "</a.css>"), (102, "-"), (103, "</b.css>")];
        let expected: Vec<_> = expected.map(|(status, link)| (status, link.to_owned())).into();
        assert_eq!(got.interim, expected, "{name}");
        assert_eq!(got.status, 200, "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_client_that_waits_is_told_to_go_on_when_the_instance_wants_the_body() {
    let waits = Ask {
        fields: &[("expect", "100-continue")],
        waits: true,
        ..post("/wanted")
    };
    all(waits, |name, got| {
        assert_eq!(
            got.interim.iter().map(|(status, _)| *status).collect::<Vec<_>>(),
            [100],
            "{name}"
        );
        assert_eq!(got.body.trim(), "POST te= range= body=abc", "{name}");
    })
    .await;
}

#[tokio::test]
async fn a_body_that_the_instance_refuses_is_never_sent() {
    let waits = Ask {
        fields: &[("expect", "100-continue")],
        waits: true,
        ..post("/unwanted")
    };
    all(waits, |name, got| {
        assert_eq!(
            (got.status, got.body.as_str(), got.interim.len()),
            (403, "no", 0),
            "{name}"
        );
    })
    .await;
}

#[tokio::test]
async fn an_answer_may_come_before_the_requests_end() {
    let endless = Ask {
        endless: true,
        ..post("/early")
    };
    all(endless, |name, got| {
        assert_eq!((got.status, got.body.as_str()), (413, "enough"), "{name}")
    })
    .await;
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    for (client, instance) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let (go, gone) = mpsc::unbounded_channel::<()>();
        let gone = Arc::new(Mutex::new(gone));
        let (one, two) = (events_http1(gone.clone()).await, events_http2(gone).await);
        let (address, protocol) = match instance {
            1 => (one.address, Protocol::Http1),
            _ => (two.address, Protocol::H2),
        };
        let world = World::with(&[address], |s| s.upstream.endpoints[0].protocol = protocol).await;
        let mut events = Events::open(&world, client).await;
        for n in 0..3 {
            assert_eq!(
                events.next().await,
                format!("data: {n}\n\n"),
                "{client} to {instance}"
            );
            go.send(()).unwrap();
        }
    }
}

async fn events_http1(gone: Arc<Mutex<mpsc::UnboundedReceiver<()>>>) -> Upstream {
    Upstream::start(move |mut wire: Wire| {
        let gone = gone.clone();
        async move {
            if wire.message().await.is_none() {
                return;
            }
            wire.send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            )
            .await;
            for n in 0..3 {
                wire.send(format!("9\r\ndata: {n}\n\n\r\n")).await;
                gone.lock().await.recv().await;
            }
        }
    })
    .await
}

async fn events_http2(gone: Arc<Mutex<mpsc::UnboundedReceiver<()>>>) -> Instance {
    Instance::start(move |_, mut reply: Reply| {
        let gone = gone.clone();
        async move {
            let head = Response::builder().header("content-type", "text/event-stream");
            let mut stream = reply.send_response(head.body(()).unwrap(), false).unwrap();
            for n in 0..3 {
                stream.send_data(format!("data: {n}\n\n").into(), false).unwrap();
                gone.lock().await.recv().await;
            }
        }
    })
    .await
}

enum Events {
    Http1(Wire),
    Http2 { _client: Client, body: h2::RecvStream },
}

impl Events {
    async fn open(world: &World, version: u8) -> Self {
        if version == 1 {
            let mut wire = world.client().await;
            wire.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            wire.head().await.unwrap();
            return Self::Http1(wire);
        }
        let client = Client::connect(world).await;
        let (answer, _) = client
            .send(Request::get("http://a/").body(()).unwrap(), true)
            .await;
        let body = soon(answer).await.unwrap().into_body();
        Self::Http2 {
            _client: client,
            body,
        }
    }

    async fn next(&mut self) -> String {
        let bytes = match self {
            Self::Http1(wire) => {
                assert_eq!(wire.line().await.unwrap(), "9");
                let bytes = wire.bytes(9).await.unwrap();
                wire.line().await.unwrap();
                bytes
            }
            Self::Http2 { body, .. } => {
                let data = soon(body.data()).await.unwrap().unwrap();
                body.flow_control().release_capacity(data.len()).unwrap();
                data.to_vec()
            }
        };
        String::from_utf8(bytes).unwrap()
    }
}
