use http::{HeaderMap, HeaderValue, Method, StatusCode};

use banyan_httpcache::{Admit, Answered, Asked, Policy, Times, admit};

use super::super::kept::Kept;
use super::*;

const NOW: Time = Time::from_seconds(1_800_000_000);

fn object(store: &Store, uri: &str, bytes: usize, vary: Option<&'static str>) -> Arc<Object> {
    let (mut request, mut headers) = (HeaderMap::new(), HeaderMap::new());
    headers.insert("cache-control", HeaderValue::from_static("max-age=60"));
    if let Some(language) = vary {
        headers.insert("vary", HeaderValue::from_static("accept-language"));
        request.insert("accept-language", HeaderValue::from_static(language));
    }
    let body = Kept::new(vec![(0, vec![0; bytes].into())], None);
    made(store, uri, (&request, &headers), body)
}

fn made(store: &Store, uri: &str, (request, headers): (&HeaderMap, &HeaderMap), body: Kept) -> Arc<Object> {
    let asked = Asked {
        method: &Method::GET,
        headers: request,
    };
    let answered = Answered {
        status: StatusCode::OK,
        headers,
    };
    let times = Times {
        sent: NOW,
        received: NOW,
        ahead: std::time::Duration::ZERO,
    };
    let Admit::Yes(head) = admit(asked, answered, &Policy::default(), times) else {
        panic!("not stored");
    };
    let born = store.tick.load(Ordering::Relaxed);
    let marks = store.marks(uri, &head.tags, born);
    Arc::new(Object::new(*head, "".into(), Arc::new(body), marks))
}

fn put(store: &Store, uri: &str, bytes: usize) {
    store.insert(uri, object(store, uri, bytes, None), None);
}

fn has(store: &Store, uri: &str) -> bool {
    !store.find(uri, "").objects.is_empty()
}

#[test]
fn the_memory_is_bounded_and_a_scan_pushes_nothing_popular_out() {
    let store = Store::default();
    store.resize(4 << 20);
    for popular in 0..100 {
        put(&store, &format!("http://a/popular/{popular}"), 10_000);
    }
    for round in 0..40 {
        for popular in 0..100 {
            assert!(
                has(&store, &format!("http://a/popular/{popular}")),
                "round {round}"
            );
        }
        for once in 0..100 {
            put(&store, &format!("http://a/once/{round}/{once}"), 10_000);
        }
        assert!(store.used() <= 4 << 20);
    }
    assert!(store.evicted() > 3_000);
    store.resize(0);
    assert_eq!((store.used(), store.len()), (0, 0));
}

#[test]
fn variants_stand_beside_each_other_and_replace_their_like() {
    let store = Store::default();
    store.resize(1 << 20);
    for language in ["de", "en", "de"] {
        store.insert("http://a/", object(&store, "http://a/", 10, Some(language)), None);
    }
    assert_eq!(store.find("http://a/", "").objects.len(), 2);
    assert_eq!(store.find("http://a/", "another route").objects.len(), 0);
    let one = Arc::clone(&store.find("http://a/", "").objects[0].0);
    store.remove("http://a/", &one);
    assert_eq!(store.find("http://a/", "").objects.len(), 1);
}

#[test]
fn a_purge_reaches_what_was_asked_for_before_it_even_if_it_comes_later() {
    let store = Arc::new(Store::default());
    store.resize(1 << 20);
    let late = object(&store, "http://a/x", 10, None);
    let asking = store.ask("http://a/x");
    store.invalidate("http://a/x", NOW);
    drop(asking);
    store.insert("http://a/x", late, None);
    put(&store, "http://a/y", 10);
    let standing = |uri: &str| store.find(uri, "").objects[0].1;
    assert_eq!(standing("http://a/x"), Standing::Purged);
    assert_eq!(standing("http://a/y"), Standing::Sound);
    store.purge(&Target::All, Mode::Soft, NOW);
    assert_eq!(standing("http://a/y"), Standing::SoftlyPurged(NOW));
}

#[test]
fn an_unsafe_request_for_what_is_not_stored_leaves_no_trace() {
    let store = Store::default();
    store.invalidate("http://a/x", NOW);
    assert_eq!(store.tick.load(Ordering::Relaxed), 0);
}

/// Bytes of memory that the process has, by the kernel (proc(5), status).
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// As nginx says them of a file.
const FIELDS: [(&str, &str); 8] = [
    ("server", "nginx/1.22.1"),
    ("date", "Sun, 22 Nov 2026 12:00:00 GMT"),
    ("content-type", "application/octet-stream"),
    ("content-length", "1024"),
    ("last-modified", "Sun, 22 Nov 2026 10:00:00 GMT"),
    ("etag", "\"69218a40-400\""),
    ("cache-control", "public, max-age=3600"),
    ("accept-ranges", "bytes"),
];

/// What `memory` bounds is what the process takes. Bytes are compared, with room for what allocators do.
#[test]
fn what_is_counted_is_what_the_process_takes() {
    const OBJECTS: u64 = 20_000;
    let store = Store::default();
    store.resize(1 << 30);
    let fill = |from: u64, count: u64| {
        for n in from..from + count {
            let uri = format!("http://127.0.0.1:8080/o/{n}");
            let lines = FIELDS
                .map(|(name, value)| format!("{name}: {value}\r\n"))
                .concat();
            let buffer = bytes::Bytes::from(lines.into_bytes());
            let mut headers = HeaderMap::with_capacity(FIELDS.len() + 3);
            for (name, value) in FIELDS {
                let at = buffer
                    .windows(value.len())
                    .position(|text| text == value.as_bytes());
                let at = at.unwrap();
                let value = HeaderValue::from_maybe_shared(buffer.slice(at..at + value.len()));
                headers.insert(http::HeaderName::from_static(name), value.unwrap());
            }
            let body = Kept::new(vec![(0, bytes::Bytes::copy_from_slice(&[7; 1024]))], None);
            let object = made(&store, &uri, (&HeaderMap::new(), &headers), body);
            store.insert(&uri, object, None);
        }
    };
    // What the allocator keeps for itself is there then.
    fill(0, 2000);
    let before = (resident(), store.used());
    fill(2000, OBJECTS);
    let (took, counted) = (resident() - before.0, store.used() - before.1);
    let each = (took / OBJECTS, counted / OBJECTS);
    assert!(
        took * 100 < counted * 115 && took * 100 > counted * 80,
        "took, counted: {each:?}"
    );
}
