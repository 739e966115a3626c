//! Compressed answers over real sockets: what comes out is what went in, and heads say what was done.

use std::io::Read;
use std::sync::Arc;

use banyan_config::{Coding, Compress, Filters, RouteAction, StaticFiles};
use banyan_testkit::upstream::{Message, Upstream, Wire};
use bytes::Bytes;
use http::{HeaderMap, Request};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::{asking, route};
use crate::h2_peer::{Client, Instance, soon, with};
use crate::world::{World, get, post};

fn on(types: &[&str]) -> Filters {
    Filters {
        compress: Some(Compress {
            codings: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
            types: types.iter().map(|kind| (*kind).to_owned()).collect(),
            min: 1024,
            max: 10 << 20,
            private: false,
        }),
        ..Filters::default()
    }
}

fn page() -> String {
    let words = (0..4_000).map(|n| format!("word {} of the page; ", n % 97));
    words.collect()
}

fn decoded(answer: &Message) -> String {
    decode(&answer.header("content-encoding"), &answer.body)
}

fn decode(coding: &str, body: &[u8]) -> String {
    let mut text = String::new();
    let read = match coding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_string(&mut text),
        "br" => brotli::Decompressor::new(body, 4096).read_to_string(&mut text),
        "zstd" => zstd::Decoder::new(body).unwrap().read_to_string(&mut text),
        _ => panic!("not compressed: {coding:?}"),
    };
    read.unwrap();
    text
}

fn accepts(coding: &str) -> String {
    format!("Accept-Encoding: {coding}\r\n")
}

/// An app with one page, which has a tag; `/site` compresses, everything else does not.
async fn world() -> (World, Upstream) {
    let upstream = Upstream::start(|mut wire| async move {
        while let Some(request) = wire.head().await {
            let tag = "ETag: \"v1\"\r\nContent-Type: text/html\r\nAccept-Ranges: bytes\r\n";
            let body = if request.start.starts_with("HEAD") { String::new() } else { page() };
            let length = page().len();
            let answer = if request.header("if-none-match").contains("\"v1\"") {
                "HTTP/1.1 304 X\r\nETag: \"v1\"\r\n\r\n".to_owned()
            } else if request.header("if-range") == "\"v1\"" {
                format!("HTTP/1.1 206 X\r\n{tag}Content-Range: bytes 0-3/9\r\nContent-Length: 4\r\n\r\nword")
            } else if request.target().ends_with("chunked") {
                format!(
                    "HTTP/1.1 200 X\r\n{tag}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\nX-Sum: 7\r\n\r\n",
                    body.len()
                )
            } else {
                format!("HTTP/1.1 200 X\r\n{tag}Content-Length: {length}\r\n\r\n{body}")
            };
            wire.send(answer).await;
        }
    })
    .await;
    let world = World::with(&[upstream.address], |s| {
        s.routes = vec![route("site", on(&["text/*"]))];
    })
    .await;
    (world, upstream)
}

