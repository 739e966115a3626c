//! `grpc`: HTTP with JSON in, a gRPC call out, over real sockets against a server on the h2 crate.

use std::collections::BTreeMap;
use std::time::Duration;

use banyan_config::{Descriptors, Route, RouteAction, Transcode};
use banyan_testkit::upstream::Message;
use http::{HeaderMap, Request, Response};

use crate::h2_peer::{Asked, Client, Instance, Reply, soon, with};
use crate::routes::{prefix, route};
use crate::world::World;

/// Described by shop.json beside it.
const SHOP: &[u8] = include_bytes!("../../../banyan-transcode/sample/shop.pb");

fn shop(max: u64) -> Route {
    let plain = ("POST /v1/plain".to_owned(), "shop.v1.Shop/Plain".to_owned());
    let action = RouteAction::Grpc(Transcode {
        process: "web".parse().unwrap(),
        file: "shop.pb".into(),
        descriptors: Descriptors(SHOP.to_vec()),
        services: vec!["shop.v1.Shop".to_owned()],
        bindings: BTreeMap::from([plain]),
        max,
    });
    route("shop", prefix("/v1"), action)
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], length.as_slice(), message].concat()
}

fn head() -> http::response::Builder {
    Response::builder().header("content-type", "application/grpc")
}

fn status(code: &str, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    if !message.is_empty() {
        trailers.insert("grpc-message", message.parse().unwrap());
    }
    trailers
}

/// One message, then this status.
fn end(mut reply: Reply, message: &[u8], trailers: HeaderMap) {
    if let Ok(mut stream) = reply.send_response(head().body(()).unwrap(), false) {
        let _gone = stream.send_data(framed(message).into(), false);
        let _gone = stream.send_trailers(trailers);
    }
}

/// What arrived: the method, the message, and what went with it.
async fn arrived(request: Asked) -> (String, Vec<u8>, HeaderMap) {
    let (head, mut body) = request.into_parts();
    let mut bytes = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        let _gone = body.flow_control().release_capacity(data.len());
        bytes.extend_from_slice(&data);
    }
    assert_eq!(head.method, "POST");
    assert_eq!(head.headers["te"], "trailers");
    assert_eq!(head.headers["content-type"], "application/grpc");
    (head.uri.path().to_owned(), bytes, head.headers)
}

async fn server() -> Instance {
    Instance::start(|request, mut reply| async move {
        let (path, message, headers) = arrived(request).await;
        match (path.as_str(), message.get(5..).unwrap_or_default()) {
            // An item of the same id, named by what came with the call.
            ("/shop.v1.Shop/GetItem", [0x08, id]) => {
                assert!(headers.contains_key("grpc-timeout"), "{headers:?}");
                assert!(!headers.contains_key("accept-encoding") && !headers.contains_key("grpc-trace"));
                let name = headers["authorization"].as_bytes();
                let length = u8::try_from(name.len()).unwrap();
                end(
                    reply,
                    &[&[0x08, *id, 0x12, length], name].concat(),
                    status("0", ""),
                );
            }
            ("/shop.v1.Shop/GetItem", [0x08, 0xe8, 0x07]) => {
                let mut only = head().body(()).unwrap();
                only.headers_mut().extend(status("5", "no item 1000 %25"));
                let _gone = reply.send_response(only, true);
            }
            ("/shop.v1.Shop/AddItem", item) => end(reply, item, status("0", "")),
            ("/shop.v1.Shop/PutItem", _) => end(reply, &[], status("9", "")),
            ("/shop.v1.Shop/ListItems", _) => end(reply, &[0x0a, 2, 0x08, 1], status("0", "")),
            ("/shop.v1.Shop/MoveItem", _) => std::future::pending().await,
            ("/shop.v1.Shop/Plain", [0x0a, 1, b'm']) => end(reply, &[0xff], status("0", "")),
            ("/shop.v1.Shop/Plain", [0x0a, 1, b'l']) => end(reply, &[0; 3000], status("0", "")),
            ("/shop.v1.Shop/Plain", [0x0a, 1, b'h']) => {
                let _gone = reply.send_response(Response::builder().status(404).body(()).unwrap(), true);
            }
            ("/shop.v1.Shop/Plain", [0x0a, 1, b't']) => {
                if let Ok(mut stream) = reply.send_response(head().body(()).unwrap(), false) {
                    let _gone = stream.send_data(framed(&[]).into(), true);
                }
            }
            other => panic!("{other:?}"),
        }
    })
    .await
}

async fn ask(world: &World, line: &str, fields: &str, body: &str) -> Message {
    let length = body.len();
    let request =
        format!("{line} HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n{fields}\r\n{body}");
    world.ask(&request).await
}

