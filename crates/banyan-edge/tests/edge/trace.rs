//! W3C trace context: whose trace is continued, what instances and the log hear.

use banyan_config::Trace;
use banyan_telemetry::trace::TraceParent;
use banyan_testkit::upstream::Upstream;

use crate::world::World;

const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

async fn world(trace: Trace, trusted: bool, sampled: u8) -> (World, Upstream) {
    let upstream =
        Upstream::answering(|r| format!("{} {}", r.header("traceparent"), r.header("tracestate"))).await;
    let world = World::with(&[upstream.address], |s| {
        s.settings.trace = trace;
        s.settings.trace_sampled = sampled;
        if trusted {
            s.settings.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
        }
    })
    .await;
    (world, upstream)
}

async fn told(world: &World, more: &str) -> (String, String) {
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n");
    let text = world.ask(&request).await.text();
    let (parent, state) = text.split_once(' ').unwrap();
    (parent.to_owned(), state.to_owned())
}

fn given() -> String {
    format!("Traceparent: {GIVEN}\r\nTracestate: a=1\r\nTracestate: b=2\r\n")
}

#[tokio::test]
async fn a_trusted_trace_goes_on_and_an_untrusted_one_begins_anew() {
    let (world, _upstream) = world(Trace::Proxies, true, 100).await;
    let (parent, state) = told(&world, &given()).await;
    let id = "0af7651916cd43dd8448eb211c80319c";
    assert!(
        parent.starts_with(&format!("00-{id}-")) && parent.ends_with("-00"),
        "{parent}"
    );
    assert!(
        !parent.contains("b7ad6b7169203331"),
        "the edge is a step of its own"
    );
    assert_eq!(state, "a=1|b=2");
    assert_eq!(world.logged(1).await[0]["trace_id"], id);

    let (stranger, _upstream) = self::world(Trace::Proxies, false, 100).await;
    let (first, state) = told(&stranger, &given()).await;
    let (second, _) = told(&stranger, "").await;
    for parent in [&first, &second] {
        assert!(TraceParent::parse(parent).unwrap().is_sampled(), "{parent}");
        assert!(!parent.contains(id), "{parent}");
    }
    assert_ne!(first, second);
    assert_eq!(state, "", "a state without its parent");
}

#[tokio::test]
async fn anybodys_trace_goes_on_if_it_is_one() {
    let (world, _upstream) = world(Trace::Clients, false, 0).await;
    assert!(
        told(&world, &given())
            .await
            .0
            .starts_with("00-0af7651916cd43dd8448eb211c80319c-")
    );
    for broken in [
        format!("Traceparent: {}\r\nTracestate: a=1\r\n", GIVEN.to_uppercase()),
        format!("Traceparent: {GIVEN}\r\nTraceparent: {GIVEN}\r\n"),
        "Traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-00\r\n".to_owned(),
    ] {
        let (parent, state) = told(&world, &broken).await;
        let parent = TraceParent::parse(&parent).unwrap();
        assert!(!parent.is_sampled() && state.is_empty(), "{broken}");
        assert_ne!(parent.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    }
    let doubtful = format!("Traceparent: {GIVEN}\r\nTracestate: A=1\r\nConnection: traceparent\r\n");
    let (parent, state) = told(&world, &doubtful).await;
    assert!(TraceParent::parse(&parent).is_some() && state.is_empty());
}

#[tokio::test]
async fn switched_off_the_headers_pass_as_they_are() {
    let (world, _upstream) = world(Trace::Off, false, 100).await;
    assert_eq!(
        told(&world, &given()).await,
        (GIVEN.to_owned(), "a=1|b=2".to_owned())
    );
    assert_eq!(told(&world, "").await, (String::new(), String::new()));
    assert!(world.logged(2).await[0].get("trace_id").is_none());
}
