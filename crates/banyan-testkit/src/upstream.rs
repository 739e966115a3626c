//! Both ends of HTTP as raw sockets: upstreams that follow a script, clients that send exactly these bytes.
//!
//! A real server or client would repair what a test wants to be broken. Tasks: one per upstream, one per connection; all
//! end when the [`Upstream`] is dropped. Limits: 64 MiB per message.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Nothing in a test takes longer, so a hang becomes a failure with a place.
const PATIENCE: Duration = Duration::from_secs(60);

/// A listening socket whose connections are handled by a script; everything ends on drop, as if it were killed.
pub struct Upstream {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Upstream {
    /// Runs `script` for each connection.
    pub async fn start<F, Fut>(script: F) -> Self
    where
        F: Fn(Wire) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        Self::on(listener, script)
    }

    /// As [`Upstream::start`], at a given address.
    #[expect(clippy::disallowed_methods, reason = "a test's own task, ended on drop")]
    pub fn on<F, Fut>(listener: TcpListener, script: F) -> Self
    where
        F: Fn(Wire) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().expect("a bound socket");
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut running = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                running.spawn(script(Wire::new(stream)));
                while running.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            connections,
            task,
        }
    }

    /// Answers every request with 200 and what `answer` makes of it, keeping connections alive.
    pub async fn answering(answer: impl Fn(&Message) -> String + Clone + Send + Sync + 'static) -> Self {
        Self::start(move |wire| serve(wire, answer.clone())).await
    }

    /// Connections so far, health checks included.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Ends it; the socket is closed when this returns.
    pub async fn kill(mut self) {
        self.task.abort();
        let _cancelled = (&mut self.task).await;
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut wire: Wire, answer: impl Fn(&Message) -> String) {
    while let Some(request) = wire.message().await {
        wire.answer(200, &answer(&request)).await;
    }
}

/// One side of a connection.
#[derive(Debug)]
pub struct Wire<S = TcpStream> {
    stream: BufReader<S>,
}

/// A request or a response with its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The request line or the status line.
    pub start: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Lines after the last chunk.
    pub trailers: Vec<(String, String)>,
}

impl Message {
    /// Of a response.
    pub fn status(&self) -> u16 {
        self.start
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .unwrap_or(0)
    }

    /// Of a request.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// All values of a header, joined by `|`; "" when absent.
    pub fn header(&self, name: &str) -> String {
        let values = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        values.map(|(_, v)| v.as_str()).collect::<Vec<_>>().join("|")
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        // Tests cut messages on purpose: every piece leaves at once.
        let _best_effort = stream.set_nodelay(true);
        Self::over(stream)
    }

    pub async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.expect("something listens"))
    }

    /// The socket itself; what was read ahead is lost.
    pub fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }

    /// Ends the connection by a reset.
    pub fn reset(self) {
        let _best_effort = self.stream.get_ref().set_zero_linger();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Over anything, TLS for example.
    pub fn over(stream: S) -> Self {
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sends bytes; an error means that the other side has gone, which the test sees when it reads.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _gone = self.stream.get_mut().write_all(bytes.as_ref()).await;
        let _gone = self.stream.get_mut().flush().await;
    }

    /// A complete response with a Content-Length.
    pub async fn answer(&mut self, status: u16, body: &str) {
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len());
        self.send(format!("{head}{body}")).await;
    }

    /// The next request or final response with its body; `None` at the end of the stream (or when it breaks).
    /// Without a length, a response runs to the end of the stream. Answers to HEAD: use [`Wire::head`].
    pub async fn message(&mut self) -> Option<Message> {
        let mut message = self.head().await?;
        while message.start.starts_with("HTTP/1.1 100") {
            message = self.head().await?;
        }
        self.body_of(&mut message).await?;
        Some(message)
    }

    /// What follows a head, and its trailers.
    pub async fn body_of(&mut self, message: &mut Message) -> Option<()> {
        let length = message.header("content-length");
        let response = message.start.starts_with("HTTP/");
        if message
            .header("transfer-encoding")
            .eq_ignore_ascii_case("chunked")
        {
            self.chunks(message).await?;
        } else if let Ok(length) = length.parse() {
            message.body = self.bytes(length).await?;
        } else if response && ![101, 204, 304].contains(&message.status()) {
            message.body = self.rest().await;
        }
        Some(())
    }

    /// A head only.
    pub async fn head(&mut self) -> Option<Message> {
        let start = loop {
            let line = self.line().await?;
            if !line.is_empty() {
                break line;
            }
        };
        let headers = self.fields().await?;
        Some(Message {
            start,
            headers,
            ..Message::default()
        })
    }

    async fn fields(&mut self) -> Option<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some(fields);
            }
            let (name, value) = line.split_once(':')?;
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    async fn chunks(&mut self, message: &mut Message) -> Option<()> {
        loop {
            let size = self.line().await?;
            let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
            if size == 0 {
                message.trailers = self.fields().await?;
                return Some(());
            }
            let chunk = self.bytes(size).await?;
            message.body.extend(chunk);
            self.line().await?;
        }
    }

    /// A line without its end.
    pub async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let read = patiently(self.stream.read_until(b'\n', &mut line)).await;
        if read.unwrap_or(0) == 0 || !line.ends_with(b"\n") {
            return None;
        }
        Some(
            String::from_utf8_lossy(&line)
                .trim_end_matches(['\r', '\n'])
                .to_owned(),
        )
    }

    /// Exactly so many bytes; `None`: the stream ended before.
    pub async fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        patiently(self.stream.read_exact(&mut bytes)).await.ok()?;
        Some(bytes)
    }

    /// All that comes until the end of the stream.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _reset = patiently(self.stream.read_to_end(&mut bytes)).await;
        bytes
    }

    /// Whether it is open and nothing has come that was not read; for connections between two messages.
    pub async fn is_silent(&mut self) -> bool {
        let waited = tokio::time::timeout(Duration::ZERO, self.stream.fill_buf()).await;
        waited.is_err()
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) {
        let _gone = self.stream.get_mut().shutdown().await;
    }
}

async fn patiently<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("the other side is silent for too long")
}
