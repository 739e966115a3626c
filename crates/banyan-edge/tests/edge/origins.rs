//! Servers elsewhere: the first that works answers, verified and shown a secret; the others when it fails.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use banyan_config::{
    CertificateFiles, EdgePlace, Forward, HeaderEdit, Origin, PathMatch, Route, RouteAction, RouteMatch,
    Share, SplitBy, ToOrigin,
};
use banyan_testkit::Port;
use banyan_testkit::upstream::{Upstream, Wire};
use banyan_tls::{Pair, Server, TlsAcceptor};
use banyan_topology::report::OriginReport;

use crate::cache::{Asked, answer, ok, origin, safe, said};
use crate::tls::Authority;
use crate::world::{World, post};

const KEPT: &str = "Cache-Control: max-age=60\r\n";

fn at(urls: &[String]) -> Origin {
    Origin {
        urls: urls.iter().map(|url| url.parse().unwrap()).collect(),
        secret_file: None,
        host: None,
        ca: None,
        ready: None,
        interval: Duration::from_secs(3600),
        timeout: Duration::from_secs(10),
    }
}

fn plain(upstream: &Upstream) -> String {
    format!("http://{}", upstream.address)
}

fn route(action: RouteAction) -> Route {
    Route {
        name: "elsewhere".to_owned(),
        when: RouteMatch {
            path: PathMatch::Prefix("/media".to_owned()),
            ..RouteMatch::default()
        },
        bounds: Default::default(),
        action,
        request_headers: HeaderEdit::default(),
        response_headers: HeaderEdit::default(),
    }
}

fn to_origin() -> RouteAction {
    RouteAction::Origin(ToOrigin {
        origin: "media".to_owned(),
        rewrite: None,
    })
}

/// `/media` goes to the origin; the app is nobody.
async fn world(origin: Origin, cache: bool) -> World {
    World::launch(&[], |snapshot| {
        snapshot.routes = vec![route(to_origin())];
        snapshot.settings.origins = BTreeMap::from([("media".to_owned(), origin)]);
        snapshot.settings.cache = cache.then(|| Box::new(safe()));
        snapshot.settings.timeouts.no_endpoint = Duration::from_millis(50);
    })
    .await
}

async fn nowhere() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

async fn echo(name: &'static str) -> (Upstream, Asked) {
    origin(move |_, request| {
        ok(
            KEPT,
            &format!("{name} {} {}", request.target(), request.header("host")),
        )
    })
    .await
}

#[tokio::test]
async fn a_route_leads_to_a_server_by_url_which_hears_its_own_name() {
    let (first, asked) = echo("first").await;
    let world = world(at(&[plain(&first)]), false).await;
    for _ in 0..10 {
        let answer = world.get("/media/a?b=c").await;
        assert_eq!(answer.text(), format!("first /media/a?b=c {}", first.address));
    }
    let heard = asked.last();
    assert_eq!(heard.header("x-forwarded-host"), "app.example");
    assert_eq!(heard.header("x-forwarded-for"), "127.0.0.1");
    // One connection for the check, and one per core that is kept.
    assert!(first.connections() <= 3, "{}", first.connections());
    assert_eq!(world.get("/elsewhere").await.status(), 503);
    let line = &world.logged(11).await[0];
    assert_eq!(line["upstream"], plain(&first));
    world.drain();
}

#[tokio::test]
async fn what_the_first_cannot_answer_the_backup_does_and_both_say_so() {
    let (first, _) = origin(|_, request| match request.target() {
        "/media/broken" => answer("503 Away", "", "no"),
        "/media/gone" => answer("404 Not Found", KEPT, "none"),
        _ => ok(KEPT, "first"),
    })
    .await;
    let (second, asked) = echo("second").await;
    let world = world(at(&[plain(&first), plain(&second)]), true).await;
    assert_eq!(world.get("/media/a").await.text(), "first");
    assert_eq!(world.get("/media/gone").await.status(), 404);
    assert_eq!(asked.count(), 0);
    let backup = world.get("/media/broken").await;
    assert_eq!(backup.text(), format!("second /media/broken {}", second.address));
    assert!(
        said(&backup).contains("detail=absent/backup"),
        "{}",
        said(&backup)
    );
    assert!(said(&world.get("/media/broken").await).starts_with("hit"));
    // What changes something is for the first alone.
    let refused = world.ask(&post("/media/broken", "x")).await;
    assert_eq!((refused.status(), asked.count()), (503, 1));
    let lines = world.logged(5).await;
    let line = lines
        .iter()
        .find(|line| line["path"] == "/media/broken" && line["retries"] == 1);
    assert_eq!(line.expect("a line of the backup")["upstream"], plain(&second));
}

