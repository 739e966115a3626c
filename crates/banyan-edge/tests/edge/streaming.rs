//! Bodies flow as they come, in both directions, whole and with their framing.

use tokio::sync::mpsc;

use banyan_testkit::upstream::Upstream;

use crate::world::{World, get};

#[tokio::test]
async fn the_first_byte_of_an_answer_passes_before_the_last_is_sent() {
    let (go, gone) = mpsc::unbounded_channel::<()>();
    let gate = std::sync::Arc::new(tokio::sync::Mutex::new(gone));
    let upstream = Upstream::start(move |mut wire| {
        let gate = gate.clone();
        async move {
            if wire.message().await.is_none() {
                return;
            }
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
                .await;
            gate.lock().await.recv().await;
            wire.send("4\r\nlast\r\n0\r\n\r\n").await;
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    client.send(get("/")).await;
    assert_eq!(client.head().await.unwrap().status(), 200);
    assert_eq!(client.line().await.unwrap(), "5");
    assert_eq!(client.line().await.unwrap(), "first");
    go.send(()).unwrap();
    assert_eq!(client.line().await.unwrap(), "4");
    assert_eq!(client.line().await.unwrap(), "last");
}

#[tokio::test]
async fn the_first_byte_of_a_request_reaches_the_upstream_before_the_last_is_sent() {
    let (seen, mut saw) = mpsc::unbounded_channel::<Vec<u8>>();
    let upstream = Upstream::start(move |mut wire| {
        let seen = seen.clone();
        async move {
            if wire.head().await.is_none() {
                return;
            }
            for _ in 0..2 {
                seen.send(wire.bytes(5).await.unwrap()).unwrap();
            }
            wire.answer(200, "done").await;
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        .await;
    assert_eq!(saw.recv().await.unwrap(), b"first");
    client.send("-last").await;
    assert_eq!(saw.recv().await.unwrap(), b"-last");
    assert_eq!(client.message().await.unwrap().text(), "done");
}

fn pattern(length: usize) -> String {
    (0..length)
        .map(|i| char::from(b'a' + (i * 7 % 26) as u8))
        .collect()
}

#[tokio::test]
async fn large_bodies_arrive_whole_in_both_directions() {
    let upstream = Upstream::answering(|r| r.text()).await;
    let world = World::start(&[upstream.address]).await;
    let body = pattern(8 << 20);
    let mut client = world.client().await;
    for chunked in [false, true] {
        if chunked {
            client
                .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            for piece in body.as_bytes().chunks(300_001) {
                client.send(format!("{:x}\r\n", piece.len())).await;
                client.send(piece).await;
                client.send("\r\n").await;
            }
            client.send("0\r\n\r\n").await;
        } else {
            client.send(crate::world::post("/", &body)).await;
        }
        let answer = client.message().await.unwrap();
        assert_eq!(answer.body.len(), body.len());
        assert!(answer.text() == body, "the body was changed (chunked: {chunked})");
    }
}

#[tokio::test]
async fn head_and_bodyless_answers_keep_the_connection() {
    let upstream = Upstream::start(|mut wire| async move {
        while let Some(request) = wire.message().await {
            match request.target() {
                "/head" => wire.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await,
                "/204" => wire.send("HTTP/1.1 204 No Content\r\n\r\n").await,
                "/304" => {
                    wire.send("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n")
                        .await
                }
                _ => wire.answer(200, "end").await,
            }
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    client.send("HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = client.head().await.unwrap();
    assert_eq!(
        (answer.status(), answer.header("content-length").as_str()),
        (200, "1000")
    );
    for (path, status) in [("/204", 204), ("/304", 304), ("/end", 200)] {
        client.send(get(path)).await;
        assert_eq!(client.message().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let upstream = Upstream::start(|mut wire| async move {
        while let Some(request) = wire.message().await {
            let sum = request
                .trailers
                .iter()
                .map(|(n, v)| format!("{n}={v}"))
                .collect::<String>();
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
                 {:x}\r\n{sum}\r\n0\r\nX-Sum: 42\r\n\r\n",
                sum.len()
            ))
            .await;
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    let answer = world
        .ask(
            "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: x-check\r\n\r\n\
             1\r\na\r\n0\r\nX-Check: 7\r\n\r\n",
        )
        .await;
    assert_eq!(answer.text(), "x-check=7");
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "42".to_owned())]);
}

#[tokio::test]
async fn an_instance_that_never_asks_for_the_body_gets_it_after_a_while() {
    let upstream = Upstream::answering(|r| format!("{} {}", r.header("expect"), r.text())).await;
    let world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.head().await.unwrap().status(), 100);
    client.send("body").await;
    assert_eq!(client.message().await.unwrap().text(), "100-continue body");
}

#[tokio::test]
async fn an_answer_without_length_ends_with_the_upstream_connection() {
    let upstream = Upstream::start(|mut wire| async move {
        if wire.message().await.is_some() {
            wire.send("HTTP/1.0 200 OK\r\n\r\nto the end").await;
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    assert_eq!(world.get("/").await.text(), "to the end");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_passed_on_as_whole() {
    let upstream = Upstream::start(|mut wire| async move {
        if let Some(request) = wire.message().await {
            match request.target() {
                "/length" => {
                    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
                        .await
                }
                _ => {
                    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
                        .await
                }
            }
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    for path in ["/length", "/chunked"] {
        let mut client = world.client().await;
        client.send(get(path)).await;
        assert!(client.message().await.is_none(), "{path} looks complete");
    }
    assert!(
        world
            .logged(2)
            .await
            .iter()
            .all(|line| line["outcome"] == "unknown")
    );
}

#[tokio::test]
async fn an_early_answer_does_not_cut_the_request_off() {
    let (seen, mut saw) = mpsc::unbounded_channel::<Vec<u8>>();
    let upstream = Upstream::start(move |mut wire| {
        let seen = seen.clone();
        async move {
            if wire.head().await.is_none() {
                return;
            }
            wire.answer(202, "taken").await;
            seen.send(wire.bytes(10).await.unwrap()).unwrap();
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        .await;
    assert_eq!(client.message().await.unwrap().status(), 202);
    client.send("-last").await;
    assert_eq!(saw.recv().await.unwrap(), b"first-last");
}

#[tokio::test]
async fn an_instance_that_refuses_a_body_and_closes_is_still_heard() {
    let upstream = Upstream::start(|mut wire| async move {
        if wire.head().await.is_some() {
            wire.send("HTTP/1.1 403 X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
                .await;
        }
    })
    .await;
    let world = World::start(&[upstream.address]).await;
    let mut client = world.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
        .await;
    let answer = client.message().await.unwrap();
    assert_eq!((answer.status(), answer.text().as_str()), (403, "no"));
}