#[tokio::test]
async fn json_becomes_a_call_and_its_answer_json() {
    let instance = server().await;
    let world = with(&[&instance], |s| s.routes = vec![shop(10_000)]).await;
    let fields = "Authorization: Bearer t\r\nAccept-Encoding: gzip\r\nGrpc-Trace: x\r\nTE: trailers\r\nConnection: te\r\n";
    let answer = ask(&world, "GET /v1/items/7", fields, "").await;
    assert_eq!(answer.text(), "{\"id\":\"7\",\"name\":\"Bearer t\"}\n");
    let said = ["content-type", "cache-control", "grpc-status"].map(|name| answer.header(name));
    assert_eq!(
        (answer.status(), said.each_ref().map(String::as_str)),
        (200, ["application/json", "private, no-cache", ""])
    );
    let json = "Content-Type: application/json; charset=utf-8\r\nExpect: 100-continue\r\n";
    let answer = ask(
        &world,
        "POST /v1/items",
        json,
        "{\"color\":\"RED\",\"tags\":[\"a\"]}",
    )
    .await;
    assert_eq!(answer.text(), "{\"color\":\"RED\",\"tags\":[\"a\"]}\n");
    // A field of the answer is the whole of it.
    assert_eq!(
        ask(&world, "GET /v1/items", "", "").await.text(),
        "[{\"id\":\"1\"}]\n"
    );
    // HTTP/2 in, and HEAD.
    let client = Client::connect(&world).await;
    let request = Request::post("http://a.example/v1/items").body(()).unwrap();
    let (answer, text, _) = soon(client.ask(request, Some("{\"name\":\"Hat\"}"))).await;
    assert_eq!(
        (answer.status().as_u16(), text.as_str()),
        (200, "{\"name\":\"Hat\"}\n")
    );
    let request = Request::head("http://a.example/v1/items").body(()).unwrap();
    let (answer, text, _) = soon(client.ask(request, None)).await;
    assert_eq!((answer.status().as_u16(), text.as_str()), (200, ""));
}

#[tokio::test]
async fn a_status_becomes_its_http_status_with_the_words() {
    let instance = server().await;
    let mut world = with(&[&instance], |s| s.routes = vec![shop(10_000)]).await;
    let answer = ask(&world, "GET /v1/items/1000", "Authorization: x\r\n", "").await;
    let id = answer.header("x-request-id");
    let expected = format!(
        "{{\"error\":\"no item 1000 %\",\"grpc_status\":\"NOT_FOUND\",\"request_id\":\"{id}\",\"status\":404}}\n"
    );
    assert_eq!((answer.status(), answer.text()), (404, expected));
    let answer = ask(&world, "PUT /v1/items/7", "", "{}").await;
    assert_eq!(answer.status(), 400);
    assert!(
        answer.text().contains("\"error\":\"FAILED_PRECONDITION\""),
        "{}",
        answer.text()
    );
    world
        .publish(|s| s.routes[0].bounds.timeout = Some(Duration::from_millis(200)))
        .await;
    let late = ask(&world, "POST /v1/shelves/a/items/b:move", "", "{}").await;
    assert_eq!(late.status(), 504);
}

#[tokio::test]
async fn mistakes_are_answered_before_anybody_is_called() {
    let instance = server().await;
    let world = with(&[&instance], |s| s.routes = vec![shop(1000)]).await;
    for (line, fields, body, status, told) in [
        ("GET /v1/nothing", "", "", 404, "there is nothing"),
        ("DELETE /v1/items/7", "", "", 405, "not served here"),
        ("GET /v1/items/seven", "", "", 400, ""),
        ("GET /v1/items/7?colour=RED", "", "", 400, "no field `colour`"),
        ("POST /v1/items", "", "{\"name\":", 400, "no JSON"),
        (
            "POST /v1/items",
            "Content-Type: text/plain\r\n",
            "{}",
            415,
            "plain JSON",
        ),
        (
            "POST /v1/items",
            "Content-Encoding: gzip\r\n",
            "{}",
            415,
            "plain JSON",
        ),
    ] {
        let answer = ask(&world, line, fields, body).await;
        assert_eq!(answer.status(), status, "{line} {body}");
        assert!(answer.text().contains(told), "{line}: {}", answer.text());
    }
    assert_eq!(
        ask(&world, "DELETE /v1/items/7", "", "").await.header("allow"),
        "GET, PUT"
    );
    let large = format!("{{\"name\":\"{}\"}}", "a".repeat(2000));
    assert_eq!(ask(&world, "POST /v1/items", "", &large).await.status(), 413);
    assert_eq!(instance.connections(), 0);
}

#[tokio::test]
async fn answers_that_are_none_are_bad_gateways() {
    let instance = server().await;
    let world = with(&[&instance], |s| s.routes = vec![shop(1000)]).await;
    for kind in ["m", "l", "h", "t"] {
        let answer = ask(&world, "POST /v1/plain", "", &format!("{{\"name\":\"{kind}\"}}")).await;
        assert_eq!(answer.status(), 502, "{kind}: {}", answer.text());
    }
}

#[tokio::test]
async fn calls_in_grpc_itself_pass_as_they_are() {
    let instance = server().await;
    let world = with(&[&instance], |s| {
        s.routes = vec![route("all", prefix("/shop.v1.Shop"), shop(1000).action)]
    })
    .await;
    let client = Client::connect(&world).await;
    let request = Request::post("http://a.example/shop.v1.Shop/AddItem")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let body = String::from_utf8(framed(b"\x12\x03Hat")).unwrap();
    let (answer, text, trailers) = soon(client.ask(request, Some(&body))).await;
    assert_eq!((answer.status().as_u16(), text), (200, body));
    assert_eq!(trailers["grpc-status"], "0");
}