#[tokio::test]
async fn a_first_server_that_is_gone_late_or_breaks_off_is_covered_for() {
    let (second, asked) = echo("second").await;
    let silent =
        Upstream::start(|mut wire: Wire| async move { while wire.message().await.is_some() {} }).await;
    let broken = Upstream::start(|mut wire: Wire| async move {
        wire.message().await;
        wire.send("HTTP/1.1 200 OK\r\nContent-").await;
    })
    .await;
    for first in [nowhere().await, plain(&silent), plain(&broken)] {
        let mut both = at(&[first.clone(), plain(&second)]);
        both.timeout = Duration::from_millis(300);
        let world = world(both, false).await;
        let before = asked.count();
        let answer = world.get("/media/a").await;
        assert!(answer.text().starts_with("second"), "{first}: {}", answer.text());
        assert_eq!(asked.count(), before + 1);
        let refused = world.ask(&post("/media/a", "x")).await;
        assert!(refused.status() >= 502, "{first}: {}", refused.status());
        assert_eq!(asked.count(), before + 1);
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_passed_over_until_a_check_finds_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (second, _) = echo("second").await;
    let mut both = at(&[format!("http://{address}"), plain(&second)]);
    both.ready = Some("/ready".to_owned());
    both.interval = Duration::from_millis(100);
    let mut world = world(both, false).await;
    let first = |report: &[OriginReport]| report[0].clone();
    let report = world
        .until(|r| r.origins.len() == 2 && r.origins[0].reason.is_some())
        .await;
    assert!(!first(&report.origins).sound && report.origins[1].sound);
    assert!(world.get("/media/a").await.text().starts_with("second"));
    let listener = TcpListener::bind(address).await.unwrap();
    let _back = Upstream::on(listener, |mut wire: Wire| async move {
        while let Some(request) = wire.message().await {
            wire.answer(if request.target() == "/ready" { 204 } else { 200 }, "")
                .await;
        }
    });
    world
        .until(|r| r.origins[0].sound && r.origins[0].reason.is_none())
        .await;
    assert_eq!(world.get("/media/a").await.text(), "");
}

#[tokio::test]
async fn with_all_of_them_down_what_is_stored_stands_in() {
    let (first, asked) = origin(|_, _| ok("Cache-Control: max-age=1\r\nAge: 5\r\n", "good")).await;
    let (second, others) = echo("second").await;
    let world = world(at(&[plain(&first), plain(&second)]), true).await;
    assert_eq!(world.get("/media/a").await.text(), "good");
    first.kill().await;
    second.kill().await;
    let covered = world.get("/media/a").await;
    assert_eq!((covered.status(), covered.text().as_str()), (200, "good"));
    assert!(said(&covered).starts_with("fwd=stale"), "{}", said(&covered));
    assert_eq!(world.get("/media/b").await.status(), 502);
    assert_eq!((asked.count(), others.count()), (1, 0));
}

#[tokio::test]
async fn the_secret_is_shown_and_a_clients_is_not_and_a_new_one_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    write_secret(&file, "0123456789abcdef-one");
    let (first, asked) = echo("first").await;
    let mut one = at(&[plain(&first)]);
    one.secret_file = Some(file.clone());
    let world = world(one, false).await;
    let forged = "GET /media/a HTTP/1.1\r\nHost: app.example\r\nX-Origin-Verify: mine\r\n\r\n";
    world.ask(forged).await;
    assert_eq!(asked.last().header("x-origin-verify"), "0123456789abcdef-one");
    write_secret(&file, "0123456789abcdef-another");
    let taken = async {
        while world.get("/media/a").await.status() != 200
            || asked.last().header("x-origin-verify") != "0123456789abcdef-another"
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), taken)
        .await
        .expect("never taken up");
    let log = format!("{:?}", world.log.lines());
    assert!(!log.contains("0123456789abcdef"), "{log}");
}

