//! Origins that are slow, break off, lie or send too much: nothing of it is ever given to anybody as if it were right.

use std::sync::Arc;

use banyan_testkit::upstream::{Message, Upstream, Wire};
use tokio::sync::Semaphore;

use super::both::{Tier, both};
use super::{answer, get, ok, origin, rfc, safe};

both!(
    a_body_shorter_than_it_says_is_never_given_out_again,
    what_comes_behind_a_body_is_no_answer_to_anybody,
    a_rest_under_another_tag_is_not_joined_to_the_beginning,
    a_part_that_is_another_than_asked_for_is_not_joined,
    parts_that_are_of_other_lengths_are_not_joined,
    two_lengths_are_refused_and_nothing_is_kept,
);

const TAGGED: &str = "Cache-Control: max-age=3600\r\nETag: \"a\"\r\n";

/// Answers the first request with these bytes and closes, all others as `later` says.
async fn at_first(
    first: &'static str,
    later: impl Fn(&Message) -> String + Clone + Send + Sync + 'static,
) -> Upstream {
    let once = Arc::new(Semaphore::new(1));
    Upstream::start(move |mut wire: Wire| {
        let (once, later) = (Arc::clone(&once), later.clone());
        async move {
            while let Some(request) = wire.message().await {
                if let Ok(first_time) = once.try_acquire() {
                    first_time.forget();
                    wire.send(first).await;
                    return;
                }
                wire.send(later(&request)).await;
            }
        }
    })
    .await
}

/// Asks for `/` whatever becomes of it.
async fn try_it(world: &super::both::Cached) -> Option<Message> {
    let mut client = world.client().await;
    client.send(get("/", "")).await;
    client.message().await
}

/// RFC 9112 §8; RFC 9111 §3.3: without a strong validator nothing of it is kept.
async fn a_body_shorter_than_it_says_is_never_given_out_again(tier: Tier) {
    for validator in ["", "ETag: W/\"a\"\r\n"] {
        let first: &'static str = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\n{validator}Content-Length: 10\r\n\r\n01234"
        )
        .leak();
        let upstream = at_first(first, |request| {
            assert_eq!(request.header("range"), "");
            ok("Cache-Control: max-age=3600\r\n", "whole")
        })
        .await;
        let world = tier.world(&upstream, safe()).await;
        assert!(
            try_it(&world).await.is_none(),
            "the client sees that the end is missing"
        );
        for _ in 0..2 {
            assert_eq!(world.get("/").await.text(), "whole");
        }
    }
}

/// RFC 9112 §6.3: a body ends where its length says; the connection's rest is nobody's.
async fn what_comes_behind_a_body_is_no_answer_to_anybody(tier: Tier) {
    let first = "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nContent-Length: 4\r\n\r\ngoodHTTP/1.1 200 OK\r\n\
                 Cache-Control: max-age=3600\r\nContent-Length: 4\r\n\r\nevil";
    let upstream = at_first(first, |_| ok(TAGGED, "next")).await;
    let world = tier.world(&upstream, safe()).await;
    assert_eq!(world.get("/").await.text(), "good");
    assert_eq!(world.get("/other").await.text(), "next");
    assert_eq!(
        (world.get("/").await.text(), world.get("/other").await.text()),
        ("good".into(), "next".into())
    );
}

/// RFC 9111 §3.4; RFC 9110 §13.1.5.
async fn a_rest_under_another_tag_is_not_joined_to_the_beginning(tier: Tier) {
    let first =
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nETag: \"a\"\r\nContent-Length: 10\r\n\r\n01234";
    for other in ["ETag: \"b\"\r\n", "ETag: W/\"a\"\r\n", ""] {
        let upstream = at_first(first, move |request| {
            if request.header("range").is_empty() {
                return ok("Cache-Control: max-age=3600\r\nETag: \"b\"\r\n", "abcdefghij");
            }
            let lines = format!("Cache-Control: max-age=3600\r\n{other}Content-Range: bytes 5-9/10\r\n");
            answer("206 Partial Content", &lines, "fghij")
        })
        .await;
        let world = tier.world(&upstream, safe()).await;
        assert!(try_it(&world).await.is_none());
        for _ in 0..2 {
            assert_eq!(world.get("/").await.text(), "abcdefghij", "{other}");
        }
    }
}

/// RFC 9110 §15.3.7: `Content-Range` says what came.
async fn a_part_that_is_another_than_asked_for_is_not_joined(tier: Tier) {
    let first =
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nETag: \"a\"\r\nContent-Length: 10\r\n\r\n01234";
    for (range, body) in [
        ("5-9/10", "567"),
        ("5-9/10", "56789x"),
        ("0-4/10", "01234"),
        ("5-9/11", "56789"),
    ] {
        let upstream = at_first(first, move |request| {
            if request.header("range").is_empty() {
                return ok(TAGGED, "0123456789");
            }
            let lines = format!("{TAGGED}Content-Range: bytes {range}\r\n");
            answer("206 Partial Content", &lines, body)
        })
        .await;
        let world = tier.world(&upstream, safe()).await;
        assert!(try_it(&world).await.is_none());
        for _ in 0..2 {
            let got = try_it(&world).await.map(|got| got.text());
            assert_eq!(got.as_deref(), Some("0123456789"), "{range} {body}");
        }
    }
}

/// RFC 9111 §3.4: under one tag, and still not of one body.
async fn parts_that_are_of_other_lengths_are_not_joined(tier: Tier) {
    let (upstream, _asked) = origin(|_, request| match request.header("range").as_str() {
        "bytes=0-4" => answer(
            "206 X",
            &format!("{TAGGED}Content-Range: bytes 0-4/10\r\n"),
            "01234",
        ),
        "bytes=5-9" => answer(
            "206 X",
            &format!("{TAGGED}Content-Range: bytes 5-9/11\r\n"),
            "fghij",
        ),
        _ => ok(TAGGED, "abcdefghijk"),
    })
    .await;
    let world = tier.world(&upstream, rfc()).await;
    for range in ["0-4", "5-9"] {
        world.ask(&get("/", &format!("Range: bytes={range}\r\n"))).await;
    }
    for _ in 0..2 {
        assert_eq!(world.get("/").await.text(), "abcdefghijk");
    }
}

/// RFC 9112 §6.3.
async fn two_lengths_are_refused_and_nothing_is_kept(tier: Tier) {
    let first = "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde";
    let upstream = at_first(first, |_| ok("Cache-Control: max-age=3600\r\n", "good")).await;
    let world = tier.world(&upstream, rfc()).await;
    let first = world.get("/").await;
    assert!(first.status() == 502 || first.text() == "good", "{first:?}");
    for _ in 0..2 {
        assert_eq!(world.get("/").await.text(), "good");
    }
}
