//! Listeners that speak no HTTP: bytes both ways, half-closed, balanced, drained, handed over; TLS by name, undecrypted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use banyan_config::{CertificateFiles, ProxyProtocol, StreamListener, StreamTo};
use banyan_edge::proxy_protocol::{Parsed, parse};
use banyan_testkit::upstream::{Upstream, Wire};
use banyan_tls::client::{self, Trust};
use banyan_tls::{Pair, Server, TlsAcceptor};
use banyan_topology::snapshot::{self, EdgeSnapshot, EndpointState, Listener, Speaks};
use tokio::net::TcpStream;

use crate::tls::{Authority, https, with_tls};
use crate::world::{World, endpoint, get};

/// A group of its own beside the edge's.
fn group(process: &str, addresses: &[SocketAddr]) -> snapshot::Upstream {
    let named = |(n, address): (usize, &SocketAddr)| {
        let mut endpoint = endpoint(n + 1, *address);
        endpoint.id = format!("{process}.{}@r1", n + 1).parse().unwrap();
        endpoint
    };
    snapshot::Upstream {
        process: process.parse().unwrap(),
        ready: None,
        endpoints: addresses.iter().enumerate().map(named).collect(),
        proxy_protocol: None,
    }
}

fn listen(snapshot: &mut EdgeSnapshot, to: StreamTo) {
    // Another address of this machine each time, as each asks for a free port.
    let address = SocketAddr::from(([127, 0, 0, 2 + snapshot.streams.len() as u8], 0));
    snapshot.listeners.push(Listener {
        address,
        speaks: Speaks::Stream,
    });
    snapshot.streams.push(StreamListener {
        name: format!("s{}", snapshot.streams.len() + 1),
        listen: address,
        to,
        proxy_protocol: false,
        idle: Duration::from_secs(60),
    });
}

fn to(process: &str) -> StreamTo {
    StreamTo::Process(process.parse().unwrap())
}

/// One listener to `tcp`, whose instances these are.
async fn world(instances: &[SocketAddr], change: impl FnOnce(&mut EdgeSnapshot)) -> World {
    World::with(&[], |snapshot| {
        snapshot.others = vec![group("tcp", instances)];
        listen(snapshot, to("tcp"));
        change(snapshot);
    })
    .await
}

fn address(world: &World) -> SocketAddr {
    let listening = world.handle.report().listening;
    *listening
        .iter()
        .find(|a| a.ip().to_string() == "127.0.0.2")
        .unwrap()
}

async fn connect(world: &World) -> Wire {
    Wire::connect(address(world)).await
}

/// Says its name, then repeats lines until the client has finished, then says how many they were.
async fn echo(name: &'static str) -> Upstream {
    Upstream::start(move |mut wire| async move {
        wire.send(format!("{name}\n")).await;
        let mut lines = 0;
        while let Some(line) = wire.line().await {
            lines += 1;
            wire.send(format!("{line}\n")).await;
        }
        wire.send(format!("{lines} lines")).await;
        wire.finish().await;
    })
    .await
}

#[tokio::test]
async fn bytes_pass_both_ways_and_a_half_closed_connection_still_answers() {
    let upstream = echo("one").await;
    let mut world = world(&[upstream.address], |_| {}).await;
    let mut client = connect(&world).await;
    assert_eq!(client.line().await.unwrap(), "one");
    for line in ["first", "second"] {
        client.send(format!("{line}\n")).await;
        assert_eq!(client.line().await.unwrap(), line);
    }
    client.finish().await;
    assert_eq!(client.rest().await, b"2 lines");
    let report = world.soon(|r| r.streams[0].open == 0).await;
    let stream = &report.streams[0];
    assert_eq!((stream.name.as_str(), stream.connections), ("s1", 1));
    // "one", "first", "second", with line ends, and "2 lines".
    assert_eq!((stream.received, stream.sent), (13, 4 + 13 + 7));
    assert!(report.endpoints.iter().all(|e| e.in_flight == 0));
    let line = &world.logged(1).await[0];
    assert_eq!(
        (&line["listener"], &line["upstream"]),
        (&"s1".into(), &"tcp.1@r1".into())
    );
    assert_eq!(
        (&line["outcome"], &line["received"]),
        (&"answered".into(), &13.into())
    );
}

