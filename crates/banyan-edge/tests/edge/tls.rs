//! The same edge within TLS: certificates by name, changes of them, resumption, redirects, and the strictness of plain HTTP.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

use banyan_config::{CertificateFiles, Certificates, Tls};
use banyan_testkit::upstream::{Message, Upstream, Wire};
use banyan_tls::client::{self, ClientError, Trust};
use banyan_tls::local::Local;
use banyan_topology::snapshot::{EdgeSnapshot, Listener, Speaks};

use crate::smuggling::{BODIES, HEADS};
use crate::world::{World, get};

type Secure = Wire<client::Stream>;

/// Certificates of one CA, each in a folder of its own.
pub(crate) struct Authority {
    dir: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self {
            dir: TempDir::new().unwrap(),
        }
    }

    /// A certificate for these names; another one each time.
    pub(crate) fn make(&self, names: &[&str]) -> CertificateFiles {
        let local = Local::new(self.dir.path());
        let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let now = time();
        // What it made before would do; it is to make a new one.
        let _absent = std::fs::remove_file(local.leaf());
        local.ensure("test", &names, now).unwrap();
        let count = std::fs::read_dir(self.dir.path()).unwrap().count();
        let cert = self.dir.path().join(format!("{count}.pem"));
        std::fs::copy(local.leaf(), &cert).unwrap();
        CertificateFiles {
            key: cert.clone(),
            cert,
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        Local::new(self.dir.path()).authority()
    }
}

fn time() -> i64 {
    i64::try_from(banyan_runtime::Clock.unix_ms() / 1000).unwrap()
}

/// Adds https to a snapshot.
pub(crate) fn with_tls(snapshot: &mut EdgeSnapshot, files: Vec<CertificateFiles>) {
    snapshot.listeners.push(Listener {
        address: "127.0.0.1:0".parse().unwrap(),
        speaks: Speaks::Https,
    });
    snapshot.settings.tls = Some(Box::new(Tls {
        certificates: Certificates::Files(files),
        domains: Vec::new(),
        redirect: true,
        hsts: Duration::ZERO,
    }));
}

pub(crate) fn https(world: &World) -> SocketAddr {
    world.handle.report().listening[1]
}

pub(crate) async fn try_connect(
    world: &World,
    authority: &Path,
    name: &str,
    protocols: &[&str],
) -> Result<client::Stream, ClientError> {
    let stream = TcpStream::connect(https(world)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    client::connect(stream, name, Trust::Authority(authority), protocols).await
}

async fn connect(world: &World, authority: &Authority, name: &str) -> Secure {
    let stream = try_connect(world, &authority.path(), name, &["http/1.1"]).await;
    Wire::over(stream.unwrap())
}

async fn ask(world: &World, authority: &Authority, request: &str) -> Message {
    let mut client = connect(world, authority, "a.example").await;
    client.send(request).await;
    client.message().await.expect("an answer")
}

async fn secure_world(upstream: &Upstream, authority: &Authority) -> World {
    let files = authority.make(&["a.example"]);
    World::with(&[upstream.address], |s| {
        with_tls(s, vec![files]);
        s.settings.limits.body = 1000;
        s.settings.timeouts.header = Duration::from_millis(500);
    })
    .await
}

#[tokio::test]
async fn a_request_within_tls_is_said_to_be_https() {
    let upstream = Upstream::answering(|r| r.header("x-forwarded-proto")).await;
    let authority = Authority::new();
    let world = secure_world(&upstream, &authority).await;
    let answer = ask(&world, &authority, &get("/")).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "https"));
    let absolute = "GET https://a.example/x HTTP/1.1\r\nHost: a.example:443\r\n\r\n";
    assert_eq!(ask(&world, &authority, absolute).await.status(), 200);
    let plain = "GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n";
    assert_eq!(ask(&world, &authority, plain).await.status(), 400);
}

#[tokio::test]
async fn a_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let authority = Authority::new();
    let files = vec![
        authority.make(&["a.example"]),
        authority.make(&["b.example", "*.b.example"]),
    ];
    let world = World::with(&[upstream.address], |s| with_tls(s, files)).await;
    for (name, served) in [
        ("a.example", true),
        ("b.example", true),
        ("www.b.example", true),
        ("x.www.b.example", false),
        ("c.example", false),
    ] {
        let connected = try_connect(&world, &authority.path(), name, &["http/1.1"]).await;
        assert_eq!(connected.is_ok(), served, "{name}");
    }
}

