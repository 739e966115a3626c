//! Environment, readiness, what each rung adds, and the way out.

use banyan_testkit::process::Run;
use banyan_testkit::{Port, Postgres, Redis, wait};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::app::{App, LIMIT, example, text};

#[tokio::test]
async fn one_app_runs_with_a_database_alone_and_with_both_redis() {
    let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
    let (database, url) = (postgres.url(), redis.url());
    let alone = App::ready("guestbook", &[("DATABASE_URL", &database)]).await;
    let both = [
        ("DATABASE_URL", database.as_str()),
        ("REDIS_URL", &url),
        ("REDIS_CACHE_URL", &url),
    ];
    let with_redis = App::ready("guestbook", &both).await;
    assert_eq!(alone.post("/", "first").await.status(), 201);
    assert_eq!(text(&alone.get("/").await), "first");
    assert_eq!(text(&with_redis.get("/").await), "first");
    assert!(
        redis
            .command(&["HGET", "guestbook:page", "value"])
            .unwrap()
            .contains("first")
    );
    let written = with_redis.post("/", "second").await;
    assert_eq!(written.status(), 201);
    assert_eq!(text(&with_redis.get("/").await), "second\nfirst");
    // The row of an instance that has no cache is applied by one that has.
    assert_eq!(alone.post("/", "third").await.status(), 201);
    wait::until("the third line", LIMIT, async || {
        match text(&with_redis.get("/").await) {
            page if page.starts_with("third") => Ok(()),
            page => Err(page),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn without_its_database_an_app_lives_and_is_not_ready() {
    let nobody = Port::free();
    let database = format!("postgres://u:p@{}/d", nobody.address());
    let mut app = App::start("guestbook", &[("DATABASE_URL", &database)]);
    let reason = app.wait_for("/readyz", 503).await;
    assert!(reason.starts_with("not ready: "), "{reason}");
    assert_eq!(text(&app.get("/healthz").await), "ok\n");
    app.process.signal(Signal::TERM);
    let status = app.process.ended(LIMIT).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", app.process.stderr());
}

#[tokio::test]
async fn without_an_address_it_says_what_to_write() {
    let run = Run::new(example("guestbook")).env("DATABASE_URL", "");
    let ended = run.finish(LIMIT).await.unwrap();
    assert_eq!(ended.code(), 1);
    assert!(
        ended.output().contains("example: DATABASE_URL=postgres://"),
        "{}",
        ended.output()
    );
}

#[tokio::test]
async fn a_stopping_app_finishes_what_is_in_flight_and_exits_0() {
    let postgres = Postgres::start().unwrap();
    let mut app = App::ready("guestbook", &[("DATABASE_URL", &postgres.url())]).await;
    let mut slow = TcpStream::connect(app.address).await.unwrap();
    slow.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nla")
        .await
        .unwrap();
    // The server has taken this connection before the ones after it.
    app.get("/healthz").await;
    app.process.signal(Signal::TERM);
    let reason = app.wait_for("/readyz", 503).await;
    assert_eq!(reason, "not ready: stopping\n");
    let answer = app.get("/").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["connection"], "close");
    wait::until("accepting to end", LIMIT, async || {
        match TcpStream::connect(app.address).await {
            Ok(_) => Err("it accepts"),
            Err(_) => Ok(()),
        }
    })
    .await
    .unwrap();
    slow.write_all(b"st").await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let status = app.process.ended(LIMIT).await.unwrap();
    assert_eq!(status.code(), Some(0), "{}", app.process.stderr());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let postgres = Postgres::start().unwrap();
    let mut app = App::ready("guestbook", &[("DATABASE_URL", &postgres.url())]).await;
    let mut hanging = TcpStream::connect(app.address).await.unwrap();
    hanging
        .write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        .await
        .unwrap();
    app.get("/healthz").await;
    app.process.signal(Signal::TERM);
    app.wait_for("/readyz", 503).await;
    app.process.signal(Signal::TERM);
    let status = app.process.ended(LIMIT).await.unwrap();
    assert_eq!(status.code(), Some(1), "{}", app.process.stderr());
    assert!(
        app.process.stderr().contains("second signal"),
        "{}",
        app.process.stderr()
    );
}
