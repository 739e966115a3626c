//! Bodies on their way: long ones, broken ones, trailers, interim answers, HTTP/2.

use std::sync::Arc;

use banyan_testkit::upstream::{Upstream, Wire};
use tokio::sync::Semaphore;

use super::{get, ok, origin, safe, said, world};

#[tokio::test]
async fn what_breaks_off_is_never_given_out_as_whole() {
    let (upstream, asked) = origin(|n, _| match n {
        1 => "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nbroken".to_owned(),
        _ => ok("Cache-Control: max-age=60\r\n", "abcdef"),
    })
    .await;
    let world = world(&upstream, safe()).await;
    let mut client = world.client().await;
    client.send(get("/", "")).await;
    assert!(
        client.message().await.is_none(),
        "the client sees that the end is missing"
    );
    assert_eq!(
        (world.get("/").await.text(), asked.count()),
        ("abcdef".to_owned(), 2)
    );
}

#[tokio::test]
async fn the_beginning_of_a_body_that_broke_off_is_completed_by_its_rest() {
    let upstream = Upstream::start(|mut wire: Wire| async move {
        while let Some(request) = wire.message().await {
            if request.header("range").is_empty() {
                wire.send("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n01234")
                    .await;
                return;
            }
            assert_eq!(request.header("range"), "bytes=5-9");
            wire.send("HTTP/1.1 206 Partial Content\r\nETag: \"a\"\r\nCache-Control: max-age=60\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n56789")
                .await;
        }
    })
    .await;
    let world = world(&upstream, safe()).await;
    let mut client = world.client().await;
    client.send(get("/", "")).await;
    assert!(client.message().await.is_none());
    assert_eq!(world.get("/").await.text(), "0123456789");
    assert!(said(&world.get("/").await).starts_with("hit"));
}

#[tokio::test]
async fn one_who_comes_in_the_middle_reads_along_from_the_beginning() {
    let go = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&go);
    let upstream = Upstream::start(move |mut wire: Wire| {
        let held = Arc::clone(&held);
        async move {
            while wire.message().await.is_some() {
                wire.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 6\r\n\r\nabc")
                    .await;
                held.acquire().await.unwrap().forget();
                wire.send("def").await;
            }
        }
    })
    .await;
    let world = world(&upstream, safe()).await;
    let (mut first, mut second) = (world.client().await, world.client().await);
    first.send(get("/", "")).await;
    let mut answer = first.head().await.unwrap();
    assert_eq!(first.bytes(3).await.unwrap(), b"abc");
    second.send(get("/", "")).await;
    let mut other = second.head().await.unwrap();
    assert!(said(&other).contains("; collapsed"), "{other:?}");
    assert_eq!(second.bytes(3).await.unwrap(), b"abc");
    go.add_permits(1);
    answer.headers.retain(|(name, _)| name != "content-length");
    other.headers.retain(|(name, _)| name != "content-length");
    assert_eq!(first.bytes(3).await.unwrap(), b"def");
    assert_eq!(second.bytes(3).await.unwrap(), b"def");
}

#[tokio::test]
async fn bodies_too_large_to_keep_pass_through_whatever_they_say_of_their_length() {
    const SIZE: usize = 3 << 20;
    let small = banyan_config::Cache {
        memory: 8 << 20,
        ..safe()
    };
    let (upstream, asked) = origin(|_, request| {
        let lines = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n";
        let body = "x".repeat(SIZE);
        if request.target() == "/known" {
            return format!("{lines}Content-Length: {SIZE}\r\n\r\n{body}");
        }
        format!("{lines}Transfer-Encoding: chunked\r\n\r\n{SIZE:x}\r\n{body}\r\n0\r\n\r\n")
    })
    .await;
    let world = world(&upstream, small).await;
    for path in ["/known", "/unknown"] {
        for _ in 0..2 {
            assert_eq!(world.get(path).await.body.len(), SIZE, "{path}");
        }
    }
    assert_eq!(asked.count(), 4);
    assert_eq!(said(&world.get("/known").await), "fwd=uri-miss; detail=too-large");
}

#[tokio::test]
async fn trailers_are_kept_behind_the_body() {
    let (upstream, asked) = origin(|_, _| {
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n".to_owned()
    })
    .await;
    let world = world(&upstream, safe()).await;
    for _ in 0..2 {
        let answer = world.ask(&get("/", "TE: trailers\r\n")).await;
        assert_eq!(
            (answer.text().as_str(), answer.header("x-sum").as_str()),
            ("a", "")
        );
        assert_eq!(answer.trailers, [("x-sum".to_owned(), "1".to_owned())]);
    }
    assert_eq!(asked.count(), 1);
}

#[tokio::test]
async fn interim_answers_go_out_as_they_come_and_are_not_kept() {
    let go = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&go);
    let upstream = Upstream::start(move |mut wire: Wire| {
        let held = Arc::clone(&held);
        async move {
            while wire.message().await.is_some() {
                wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
                    .await;
                held.acquire().await.unwrap().forget();
                wire.send(ok("Cache-Control: max-age=60\r\n", "body")).await;
            }
        }
    })
    .await;
    let world = world(&upstream, safe()).await;
    let mut client = world.client().await;
    client.send(get("/", "")).await;
    let hint = client.head().await.unwrap();
    assert_eq!((hint.status(), hint.header("link").as_str()), (103, "</a.css>"));
    go.add_permits(1);
    let answer = client.message().await.unwrap();
    assert_eq!(
        (
            answer.status(),
            answer.text().as_str(),
            answer.header("link").as_str()
        ),
        (200, "body", "")
    );
    client.send(get("/", "")).await;
    let hit = client.head().await.unwrap();
    assert_eq!((hit.status(), hit.header("link").as_str()), (200, ""));
}

/// Of a body that is too long to be kept, and says nothing of its length.
#[tokio::test]
async fn who_reads_nothing_does_not_hold_up_others_who_read_the_same() {
    const PIECES: usize = 48;
    let begun = Arc::new(Semaphore::new(0));
    let go = Arc::clone(&begun);
    let upstream = Upstream::start(move |mut wire: Wire| {
        let go = Arc::clone(&go);
        async move {
            while wire.message().await.is_some() {
                wire.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
                    .await;
                go.acquire().await.unwrap().forget();
                let piece = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
                for _ in 0..PIECES {
                    wire.send(&piece).await;
                }
                wire.send("0\r\n\r\n").await;
            }
        }
    })
    .await;
    let world = world(&upstream, safe()).await;
    let mut idle = world.client().await;
    idle.send(get("/", "")).await;
    idle.head().await.expect("a head");
    let mut reads = world.client().await;
    reads.send(get("/", "")).await;
    let mut answer = reads.head().await.expect("a head");
    assert!(said(&answer).contains("collapsed"), "{answer:?}");
    begun.add_permits(1);
    let whole = reads.body_of(&mut answer).await;
    assert!(whole.is_some(), "{} of {PIECES} MiB", answer.body.len() >> 20);
    assert_eq!(answer.body.len(), 1 + (PIECES << 20));
}