#[tokio::test]
async fn changed_files_serve_new_handshakes_and_broken_ones_do_not() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let authority = Authority::new();
    let files = authority.make(&["a.example"]);
    let cert = files.cert.clone();
    let mut world = World::with(&[upstream.address], |s| with_tls(s, vec![files])).await;
    let mut old = connect(&world, &authority, "a.example").await;
    let other = authority.make(&["b.example"]);
    std::fs::copy(&other.cert, &cert).unwrap();
    world
        .until(|r| r.certificates.as_ref().is_some_and(|c| c.names == ["b.example"]))
        .await;
    world.settled().await;
    connect(&world, &authority, "b.example").await;
    assert!(
        try_connect(&world, &authority.path(), "a.example", &[])
            .await
            .is_err()
    );
    old.send(get("/")).await;
    assert_eq!(old.message().await.unwrap().status(), 200);
    std::fs::write(&cert, "not a certificate").unwrap();
    let report = world
        .until(|r| r.certificates.as_ref().is_some_and(|c| c.problem.is_some()))
        .await;
    assert_eq!(report.certificates.unwrap().names, ["b.example"]);
    connect(&world, &authority, "b.example").await;
}

#[tokio::test]
async fn a_snapshot_whose_certificate_cannot_be_used_is_refused_whole() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let authority = Authority::new();
    let mut world = World::start(&[upstream.address]).await;
    let mut broken = authority.make(&["a.example"]);
    broken.key = PathBuf::from("/nowhere.key");
    with_tls(&mut world.snapshot, vec![broken]);
    world.snapshot.epoch = world.snapshot.epoch.next();
    world.put();
    let report = world.until(|r| r.refused.is_some()).await;
    assert!(report.refused.unwrap().contains("/nowhere.key"));
    assert_eq!(report.listening.len(), 1);
    assert_eq!(world.get("/").await.status(), 200);
    let good = authority.make(&["a.example"]);
    world
        .publish(|s| {
            s.listeners.truncate(1);
            with_tls(s, vec![good]);
        })
        .await;
    let mut client = connect(&world, &authority, "a.example").await;
    client.send(get("/")).await;
    assert_eq!(client.message().await.unwrap().status(), 200);
}

#[tokio::test]
async fn https_comes_and_goes_while_connections_stay() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let authority = Authority::new();
    let mut world = secure_world(&upstream, &authority).await;
    let mut client = connect(&world, &authority, "a.example").await;
    client.send(get("/")).await;
    assert_eq!(client.message().await.unwrap().status(), 200);
    world
        .publish(|s| {
            s.listeners.truncate(1);
            s.settings.tls = None;
        })
        .await;
    world.until(|r| r.listening.len() == 1).await;
    client.send(get("/")).await;
    assert_eq!(client.message().await.unwrap().status(), 200);
    assert_eq!(world.get("/").await.status(), 200);
}

#[tokio::test]
async fn plain_requests_are_sent_to_https() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let authority = Authority::new();
    let mut world = secure_world(&upstream, &authority).await;
    let port = https(&world).port();
    let location = format!("https://app.example:{port}/a?b=c");
    for (method, status) in [("GET", 301), ("POST", 308), ("DELETE", 308)] {
        let request = format!("{method} /a?b=c HTTP/1.1\r\nHost: app.example\r\nContent-Length: 0\r\n\r\n");
        let answer = world.ask(&request).await;
        assert_eq!(
            (answer.status(), answer.header("location")),
            (status, location.clone())
        );
        assert_eq!(answer.header("strict-transport-security"), "");
    }
    let forwarded = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n";
    assert_eq!(world.ask(forwarded).await.status(), 301, "anyone can write that");
    world
        .publish(|s| s.settings.trusted_proxies = vec!["127.0.0.1".parse().unwrap()])
        .await;
    assert_eq!(world.ask(forwarded).await.status(), 200);
    world
        .publish(|s| s.settings.tls.as_mut().unwrap().redirect = false)
        .await;
    assert_eq!(world.get("/").await.status(), 200);
}

