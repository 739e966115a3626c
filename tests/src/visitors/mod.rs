//! Visitors of a site: every way to reach an app through the edge, over addresses that come and go.
//!
//! They behave as good clients do and no better: of several addresses the next one is tried where nobody listens; kept
//! connections to an address that is no longer theirs are closed; a kept
//! connection that was closed, or has been silent for nearly as long as an edge that ends waits, is not used again; nothing
//! is ever sent twice. Whatever then does not bring a complete and correct answer is a failure.

mod doors;
mod http2;
mod websocket;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use banyan_runtime::Clock;
use banyan_testkit::ledger::Outcome;
use banyan_testkit::load::Answer;
use banyan_testkit::upstream::{Message, Wire};
use banyan_tls::client;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;

pub use doors::Doors;
use http2::Http2;

/// What a visit ends with: `Err` says in words what was wrong.
type Visit<T = ()> = Result<T, String>;

/// For a whole visit; below the patience of [`Wire`].
const LIMIT: Duration = Duration::from_secs(55);
/// An edge that ends closes connections that were silent for a second.
const KEPT: Duration = Duration::from_millis(600);

/// What somebody does. Names are the kinds in reports.
const KINDS: [&str; 12] = [
    "plain, fresh connection",
    "plain, kept connection",
    "https, fresh connection",
    "https, kept connection",
    "plain upload",
    "https upload",
    "h2",
    "h2 upload",
    "listener",
    "websocket",
    "h2 websocket",
    "events",
];
/// Which kind the n-th visit is: those that last a second or more come less often.
const TURNS: [usize; 40] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 1, 6, 3, 0, 1, 6, 9, 6, 1, 8, 3, 4, 6, 1, 7, 2, 0, 3, 10, 6, 1, 5, 8, 6, 3, 1,
    6, 0, 7, 1, 11,
];

/// People who believe the CAs in `trust` and ask for `name`.
#[derive(Debug)]
pub struct Visitors {
    doors: watch::Receiver<Doors>,
    name: String,
    trust: PathBuf,
    plain: Kept<TcpStream>,
    secure: Kept<client::Stream>,
    http2: Http2,
}

impl Visitors {
    /// `trust`: a PEM file that holds every CA that certificates of `name` may come from.
    pub fn new(doors: watch::Receiver<Doors>, name: &str, trust: PathBuf) -> Self {
        Self {
            doors,
            name: name.to_owned(),
            trust,
            plain: Kept::default(),
            secure: Kept::default(),
            http2: Http2::default(),
        }
    }

    /// The n-th visit.
    pub async fn visit(&self, number: u64) -> Answer {
        let turn = usize::try_from(number).unwrap_or_default() % TURNS.len();
        let kind = TURNS[turn];
        let visit = tokio::time::timeout(LIMIT, self.perform(kind, number)).await;
        let failure = match visit {
            Ok(Ok(())) => None,
            Ok(Err(reason)) => Some(reason),
            Err(_elapsed) => Some(format!("not done within {LIMIT:?}")),
        };
        Answer {
            kind: KINDS[kind],
            outcome: failure
                .as_ref()
                .map_or(Outcome::Acknowledged, |_| Outcome::Unknown),
            detail: failure
                .map(|reason| format!("visit {number}: {reason}"))
                .unwrap_or_default(),
        }
    }

    async fn perform(&self, kind: usize, number: u64) -> Visit {
        let get = Asked::get(&self.name, number);
        let upload = Asked::upload(&self.name, number);
        match kind {
            0 => get.over(&mut self.connect().await?).await.map(drop),
            1 => self.kept_plain(&get).await,
            2 => get.over(&mut self.secure(&["http/1.1"]).await?).await.map(drop),
            3 => self.kept_secure(&get).await,
            4 => self.kept_plain(&upload).await,
            5 => self.kept_secure(&upload).await,
            6 => self.http2.get(self, number).await,
            7 => self.http2.upload(self, number).await,
            8 => self.listener(&get).await,
            9 => websocket::over_http1(self.secure(&["http/1.1"]).await?, &self.name).await,
            10 => self.http2.websocket(self).await,
            _ => self.events().await,
        }
    }

    async fn connect(&self) -> Visit<Wire> {
        let places = self.doors.borrow().http.clone();
        doors::connect(&places).await.map(Wire::new)
    }

    async fn secure(&self, protocols: &[&str]) -> Visit<Wire<client::Stream>> {
        self.handshake(protocols).await.map(Wire::over)
    }

    async fn handshake(&self, protocols: &[&str]) -> Visit<client::Stream> {
        let places = self.doors.borrow().https.clone();
        let stream = doors::connect(&places).await?;
        client::connect(stream, &self.name, client::Trust::Bundle(&self.trust), protocols)
            .await
            .map_err(|error| format!("no handshake: {error}: {}", source(&error)))
    }