#[tokio::test]
async fn much_passes_unchanged_while_neither_side_waits_for_the_other() {
    let upstream = Upstream::start(|mut wire| async move {
        while let Some(bytes) = wire.bytes(1 << 16).await {
            wire.send(bytes).await;
        }
    })
    .await;
    let world = world(&[upstream.address], |_| {}).await;
    let mut client = connect(&world).await;
    for round in 0..64_u8 {
        let sent: Vec<u8> = (0..1_u32 << 16).map(|n| (n as u8).wrapping_mul(round)).collect();
        client.send(&sent).await;
        assert_eq!(client.bytes(1 << 16).await.unwrap(), sent);
    }
}

#[tokio::test]
async fn a_connection_goes_where_somebody_listens_and_what_broke_is_reset() {
    let sound = echo("sound").await;
    let gone = echo("gone").await;
    let mut world = world(&[gone.address, sound.address], |_| {}).await;
    gone.kill().await;
    for _ in 0..8 {
        assert_eq!(connect(&world).await.line().await.unwrap(), "sound");
    }
    // Nobody listens any more: closed after the wait for a ready one.
    world
        .publish(|s| s.settings.timeouts.no_endpoint = Duration::from_millis(50))
        .await;
    let mut client = connect(&world).await;
    assert_eq!(client.line().await.unwrap(), "sound");
    sound.kill().await;
    // Killed with nothing unread it ends; the report says that nobody took the next one.
    assert!(client.rest().await.is_empty());
    assert!(connect(&world).await.rest().await.is_empty());
    world.soon(|r| r.streams[0].refused >= 1).await;
}

