//! A small HTTP/1.1 client that tells apart what a ledger must tell apart: nothing was sent, or nobody knows.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use banyan_runtime::{Clock, TaskKind, Tasks};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// An idle connection is not used again after this: well before a server closes it, whose end could cross the request.
const KEPT: Duration = Duration::from_secs(20);

type Sender = SendRequest<Full<Bytes>>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The server cannot have seen any of it.
    #[error("nothing was sent: {0}")]
    NotSent(String),
    /// The answer is missing or incomplete: it may or may not have been done.
    #[error("no complete answer: {0}")]
    NoAnswer(String),
}

/// Requests to one address. Keeps idle connections unless told to open a fresh one each time.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    keep_alive: bool,
    limit: Duration,
    /// The lock is held to push or pop, never across an await.
    idle: Mutex<Vec<(Sender, Instant)>>,
    tasks: Tasks,
}

impl Client {
    pub fn keep_alive(address: SocketAddr) -> Self {
        Self::new(address, true)
    }

    /// A new connection per request, closed after it.
    pub fn fresh_connections(address: SocketAddr) -> Self {
        Self::new(address, false)
    }

    fn new(address: SocketAddr, keep_alive: bool) -> Self {
        let (trigger, _) = banyan_runtime::shutdown::channel();
        let limit = Duration::from_secs(60);
        Self {
            address,
            keep_alive,
            limit,
            idle: Mutex::default(),
            tasks: Tasks::new(trigger),
        }
    }

    /// The whole exchange, connecting included, may take this long (default 60 s).
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that could be used again right now.
    pub fn idle_connections(&self) -> usize {
        let idle = self.idle.lock().expect("no holder of this lock panics");
        idle.iter().filter(|(sender, _)| sender.is_ready()).count()
    }

    pub async fn get(&self, path: &str) -> Result<Response<Bytes>, Failure> {
        self.send(
            Request::get(path)
                .body(Bytes::new())
                .expect("test paths are valid"),
        )
        .await
    }

    /// `token`: RealWorld's `Authorization: Token …`.
    pub async fn json(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: &serde_json::Value,
    ) -> Result<Response<Bytes>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Token {token}"));
        }
        self.send(
            request
                .body(Bytes::from(body.to_string()))
                .expect("test requests are valid"),
        )
        .await
    }

    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Failure> {
        match tokio::time::timeout(self.limit, self.exchange(request)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(Failure::NoAnswer(format!("none within {:?}", self.limit))),
        }
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Failure> {
        let mut request = self.complete(request);
        loop {
            let (mut sender, reused) = match self.pop_idle() {
                Some(sender) => (sender, true),
                None => (self.connect().await?, false),
            };
            match sender.try_send_request(request).await {
                Ok(response) => return self.read(sender, response).await,
                Err(mut error) => match error.take_message() {
                    // The server closed the idle connection and no byte was written: as if it had not been there.
                    Some(unsent) if reused => request = unsent,
                    Some(_) => return Err(Failure::NotSent(error.error().to_string())),
                    None => return Err(Failure::NoAnswer(causes(error.error()))),
                },
            }
        }
    }

    async fn read(
        &self,
        sender: Sender,
        response: Response<hyper::body::Incoming>,
    ) -> Result<Response<Bytes>, Failure> {
        let (head, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| Failure::NoAnswer(causes(&error)))?
            .to_bytes();
        if self.keep_alive && !sender.is_closed() {
            self.idle
                .lock()
                .expect("no holder of this lock panics")
                .push((sender, Clock.now()));
        }
        Ok(Response::from_parts(head, body))
    }

    fn complete(&self, request: Request<Bytes>) -> Request<Full<Bytes>> {
        let mut request = request.map(Full::new);
        let host = HeaderValue::from_str(&self.address.to_string()).expect("an address is a valid header");
        request.headers_mut().entry(HOST).or_insert(host);
        if !self.keep_alive {
            request
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        request
    }

    fn pop_idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().expect("no holder of this lock panics");
        while let Some((sender, since)) = idle.pop() {
            if sender.is_ready() && Clock.now() - since < KEPT {
                return Some(sender);
            }
        }
        None
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        let not_sent =
            |what: &str, error: String| Failure::NotSent(format!("{what} {}: {error}", self.address));
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|error| not_sent("failed to connect to", error.to_string()))?;
        stream
            .set_nodelay(true)
            .map_err(|error| not_sent("failed to set up", error.to_string()))?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| not_sent("failed to speak with", error.to_string()))?;
        // Its error reaches the request that was in flight.
        self.tasks.spawn(TaskKind::Connection, "test client", async move {
            connection.await.is_ok()
        });
        Ok(sender)
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