fn write_secret(file: &Path, text: &str) {
    std::fs::write(file, format!("{text}\n")).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// An origin that speaks TLS by this certificate.
async fn secure(files: &CertificateFiles) -> (String, tokio::task::JoinHandle<()>) {
    let pair = Pair::read(
        &files.cert,
        &files.key,
        i64::try_from(banyan_runtime::Clock.unix_ms() / 1000).unwrap(),
    );
    let config = Server::new().unwrap().config(&[pair.unwrap()]).unwrap();
    let acceptor = TlsAcceptor::from(Arc::clone(&config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    #[expect(clippy::disallowed_methods, reason = "a test's own task")]
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut wire = Wire::over(stream);
            #[expect(clippy::disallowed_methods, reason = "a test's own task")]
            tokio::spawn(async move {
                while let Some(request) = wire.message().await {
                    wire.answer(200, &format!("secure {}", request.header("host")))
                        .await;
                }
            });
        }
    });
    (format!("https://localhost:{port}"), task)
}

#[tokio::test]
async fn https_is_verified_by_the_cas_that_are_named_and_for_the_name_of_the_url() {
    let authority = Authority::new();
    let (good, good_task) = secure(&authority.make(&["localhost"])).await;
    let (wrong, wrong_task) = secure(&authority.make(&["other.example"])).await;
    let by = |urls: &[String], ca: Option<PathBuf>| Origin { ca, ..at(urls) };
    let world_of = async |origin: Origin| world(origin, false).await;
    let verified = world_of(by(std::slice::from_ref(&good), Some(authority.path()))).await;
    for _ in 0..2 {
        let answer = verified.get("/media/a").await;
        assert_eq!(
            answer.text(),
            format!("secure {}", good.trim_start_matches("https://"))
        );
    }
    let misnamed = world_of(by(&[wrong], Some(authority.path()))).await;
    assert_eq!(misnamed.get("/media/a").await.status(), 502);
    let other = Authority::new();
    other.make(&["localhost"]);
    let unknown = world_of(by(&[good], Some(other.path()))).await;
    assert_eq!(unknown.get("/media/a").await.status(), 502);
    good_task.abort();
    wrong_task.abort();
}

#[tokio::test]
async fn an_origin_covers_for_the_app_where_a_route_says_so() {
    let app = Upstream::start(|mut wire: Wire| async move {
        while let Some(request) = wire.message().await {
            let status = if request.target() == "/media/broken" {
                500
            } else {
                200
            };
            wire.answer(status, "app").await;
        }
    })
    .await;
    let (other, _) = echo("other").await;
    let mut world = World::with(&[app.address], |snapshot| {
        snapshot.routes = vec![route(RouteAction::Process(Forward {
            shares: vec![Share {
                process: "web".parse().unwrap(),
                weight: 1,
            }],
            sticky: SplitBy::None,
            rewrite: None,
            mirror: None,
            backup: Some("media".to_owned()),
        }))];
        snapshot.settings.origins = BTreeMap::from([("media".to_owned(), at(&[plain(&other)]))]);
    })
    .await;
    assert_eq!(world.get("/media/a").await.text(), "app");
    assert!(world.get("/media/broken").await.text().starts_with("other"));
    assert_eq!(world.ask(&post("/media/broken", "x")).await.status(), 500);
    app.kill().await;
    world.until(|r| r.endpoints.iter().all(|e| !e.healthy)).await;
    world.settled().await;
    assert!(world.get("/media/a").await.text().starts_with("other"));
}

/// Between edges goes what no other server is to see; and who keeps for all is asked first there, too.
#[tokio::test]
async fn a_shield_is_asked_before_servers_elsewhere_and_they_learn_nothing_of_edges() {
    let (media, asked) = echo("media").await;
    let port = Port::free();
    let first = World::launch(&[], |snapshot| {
        snapshot.routes = vec![route(to_origin())];
        snapshot.settings.origins = BTreeMap::from([("media".to_owned(), at(&[plain(&media)]))]);
        let mut cache = safe();
        cache.shield = Some("shield".parse().unwrap());
        snapshot.settings.cache = Some(Box::new(cache));
        let place = EdgePlace {
            listen: port.address(),
            https: None,
        };
        snapshot.places = BTreeMap::from([("shield".parse().unwrap(), place)]);
    });
    let mut first = first.await;
    drop(port);
    let shield = first.at("shield").await;
    first.until(|r| r.endpoints.iter().all(|e| e.healthy)).await;
    first.settled().await;
    let answer = first.get("/media/a").await;
    assert_eq!(answer.status(), 200);
    let said = answer.header("cache-status");
    assert!(said.starts_with("\"banyan-edge-shield\"; fwd=uri-miss"), "{said}");
    assert_eq!(shield.get("/media/a").await.status(), 200);
    assert_eq!(asked.count(), 1);
    let sent = asked.last();
    assert!(
        !sent
            .headers
            .iter()
            .any(|(name, _)| name.starts_with("banyan-edge"))
    );
}