#[tokio::test]
async fn a_client_that_breaks_off_breaks_the_connection_to_the_instance() {
    let (told, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::start(move |mut wire| {
        let told = told.clone();
        async move {
            // Checks of health send nothing.
            if wire.line().await.is_some() {
                wire.send("ready\n").await;
                told.send(wire.line().await).unwrap();
            }
        }
    })
    .await;
    let world = world(&[upstream.address], |_| {}).await;
    let mut client = connect(&world).await;
    client.send("hello\n").await;
    assert_eq!(client.line().await.unwrap(), "ready");
    client.reset();
    assert_eq!(ended.recv().await, Some(None));
}

#[tokio::test]
async fn who_never_ends_its_side_holds_nobody_for_long() {
    let upstream = Upstream::start(|mut wire| async move {
        wire.send("done\n").await;
        wire.finish().await;
        wire.rest().await;
    })
    .await;
    let mut world = world(&[upstream.address], |s| {
        s.streams[0].idle = Duration::from_millis(100)
    })
    .await;
    let mut client = connect(&world).await;
    assert_eq!(client.rest().await, b"done\n");
    world
        .soon(|r| r.streams[0].connections > 0 && r.streams[0].open == 0)
        .await;
    assert_eq!(world.logged(1).await[0]["outcome"], "answered");
}

#[tokio::test]
async fn what_stands_still_is_closed_and_what_moves_is_not() {
    let upstream = echo("one").await;
    let world = world(&[upstream.address], |s| {
        s.streams[0].idle = Duration::from_millis(300)
    })
    .await;
    let mut silent = connect(&world).await;
    let mut busy = connect(&world).await;
    assert_eq!(silent.line().await.unwrap(), "one");
    assert_eq!(busy.line().await.unwrap(), "one");
    let mut lines = 0;
    let silence = silent.rest();
    tokio::pin!(silence);
    // Until the silent one is closed, and for as long again.
    let mut until = None;
    loop {
        busy.send("tick\n").await;
        assert_eq!(busy.line().await.unwrap(), "tick");
        lines += 1;
        match until {
            None => {
                if let Ok(rest) = tokio::time::timeout(Duration::from_millis(20), &mut silence).await {
                    assert!(rest.is_empty());
                    until = Some(lines * 2);
                }
            }
            Some(until) if lines >= until => break,
            Some(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test]
async fn a_draining_instance_keeps_its_connections_and_gets_no_new_ones() {
    let (one, two) = (echo("one").await, echo("two").await);
    let mut world = world(&[one.address, two.address], |s| {
        s.settings.balance = banyan_config::Balance::RoundRobin;
        s.settings.slow_start = Duration::ZERO;
    })
    .await;
    let mut on_one = loop {
        let mut client = connect(&world).await;
        if client.line().await.unwrap() == "one" {
            break client;
        }
    };
    world
        .publish(|s| s.others[0].endpoints[0].state = EndpointState::Draining)
        .await;
    for _ in 0..6 {
        assert_eq!(connect(&world).await.line().await.unwrap(), "two");
    }
    let in_flight = |world: &World| world.handle.report().endpoints[0].in_flight;
    assert_eq!(in_flight(&world), 1);
    on_one.send("still\n").await;
    assert_eq!(on_one.line().await.unwrap(), "still");
    on_one.finish().await;
    assert_eq!(on_one.rest().await, b"1 lines");
    world.soon(|r| r.endpoints[0].in_flight == 0).await;
}

#[tokio::test]
async fn more_than_max_connections_wait_in_line() {
    let upstream = echo("one").await;
    let world = world(&[upstream.address], |s| {
        s.settings.queue.max_connections = Some(1)
    })
    .await;
    let mut first = connect(&world).await;
    assert_eq!(first.line().await.unwrap(), "one");
    let mut second = connect(&world).await;
    let early = tokio::time::timeout(Duration::from_millis(200), second.line()).await;
    assert!(early.is_err(), "both are served");
    first.finish().await;
    first.rest().await;
    assert_eq!(second.line().await.unwrap(), "one");
}

#[tokio::test]
async fn a_listener_comes_leads_elsewhere_and_goes_while_connections_last() {
    let (one, two) = (echo("one").await, echo("two").await);
    let mut world = world(&[one.address], |s| s.others.push(group("other", &[two.address]))).await;
    let at = address(&world);
    let mut kept = connect(&world).await;
    assert_eq!(kept.line().await.unwrap(), "one");
    world.publish(|s| s.streams[0].to = to("other")).await;
    assert_eq!(address(&world), at);
    assert_eq!(connect(&world).await.line().await.unwrap(), "two");
    world
        .publish(|s| {
            s.listeners.truncate(1);
            s.streams.clear();
        })
        .await;
    world.until(|r| r.listening.len() == 1).await;
    assert!(TcpStream::connect(at).await.is_err());
    kept.send("still\n").await;
    assert_eq!(kept.line().await.unwrap(), "still");
}

#[tokio::test]
async fn another_edge_takes_the_port_and_the_old_one_finishes_what_it_has() {
    let upstream = echo("one").await;
    let mut old = world(&[upstream.address], |s| {
        s.settings.timeouts.drain = Duration::from_secs(20)
    })
    .await;
    let at = address(&old);
    let mut kept = connect(&old).await;
    assert_eq!(kept.line().await.unwrap(), "one");
    let mut new = old.successor();
    new.until(|r| r.listening.contains(&at)).await;
    old.drain();
    for _ in 0..8 {
        assert_eq!(Wire::connect(at).await.line().await.unwrap(), "one");
    }
    kept.send("still\n").await;
    assert_eq!(kept.line().await.unwrap(), "still");
    kept.finish().await;
    assert_eq!(kept.rest().await, b"1 lines");
    old.ended().await;
}

#[tokio::test]
async fn the_end_of_the_drain_is_the_end_of_connections() {
    let upstream = echo("one").await;
    let mut world = world(&[upstream.address], |s| {
        s.settings.timeouts.drain = Duration::from_millis(200)
    })
    .await;
    let mut kept = connect(&world).await;
    assert_eq!(kept.line().await.unwrap(), "one");
    world.drain();
    assert!(kept.rest().await.is_empty());
    world.ended().await;
}

#[tokio::test]
async fn clients_are_known_by_proxy_headers_in_and_out() {
    let upstream = Upstream::start(|mut wire| async move {
        let Some(line) = wire.line().await else { return };
        let Ok(Parsed::Whole { ends, .. }) = parse(format!("{line}\r\n").as_bytes()) else {
            return;
        };
        let said = ends.map_or("nobody".to_owned(), |e| e.source.to_string());
        wire.send(format!("{said}\n")).await;
    })
    .await;
    let world = world(&[upstream.address], |s| {
        s.others[0].proxy_protocol = Some(ProxyProtocol::V1);
        s.streams[0].proxy_protocol = true;
        s.settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        s.settings.limits.connections_per_ip = 1;
    })
    .await;
    let mut client = connect(&world).await;
    client
        .send("PROXY TCP4 203.0.113.7 198.51.100.2 50007 443\r\nhello")
        .await;
    assert_eq!(client.line().await.unwrap(), "203.0.113.7:50007");
    let mut second = connect(&world).await;
    second
        .send("PROXY TCP4 203.0.113.8 198.51.100.2 50007 443\r\n")
        .await;
    assert_eq!(second.line().await.unwrap(), "203.0.113.8:50007");
    // No header, no service.
    let mut third = connect(&world).await;
    third.send("hello, this is no header\r\n").await;
    assert!(third.rest().await.is_empty());
}

/// Speaks TLS by itself and says who it is.
async fn secure(files: &CertificateFiles, name: &'static str) -> Upstream {
    let now = i64::try_from(banyan_runtime::Clock.unix_ms() / 1000).unwrap();
    let pair = Pair::read(&files.cert, &files.key, now).unwrap();
    let config = Server::new().unwrap().config(&[pair]).unwrap();
    Upstream::start(move |wire| {
        let acceptor = TlsAcceptor::from(config.clone());
        async move {
            let Ok(stream) = acceptor.accept(wire.into_stream()).await else {
                return;
            };
            let mut wire = Wire::over(stream);
            while wire.message().await.is_some() {
                wire.answer(200, name).await;
            }
        }
    })
    .await
}

fn by_name(names: &[(&str, &str)], otherwise: Option<&str>) -> StreamTo {
    let pair = |(name, process): &(&str, &str)| ((*name).to_owned(), process.parse().unwrap());
    StreamTo::Names {
        names: names.iter().map(pair).collect::<BTreeMap<_, _>>(),
        otherwise: otherwise.map(|process| process.parse().unwrap()),
    }
}

async fn ask_at(at: SocketAddr, authority: &Authority, name: &str) -> Result<String, String> {
    let stream = TcpStream::connect(at).await.unwrap();
    let path = authority.path();
    let connected = client::connect(stream, name, Trust::Authority(&path), &["http/1.1"]).await;
    let mut wire = Wire::over(connected.map_err(|error| format!("{error:?}"))?);
    wire.send(get("/")).await;
    Ok(wire.message().await.ok_or("no answer")?.text())
}

#[tokio::test]
async fn tls_goes_by_its_name_to_whoever_can_decrypt_it() {
    let authority = Authority::new();
    let a = secure(&authority.make(&["a.example"]), "a").await;
    let b = secure(
        &authority.make(&["b.example", "*.b.example", "x.y.b.example"]),
        "b",
    )
    .await;
    let mut world = World::with(&[], |s| {
        s.others = vec![group("pa", &[a.address]), group("pb", &[b.address])];
        listen(s, by_name(&[("a.example", "pa"), ("*.b.example", "pb")], None));
    })
    .await;
    let at = address(&world);
    assert_eq!(ask_at(at, &authority, "a.example").await.unwrap(), "a");
    assert_eq!(ask_at(at, &authority, "www.b.example").await.unwrap(), "b");
    for nobody in ["b.example", "x.y.b.example", "c.example", "127.0.0.1"] {
        let refused = ask_at(at, &authority, nobody).await.unwrap_err();
        assert!(
            refused.contains("UnrecognizedName") || refused.contains("UnrecognisedName"),
            "{nobody}: {refused}"
        );
    }
    // What is no TLS is closed without a word.
    let mut plain = Wire::connect(at).await;
    plain.send(get("/")).await;
    assert!(plain.rest().await.is_empty());
    world
        .publish(|s| s.streams[0].to = by_name(&[("a.example", "pa")], Some("pb")))
        .await;
    assert_eq!(ask_at(at, &authority, "b.example").await.unwrap(), "b");
    let report = world.soon(|r| r.streams[0].connections == 3).await;
    assert_eq!(report.streams[0].refused, 5);
}

#[tokio::test]
async fn names_share_the_https_port_with_those_that_are_decrypted_here() {
    let upstream = Upstream::answering(|_| "here".to_owned()).await;
    let authority = Authority::new();
    let a = secure(&authority.make(&["a.example"]), "a").await;
    let files = authority.make(&["own.example"]);
    let mut world = World::with(&[upstream.address], |s| {
        with_tls(s, vec![files]);
        s.others = vec![group("pa", &[a.address])];
        s.passthrough = [("a.example".to_owned(), "pa".parse().unwrap())].into();
    })
    .await;
    let at = https(&world);
    assert_eq!(ask_at(at, &authority, "a.example").await.unwrap(), "a");
    assert_eq!(ask_at(at, &authority, "own.example").await.unwrap(), "here");
    // A handshake of ours that comes in pieces.
    let report = world.soon(|r| r.streams[0].connections == 1).await;
    assert_eq!(report.streams[0].name, "passthrough");
    world.publish(|s| s.passthrough.clear()).await;
    assert!(ask_at(at, &authority, "a.example").await.is_err());
    assert_eq!(ask_at(at, &authority, "own.example").await.unwrap(), "here");
}
