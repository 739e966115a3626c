//! gRPC through the edge: streams both ways with trailers, refusals as calls end, deadlines, health, judging instances.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use tokio::sync::mpsc;

use banyan_config::{Balance, GRPC_HEALTH, ReadyProbe};

use crate::h2_peer::{Client, Instance, Reply, before, read, soon, with};
use crate::world::World;

fn call(path: &str) -> http::request::Builder {
    Request::post(format!("http://shop.example{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

/// Framed.
fn message(text: &str) -> String {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    let mut framed = vec![0];
    framed.extend_from_slice(&length);
    framed.extend_from_slice(text.as_bytes());
    String::from_utf8(framed).unwrap()
}

fn head() -> Response<()> {
    let head = Response::builder().header("content-type", "application/grpc");
    head.body(()).unwrap()
}

fn trailers(status: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    trailers.insert("x-trailer", "t".parse().unwrap());
    trailers
}

/// One message and this status.
fn end(mut reply: Reply, status: &str) {
    if let Ok(mut stream) = reply.send_response(head(), false) {
        let _gone = stream.send_data(message("one").into(), false);
        let _gone = stream.send_trailers(trailers(status));
    }
}

#[tokio::test]
async fn messages_stream_both_ways_at_once_and_trailers_end_them() {
    let instance = Instance::start(|request, mut reply| async move {
        assert_eq!(request.headers()["te"], "trailers");
        let mut stream = reply.send_response(head(), false).unwrap();
        let mut body = request.into_body();
        while let Some(Ok(data)) = body.data().await {
            let _gone = body.flow_control().release_capacity(data.len());
            stream.send_data(data, false).unwrap();
        }
        stream.send_trailers(trailers("0")).unwrap();
    })
    .await;
    let world = before(&[&instance]).await;
    let client = Client::connect(&world).await;
    let (answer, mut stream) = client
        .send(call("/shop.Chat/Talk").body(()).unwrap(), false)
        .await;
    let mut body = soon(answer).await.unwrap().into_body();
    for n in 0..5 {
        let said = message(&format!("hello {n}"));
        stream.send_data(said.clone().into(), false).unwrap();
        let heard = soon(body.data()).await.unwrap().unwrap();
        assert_eq!(heard, said.as_bytes());
        body.flow_control().release_capacity(heard.len()).unwrap();
    }
    stream.send_data(Bytes::new(), true).unwrap();
    let (rest, trailers) = soon(read(&mut body)).await.unwrap();
    let trailers = trailers.unwrap();
    assert_eq!(
        (rest.as_str(), &trailers["grpc-status"], &trailers["x-trailer"]),
        ("", &"0".parse().unwrap(), &"t".parse().unwrap())
    );
    let logged = world.logged(1).await;
    assert_eq!(
        (&logged[0]["status"], &logged[0]["outcome"]),
        (&200.into(), &"answered".into())
    );
}

#[tokio::test]
async fn an_answer_without_messages_passes_as_it_is() {
    let instance = Instance::start(|_, mut reply| async move {
        let mut answer = head();
        answer.headers_mut().insert("grpc-status", "5".parse().unwrap());
        answer
            .headers_mut()
            .insert("grpc-message", "no such thing".parse().unwrap());
        reply.send_response(answer, true).unwrap();
    })
    .await;
    let world = before(&[&instance]).await;
    let client = Client::connect(&world).await;
    let (answer, _) = client.send(call("/a.B/C").body(()).unwrap(), true).await;
    let answer = soon(answer).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "5");
    assert!(answer.body().is_end_stream(), "one frame says it all");
}

#[tokio::test]
async fn refusals_end_a_call_as_grpc_says_it() {
    let world = World::with(&[], |s| {
        s.settings.timeouts.no_endpoint = Duration::from_millis(50)
    })
    .await;
    let client = Client::connect(&world).await;
    let (head, text, _) = client
        .ask(call("/a.B/C").body(()).unwrap(), Some(&message("x")))
        .await;
    assert_eq!((head.status().as_u16(), text.as_str()), (200, ""));
    assert_eq!(head.headers()["grpc-status"], "14");
    assert_eq!(head.headers()["content-type"], "application/grpc");
    assert!(
        head.headers()["grpc-message"]
            .to_str()
            .unwrap()
            .contains("no instance")
    );
    assert_eq!(
        world.logged(1).await[0]["status"],
        503,
        "the log says what it means"
    );
    let request = Request::post("http://a/").header("content-type", "application/json");
    let (head, _, _) = client.ask(request.body(()).unwrap(), Some("{}")).await;
    assert_eq!(head.status(), 503, "others get a page");
}

#[tokio::test]
async fn a_call_has_the_time_that_its_caller_gives_it() {
    let (told, mut heard) = mpsc::unbounded_channel();
    let instance = Instance::start(move |request, reply| {
        let told = told.clone();
        async move {
            let timeout = request.headers()["grpc-timeout"].to_str().unwrap().to_owned();
            told.send((timeout, reply)).unwrap();
        }
    })
    .await;
    let world = before(&[&instance]).await;
    let client = Client::connect(&world).await;
    let request = call("/a.B/C").header("grpc-timeout", "300m").body(()).unwrap();
    let (answer, _, _) = client.ask(request, Some(&message("x"))).await;
    assert_eq!(answer.headers()["grpc-status"], "4");
    let (timeout, _reply) = soon(heard.recv()).await.unwrap();
    let left: u32 = timeout.strip_suffix('m').unwrap().parse().unwrap();
    assert!((1..=300).contains(&left), "{timeout}");
    let request = call("/a.B/C")
        .header("grpc-timeout", "90000000S")
        .body(())
        .unwrap();
    let (answer, _) = client.send(request, true).await;
    let (timeout, reply) = soon(heard.recv()).await.unwrap();
    assert_eq!(timeout, "10000m", "not more than the edge gives");
    end(reply, "0");
    assert_eq!(soon(answer).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_message_has_the_bodys_limit_and_a_stream_has_none() {
    let instance = Instance::start(|request, reply| async move {
        if read(&mut request.into_body()).await.is_ok() {
            end(reply, "0");
        }
    })
    .await;
    let world = with(&[&instance], |s| s.settings.limits.body = 100).await;
    let client = Client::connect(&world).await;
    let many = message(&"x".repeat(90)).repeat(10);
    let (_, _, trailers) = client.ask(call("/a.B/C").body(()).unwrap(), Some(&many)).await;
    assert_eq!(trailers["grpc-status"], "0");
    let long = message(&"x".repeat(101));
    let (head, _, _) = client.ask(call("/a.B/C").body(()).unwrap(), Some(&long)).await;
    assert_eq!(head.headers()["grpc-status"], "8");
}

#[tokio::test]
async fn an_instance_whose_calls_end_unavailable_is_ejected() {
    let sick = Instance::start(|_, reply| async move { end(reply, "14") }).await;
    let good = Instance::start(|_, reply| async move { end(reply, "0") }).await;
    let mut world = with(&[&sick, &good], |s| {
        s.settings.balance = Balance::RoundRobin;
        s.settings.health.eject = Duration::from_secs(600);
        s.settings.slow_start = Duration::ZERO;
    })
    .await;
    let client = Client::connect(&world).await;
    let mut asked = 0;
    while world.handle.report().endpoints[0].ejected.is_none() {
        client
            .ask(call("/a.B/C").body(()).unwrap(), Some(&message("x")))
            .await;
        asked += 1;
        assert!(asked < 200, "never ejected");
    }
    let report = world.until(|r| r.endpoints[0].ejected.is_some()).await;
    let why = report.endpoints[0].ejected.clone().unwrap();
    assert!(
        why.starts_with("5 requests in a row failed, the last answered 503"),
        "{why}"
    );
    assert_eq!(report.endpoints[1].ejected, None);
}

#[tokio::test]
async fn health_is_asked_by_grpcs_own_method() {
    let answering = |status: u8| {
        move |request: crate::h2_peer::Asked, mut reply: Reply| async move {
            assert_eq!(request.uri().path(), GRPC_HEALTH);
            let (asked, _) = read(&mut request.into_body()).await.unwrap();
            assert_eq!(&asked[7..], "shop.Orders");
            let mut stream = reply.send_response(head(), false).unwrap();
            stream
                .send_data(Bytes::from(vec![0, 0, 0, 0, 2, 8, status]), false)
                .unwrap();
            stream.send_trailers(trailers("0")).unwrap();
        }
    };
    let serving = Instance::start(answering(1)).await;
    let not_serving = Instance::start(answering(2)).await;
    let mut world = World::launch(&[serving.address, not_serving.address], |s| {
        for endpoint in &mut s.upstream.endpoints {
            endpoint.protocol = banyan_config::Protocol::H2;
        }
        s.upstream.ready = Some(ReadyProbe {
            path: GRPC_HEALTH.to_owned(),
            host: None,
            status: 200,
            service: Some("shop.Orders".to_owned()),
            interval: Duration::from_millis(50),
            timeout: Duration::from_secs(1),
            rise: 1,
            fall: 1,
        });
    })
    .await;
    let said = |r: &banyan_topology::report::EdgeReport| {
        r.endpoints[1].reason.as_deref() == Some("it says NOT_SERVING")
    };
    let report = world.until(|r| r.endpoints[0].healthy && said(r)).await;
    assert!(!report.endpoints[1].healthy);
}
