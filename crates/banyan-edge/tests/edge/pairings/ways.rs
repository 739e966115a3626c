//! The instances of both versions, which do what a path says, and clients of both versions, which say what they got.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

use bytes::Bytes;

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
pub(super) struct Ask {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) fields: &'static [(&'static str, &'static str)],
    pub(super) body: Option<&'static str>,
    pub(super) trailers: bool,
    /// The body is sent when the edge says so.
    pub(super) waits: bool,
    /// The body's end never comes.
    pub(super) endless: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Got {
    pub(super) interim: Vec<(u16, String)>,
    pub(super) status: u16,
    pub(super) length: String,
    pub(super) fields: HeaderMap,
    pub(super) body: String,
    pub(super) trailers: String,
}

pub(super) async fn ask_http1(world: &World, ask: Ask) -> Got {
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

pub(super) async fn ask_http2(world: &World, ask: Ask) -> Got {
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
pub(super) async fn all(ask: Ask, judge: impl Fn(&str, Got)) {
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

pub(super) fn get(path: &'static str) -> Ask {
    Ask {
        method: "GET",
        path,
        ..Ask::default()
    }
}

pub(super) fn post(path: &'static str) -> Ask {
    Ask {
        method: "POST",
        path,
        body: Some("abc"),
        ..Ask::default()
    }
}
