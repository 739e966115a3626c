//! Two readers of the same bytes: whatever requests ours finds, hyper finds the same, in the same order and with the same
//! bodies. Ours may stop earlier (it is stricter); it must never see a request that hyper does not.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use super::chunked::Piece;
use super::request::HeadLimits;
use super::requests::Requests;
use banyan_upstream::balance::hash::Random;

const CASES: u64 = 6000;
const LIMITS: HeadLimits = HeadLimits {
    bytes: 32 * 1024,
    headers: 100,
    request_line: 8 * 1024,
};

/// What the mutations begin with: every way to frame a request, and ways to lie about it.
const SEEDS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a?b=c HTTP/1.1\r\nHost: a.example:8080\r\nAccept: */*\r\nCookie: a=1; b=2\r\nX-Empty:\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HEAD http://a/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET /after-an-empty-line HTTP/1.1\r\nhost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 05\r\nContent-Type: text/plain\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 44\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\nX: 0123456\r\n\r\n",
    "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
    "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\nA\r\n0123456789\r\n0\r\nX: 1\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
    "GET / HTTP/1.1\r\nHost: a\r\nX: one\r\n folded\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX : space\r\n\r\n",
    "GET / HTTP/1.1\nHost: a\n\n",
    "DELETE /%2e%2e/%00 HTTP/1.1\r\nHost: [::1]\r\nX-\x01: \x02\r\n\r\n",
];

/// Bytes that mean something.
const TELLING: &[u8] = b"\r\n\0 \t:;,=0159afAFzZ/?*%\x7f\x80\xff\x0b\x0c";

/// A complete request.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    line: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Seen {
    fn new<B>(request: &Request<B>) -> Self {
        Self {
            line: format!("{} {} {:?}", request.method(), request.uri(), request.version()),
            headers: request.headers().clone(),
            body: Vec::new(),
        }
    }
}

/// As `core::http1` goes through them, cut into pieces of `size`.
fn ours(bytes: &[u8], size: usize) -> Vec<Seen> {
    let mut requests = Requests::new(Bytes::new(), LIMITS);
    let mut pieces = bytes.chunks(size);
    let mut all = Vec::new();
    loop {
        let head = match requests.head() {
            Ok(Some(head)) => head,
            Ok(None) => match pieces.next() {
                Some(piece) => {
                    requests.feed(Bytes::copy_from_slice(piece));
                    continue;
                }
                None => return all,
            },
            Err(_refused) => return all,
        };
        let mut seen = Seen::new(&head.request);
        loop {
            match requests.piece() {
                Ok(Piece::Data(data)) => seen.body.extend(data),
                Ok(Piece::Trailers(_)) => {}
                Ok(Piece::End) => break,
                Ok(Piece::More) => match pieces.next() {
                    Some(piece) => requests.feed(Bytes::copy_from_slice(piece)),
                    None => return all,
                },
                Err(_refused) => return all,
            }
        }
        all.push(seen);
        if !head.wishes.keep || head.wishes.upgrade {
            return all;
        }
    }
}

async fn hypers(bytes: &[u8]) -> Vec<Seen> {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let all = Rc::new(RefCell::new(Vec::new()));
    let list = Rc::clone(&all);
    let service = service_fn(move |request: Request<Incoming>| {
        let list = Rc::clone(&list);
        async move {
            let mut seen = Seen::new(&request);
            let mut body = request.into_body();
            while let Some(frame) =
                std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
            {
                match frame {
                    Ok(frame) => seen.body.extend(frame.into_data().unwrap_or_default()),
                    Err(_broken) => return Ok::<_, Infallible>(Response::new(String::new())),
                }
            }
            list.borrow_mut().push(seen);
            Ok(Response::new(String::new()))
        }
    });
    let mut builder = http1::Builder::new();
    builder.half_close(true);
    let _broken = builder.serve_connection(TokioIo::new(server), service).await;
    all.take()
}

struct Mutations(Random);

impl Mutations {
    fn below(&mut self, limit: usize) -> usize {
        (self.0.number() % limit.max(1) as u64) as usize
    }

    fn seed(&mut self) -> &'static [u8] {
        SEEDS[self.below(SEEDS.len())].as_bytes()
    }

    /// One or two messages with a few changes.
    fn case(&mut self) -> Vec<u8> {
        let mut bytes = self.seed().to_vec();
        if self.below(2) == 0 {
            bytes.extend_from_slice(self.seed());
        }
        for _ in 0..self.below(4) {
            self.change(&mut bytes);
        }
        bytes.extend_from_slice(b"GET /last HTTP/1.1\r\nHost: a\r\n\r\n");
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        let telling = TELLING[self.below(TELLING.len())];
        match self.below(6) {
            0 => bytes[at] = telling,
            1 => bytes.insert(at, telling),
            2 => drop(bytes.remove(at)),
            3 => bytes[at] ^= 0x20,
            4 => {
                let end = (at + self.below(20)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = self.seed();
                let from = self.below(other.len());
                let end = (from + self.below(40)).min(other.len());
                bytes.splice(at..at, other[from..end].iter().copied());
            }
        }
    }
}

#[test]
fn hyper_finds_the_same_requests_in_the_same_bytes() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (mut found, mut refused) = (0, 0);
    for seed in 0..CASES {
        let mut mutations = Mutations(Random::new(seed));
        let bytes = if seed < SEEDS.len() as u64 {
            SEEDS[seed as usize].as_bytes().to_vec()
        } else {
            mutations.case()
        };
        let ours = ours(&bytes, 1 + mutations.below(200));
        let mut hypers = runtime.block_on(hypers(&bytes));
        refused += usize::from(ours.len() < hypers.len());
        found += ours.len();
        hypers.truncate(ours.len());
        assert_eq!(ours, hypers, "case {seed}: {:?}", String::from_utf8_lossy(&bytes));
    }
    // The mutations must neither break everything nor nothing.
    assert!(found > 2000 && refused > 100, "{found} found, {refused} refused");
}
