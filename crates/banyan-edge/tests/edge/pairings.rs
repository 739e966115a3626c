//! Every pairing of client and instance, HTTP/1 or HTTP/2 on either side: the same rows for all four.

mod ways;

use std::sync::Arc;

use http::{Request, Response};
use tokio::sync::{Mutex, mpsc};

use banyan_config::Protocol;
use banyan_testkit::upstream::{Upstream, Wire};

use crate::h2_peer::{Client, Instance, Reply, soon};
use crate::world::World;
use ways::{Ask, all, get, post};

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