#[tokio::test]
async fn each_coding_gives_the_page_back_and_says_what_it_is() {
    let (world, _upstream) = world().await;
    for (asked, coding) in [
        ("gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("gzip;q=0.5, br;q=0.1", "gzip"),
        ("*", "zstd"),
    ] {
        for path in ["/site", "/site/chunked"] {
            let answer = world.ask(&asking(path, &accepts(asked))).await;
            assert_eq!(answer.header("content-encoding"), coding, "{path} {asked}");
            assert_eq!(decoded(&answer), page(), "{path} {asked}");
            assert!(answer.body.len() < page().len() / 5, "{}", answer.body.len());
            assert_eq!(answer.header("etag"), format!("\"v1~{coding}\""));
            assert_eq!(answer.header("vary"), "Accept-Encoding");
            assert_eq!(answer.header("accept-ranges"), "");
            assert_eq!(answer.header("transfer-encoding"), "chunked");
        }
    }
    let trailing = format!("{}TE: trailers\r\nConnection: TE\r\n", accepts("br"));
    let answer = world.ask(&asking("/site/chunked", &trailing)).await;
    assert_eq!(
        (decoded(&answer), answer.trailers),
        (page(), vec![("x-sum".to_owned(), "7".to_owned())])
    );
    for (path, asked, vary) in [("/site", "identity", "Accept-Encoding"), ("/other", "gzip", "")] {
        let answer = world.ask(&asking(path, &accepts(asked))).await;
        assert_eq!((answer.text(), answer.header("vary").as_str()), (page(), vary));
        assert_eq!(answer.header("etag"), "\"v1\"");
        assert_eq!(answer.header("content-length"), page().len().to_string());
    }
    let old = "GET /site HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n";
    assert_eq!(decoded(&world.ask(old).await), page());
}

#[tokio::test]
async fn a_head_says_what_a_get_would_have_got() {
    let (world, _upstream) = world().await;
    let mut client = world.client().await;
    for path in ["/site", "/site/chunked"] {
        let request = asking(path, &accepts("br")).replacen("GET", "HEAD", 1);
        client.send(request).await;
        let answer = client.head().await.unwrap();
        let said = ["content-encoding", "etag", "vary", "content-length"].map(|name| answer.header(name));
        assert_eq!(said, ["br", "\"v1~br\"", "Accept-Encoding", ""], "{path}");
    }
}

#[tokio::test]
async fn who_has_the_compressed_form_is_told_that_it_is_the_same() {
    let (world, _upstream) = world().await;
    let asked = |more: &str| asking("/site", &format!("{}{more}", accepts("br")));
    for (tag, told) in [
        ("\"v1~br\"", "\"v1~br\""),
        ("W/\"v1~br\"", "\"v1~br\""),
        ("\"v1\"", "\"v1\""),
    ] {
        let answer = world.ask(&asked(&format!("If-None-Match: {tag}\r\n"))).await;
        assert_eq!(
            (answer.status(), answer.header("etag").as_str()),
            (304, told),
            "{tag}"
        );
        assert_eq!(answer.header("vary"), "Accept-Encoding");
    }
    // In another coding than it would come in now: whole.
    let answer = world.ask(&asked("If-None-Match: \"v1~gzip\"\r\n")).await;
    assert_eq!((answer.status(), decoded(&answer)), (200, page()));
    let range = |tag: &str| asked(&format!("Range: bytes=0-3\r\nIf-Range: {tag}\r\n"));
    let whole = world.ask(&range("\"v1~br\"")).await;
    assert_eq!((whole.status(), decoded(&whole)), (200, page()));
    let part = world.ask(&range("\"v1\"")).await;
    assert_eq!(
        (
            part.status(),
            part.text().as_str(),
            part.header("content-encoding").as_str()
        ),
        (206, "word", "")
    );
}

#[tokio::test]
async fn what_is_not_known_to_end_is_never_held_back() {
    // Each permit lets the app say one thing more.
    let go = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&go);
    let upstream = Upstream::start(move |mut wire| {
        let permits = Arc::clone(&permits);
        async move {
            while wire.head().await.is_some() {
                wire.send(
                    "HTTP/1.1 200 X\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
                )
                .await;
                for n in 0..3 {
                    permits.acquire().await.unwrap().forget();
                    wire.send(format!("9\r\ndata: {n}\n\n\r\n")).await;
                }
                permits.acquire().await.unwrap().forget();
                wire.send("0\r\n\r\n").await;
            }
        }
    })
    .await;
    let world = World::with(&[upstream.address], |s| {
        s.routes = vec![
            route("all", on(&["text/*"])),
            route("named", on(&["text/event-stream"])),
        ];
    })
    .await;
    for coding in ["gzip", "br", "zstd"] {
        let mut client = world.client().await;
        client.send(asking("/named", &accepts(coding))).await;
        let head = client.head().await.unwrap();
        assert_eq!(head.header("content-encoding"), coding);
        let mut body = Vec::new();
        for n in 0..3 {
            go.add_permits(1);
            let wanted = format!("data: {n}\n\n");
            while !begun(coding, &body).ends_with(&wanted) {
                body.extend(chunk(&mut client).await);
            }
        }
        go.add_permits(1);
        loop {
            let more = chunk(&mut client).await;
            if more.is_empty() {
                break;
            }
            body.extend(more);
        }
        assert_eq!(decode(coding, &body), "data: 0\n\ndata: 1\n\ndata: 2\n\n");
    }
    go.add_permits(4);
    let plain = world.ask(&asking("/all", &accepts("gzip"))).await;
    assert_eq!(plain.header("content-encoding"), "");
}

async fn chunk(client: &mut Wire) -> Vec<u8> {
    let size = client.line().await.unwrap();
    let chunk = client
        .bytes(usize::from_str_radix(&size, 16).unwrap())
        .await
        .unwrap();
    client.line().await.unwrap();
    chunk
}