    async fn kept_plain(&self, asked: &Asked) -> Visit {
        self.plain.at(self.doors.borrow().http.clone());
        let wire = match self.plain.take().await {
            Some(wire) => wire,
            None => self.connect().await?,
        };
        self.plain.ask(wire, asked).await
    }

    async fn kept_secure(&self, asked: &Asked) -> Visit {
        self.secure.at(self.doors.borrow().https.clone());
        let wire = match self.secure.take().await {
            Some(wire) => wire,
            None => self.secure(&["http/1.1"]).await?,
        };
        self.secure.ask(wire, asked).await
    }

    /// Through a listener that looks into nothing, while there is one.
    async fn listener(&self, asked: &Asked) -> Visit {
        let places = self.doors.borrow().listener.clone();
        if places.is_empty() {
            return self.kept_plain(asked).await;
        }
        let mut wire = Wire::new(doors::connect(&places).await?);
        asked.over(&mut wire).await.map(drop)
    }

    /// All of a stream that lasts a second, to its end.
    async fn events(&self) -> Visit {
        let mut wire = self.secure(&["http/1.1"]).await?;
        wire.send(format!(
            "GET /events HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.name
        ))
        .await;
        let answer = wire.message().await.ok_or("events broke off")?;
        expect_events(answer.status(), &answer.text())
    }
}

/// The app's ten events.
fn expect_events(status: u16, text: &str) -> Visit {
    let events = text.matches("data: ").count();
    if (status, events) == (200, 10) {
        Ok(())
    } else {
        Err(format!("{status} with {events} of 10 events"))
    }
}

fn source(error: &dyn std::error::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

/// What an upload of a visit has in it: 24 KiB that no other visit sends.
fn upload_of(number: u64) -> Vec<u8> {
    format!("{number:08}").into_bytes().repeat(3 * 1024)
}

/// A request as HTTP/1 says it, and what must come back.
struct Asked {
    request: Vec<u8>,
    /// `None`: the app's greeting.
    body: Option<Vec<u8>>,
}

impl Asked {
    fn get(name: &str, number: u64) -> Self {
        Self {
            request: format!("GET /visit/{number} HTTP/1.1\r\nHost: {name}\r\n\r\n").into_bytes(),
            body: None,
        }
    }

    fn upload(name: &str, number: u64) -> Self {
        let body = upload_of(number);
        let length = body.len();
        let head =
            format!("POST /upload/{number} HTTP/1.1\r\nHost: {name}\r\nContent-Length: {length}\r\n\r\n");
        Self {
            request: [head.as_bytes(), &body].concat(),
            body: Some(body),
        }
    }

    async fn over<S: AsyncRead + AsyncWrite + Unpin>(&self, wire: &mut Wire<S>) -> Visit<Message> {
        wire.send(&self.request).await;
        let answer = wire.message().await.ok_or("ended without a complete answer")?;
        expect(answer.status(), &answer.body, self.body.as_deref())?;
        Ok(answer)
    }
}

/// What was sent comes back; without anything sent, the app greets.
fn expect(status: u16, body: &[u8], sent: Option<&[u8]>) -> Visit {
    let right = sent.map_or_else(|| body.starts_with(b"chatter"), |sent| body == sent);
    if status == 200 && right {
        return Ok(());
    }
    let start = String::from_utf8_lossy(&body[..body.len().min(200)]);
    Err(format!("{status}, {} bytes: {start}", body.len()))
}

/// Connections between two requests.
#[derive(Debug)]
struct Kept<S> {
    /// Held to push or pop, never across an await.
    idle: Mutex<Vec<(Wire<S>, Instant)>>,
    /// Where they lead to, among others.
    places: Mutex<Vec<SocketAddr>>,
}

impl<S> Default for Kept<S> {
    fn default() -> Self {
        Self {
            idle: Mutex::default(),
            places: Mutex::default(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Kept<S> {
    fn pop(&self) -> Option<(Wire<S>, Instant)> {
        self.idle.lock().expect("no holder of this lock panics").pop()
    }

    /// All are closed when the addresses are others than before.
    fn at(&self, places: Vec<SocketAddr>) {
        let mut known = self.places.lock().expect("no holder of this lock panics");
        if *known != places {
            *known = places;
            self.idle.lock().expect("no holder of this lock panics").clear();
        }
    }

    /// The youngest one that the other side has not closed.
    async fn take(&self) -> Option<Wire<S>> {
        while let Some((mut wire, since)) = self.pop() {
            if Clock.now() - since < KEPT && wire.is_silent().await {
                return Some(wire);
            }
        }
        None
    }

    async fn ask(&self, mut wire: Wire<S>, asked: &Asked) -> Visit {
        let answer = asked.over(&mut wire).await?;
        if !answer.header("connection").eq_ignore_ascii_case("close") {
            let mut idle = self.idle.lock().expect("no holder of this lock panics");
            idle.push((wire, Clock.now()));
        }
        Ok(())
    }
}