#[tokio::test]
async fn hsts_is_said_within_tls_unless_the_app_says_it() {
    let upstream = Upstream::start(|mut wire| async move {
        while let Some(request) = wire.message().await {
            let own = if request.target() == "/own" {
                "Strict-Transport-Security: max-age=1\r\n"
            } else {
                ""
            };
            wire.send(format!("HTTP/1.1 200 OK\r\n{own}Content-Length: 0\r\n\r\n"))
                .await;
        }
    })
    .await;
    let authority = Authority::new();
    let mut world = secure_world(&upstream, &authority).await;
    let hsts = "strict-transport-security";
    assert_eq!(ask(&world, &authority, &get("/")).await.header(hsts), "");
    world
        .publish(|s| {
            let tls = s.settings.tls.as_mut().unwrap();
            (tls.hsts, tls.redirect) = (Duration::from_secs(3600), false);
        })
        .await;
    assert_eq!(
        ask(&world, &authority, &get("/")).await.header(hsts),
        "max-age=3600"
    );
    assert_eq!(
        ask(&world, &authority, &get("/own")).await.header(hsts),
        "max-age=1"
    );
    assert_eq!(world.get("/").await.header(hsts), "");
}

#[tokio::test]
async fn heads_are_judged_as_strictly_as_in_the_clear() {
    let upstream = Upstream::answering(|r| format!("seen {}", r.target())).await;
    let authority = Authority::new();
    let world = secure_world(&upstream, &authority).await;
    for (what, request) in HEADS {
        let mut client = connect(&world, &authority, "a.example").await;
        client.send([request, get("/smuggled").as_str()].concat()).await;
        let answer = client
            .message()
            .await
            .unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(answer.status(), 400, "{what}: {}", answer.text());
        assert!(client.rest().await.is_empty(), "{what}: the connection goes on");
    }
    for (what, body) in BODIES {
        let mut client = connect(&world, &authority, "a.example").await;
        let head = "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.send([head, body, &get("/smuggled")].concat()).await;
        assert_eq!(client.message().await.map(|a| a.status()), Some(400), "{what}");
    }
    let mut client = connect(&world, &authority, "a.example").await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_eq!(
        client.message().await.unwrap().status(),
        400,
        "HTTP/2 without ALPN"
    );
}

#[tokio::test]
async fn limits_hold_within_tls() {
    let upstream = Upstream::answering(|r| r.text()).await;
    let authority = Authority::new();
    let world = secure_world(&upstream, &authority).await;
    for (request, status) in [
        (
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000)),
            414,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nBig: {}\r\n\r\n", "x".repeat(33_000)),
            431,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n{}",
                "x".repeat(1001)
            ),
            413,
        ),
        ("GET / HT".to_owned(), 408),
    ] {
        assert_eq!(ask(&world, &authority, &request).await.status(), status);
    }
    let silent = TcpStream::connect(https(&world)).await.unwrap();
    assert!(
        Wire::new(silent).rest().await.is_empty(),
        "a handshake that never begins"
    );
    let mut idle = connect(&world, &authority, "a.example").await;
    assert!(idle.rest().await.is_empty(), "a connection that never asks");
}

#[tokio::test]
async fn what_is_no_handshake_ends() {
    let upstream = Upstream::answering(|_| "ok".to_owned()).await;
    let authority = Authority::new();
    let world = secure_world(&upstream, &authority).await;
    let mut plain = Wire::connect(https(&world)).await;
    plain.send(get("/")).await;
    let said = plain.rest().await;
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
}

#[tokio::test]
async fn a_drain_within_tls_finishes_what_is_in_flight() {
    let upstream = Upstream::answering(|r| r.text()).await;
    let authority = Authority::new();
    let mut world = secure_world(&upstream, &authority).await;
    let mut client = connect(&world, &authority, "a.example").await;
    let half = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nha";
    client.send(half).await;
    world.until(|r| r.totals.in_flight == 1).await;
    world.drain();
    world.until(|r| r.listening.is_empty()).await;
    client.send("lf").await;
    let answer = client.message().await.unwrap();
    assert_eq!(
        (answer.text().as_str(), answer.header("connection").as_str()),
        ("half", "close")
    );
    drop(client);
    world.ended().await;
}