/// What can be read of a stream that has not ended.
fn begun(coding: &str, body: &[u8]) -> String {
    let mut out = Vec::new();
    let _cut_short = match coding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_end(&mut out),
        "br" => brotli::Decompressor::new(body, 4096).read_to_end(&mut out),
        _ => zstd::Decoder::new(body).unwrap().read_to_end(&mut out),
    };
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn http2_gets_the_same_and_calls_stay_as_they_are() {
    let instance = Instance::start(|request, mut reply| async move {
        let call = request.headers().get("content-type").is_some();
        let kind = if call { "application/grpc" } else { "text/plain" };
        let head = http::Response::builder()
            .header("content-type", kind)
            .body(())
            .unwrap();
        let Ok(mut stream) = reply.send_response(head, false) else {
            return;
        };
        let _gone = stream.send_data(Bytes::from(page()), false);
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let _gone = stream.send_trailers(trailers);
    })
    .await;
    let world = with(&[&instance], |s| {
        s.settings.filters = on(&["text/*", "application/grpc"])
    })
    .await;
    let client = Client::connect(&world).await;
    for (kind, coding) in [(None, "br"), (Some("application/grpc"), "")] {
        let mut request = Request::get("http://a.example/x").header("accept-encoding", "br");
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let (answer, _) = client.send(request.body(()).unwrap(), true).await;
        let answer = soon(answer).await.unwrap();
        let said = answer
            .headers()
            .get("content-encoding")
            .map_or("", |v| v.to_str().unwrap());
        assert_eq!(said, coding);
        let (body, trailers) = soon(bytes_of(answer.into_body())).await;
        let text = if coding.is_empty() {
            String::from_utf8(body).unwrap()
        } else {
            decode(coding, &body)
        };
        assert_eq!(
            (text, &trailers.unwrap()["grpc-status"]),
            (page(), &"0".parse::<http::HeaderValue>().unwrap())
        );
    }
}

async fn bytes_of(mut body: h2::RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        bytes.extend_from_slice(&data);
    }
    (bytes, body.trailers().await.unwrap())
}

#[tokio::test]
async fn files_are_compressed_once() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("app.css"), page()).unwrap();
    std::fs::write(dir.path().join("app.js"), page()).unwrap();
    std::fs::write(dir.path().join("app.js.br"), "packed before").unwrap();
    let upstream = Upstream::answering(|_| String::new()).await;
    let world = World::with(&[upstream.address], |s| {
        let mut files = route("site", on(&["text/*"]));
        files.action = RouteAction::Static(StaticFiles {
            dir: dir.path().to_owned(),
            cache_control: "no-cache".to_owned(),
            fallback: None,
            not_found: None,
        });
        s.routes = vec![files];
    })
    .await;
    let cookie = format!("{}Cookie: a=1\r\n", accepts("br"));
    let answer = world.ask(&asking("/site/app.css", &cookie)).await;
    assert_eq!(
        (decoded(&answer), answer.header("vary").as_str()),
        (page(), "accept-encoding")
    );
    let tag = answer.header("etag");
    assert!(tag.ends_with("~br\""), "{tag}");
    let again = world
        .ask(&asking(
            "/site/app.css",
            &format!("{cookie}If-None-Match: {tag}\r\n"),
        ))
        .await;
    assert_eq!((again.status(), again.header("etag")), (304, tag));
    let packed = world.ask(&asking("/site/app.js", &accepts("br"))).await;
    assert_eq!(
        (packed.text().as_str(), packed.header("content-encoding").as_str()),
        ("packed before", "br")
    );
    let mut client = world.client().await;
    client
        .send(asking("/site/app.css", &accepts("gzip")).replacen("GET", "HEAD", 1))
        .await;
    let head = client.head().await.unwrap();
    assert_eq!(
        (
            head.header("content-encoding").as_str(),
            head.header("content-length").as_str()
        ),
        ("gzip", "")
    );
    client.send(get("/site/app.css")).await;
    assert_eq!(client.message().await.unwrap().text(), page());
}

#[tokio::test]
async fn limits_count_what_the_app_sent_and_a_broken_answer_is_seen_to_be_broken() {
    let upstream = Upstream::start(|mut wire| async move {
        while let Some(request) = wire.message().await {
            let body = "a".repeat(50_000);
            wire.send("HTTP/1.1 200 X\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            wire.send(format!("{:x}\r\n{body}\r\n", body.len())).await;
            if request.target() == "/site/broken" {
                return;
            }
            wire.send("0\r\n\r\n").await;
        }
    })
    .await;
    let mut world = World::with(&[upstream.address], |s| {
        s.routes = vec![route("site", on(&["text/*"]))]
    })
    .await;
    let asked = asking("/site/broken", &accepts("gzip"));
    let mut client = world.client().await;
    client.send(asked).await;
    assert_eq!(client.message().await, None, "no last chunk");
    world
        .publish(|s| s.routes[0].bounds.response_body = Some(20_000))
        .await;
    let mut client = world.client().await;
    client.send(asking("/site/large", &accepts("gzip"))).await;
    assert_eq!(
        client.message().await,
        None,
        "50,000 plain bytes are above 20,000"
    );
    world
        .publish(|s| s.routes[0].bounds.response_body = Some(60_000))
        .await;
    let answer = world.ask(&asking("/site/large", &accepts("gzip"))).await;
    assert_eq!(decoded(&answer).len(), 50_000);
    // A body that a client sends is never touched.
    let sent = world.ask(&post("/site/post", "x")).await;
    assert_eq!(sent.text().len(), 50_000);
}
