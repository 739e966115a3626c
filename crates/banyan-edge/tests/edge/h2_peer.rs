//! HTTP/2 on both sides of the edge: a client, and instances that run a handler per request.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use banyan_config::Protocol;

use crate::world::World;

pub(crate) type Asked = Request<RecvStream>;
pub(crate) type Reply = SendResponse<Bytes>;

/// Nothing in a test takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work)
        .await
        .expect("never happened")
}

/// A server with prior knowledge; everything ends on drop.
pub(crate) struct Instance {
    pub address: SocketAddr,
    /// Connections on which somebody spoke HTTP/2.
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Instance {
    pub(crate) async fn start<F, Fut>(handler: F) -> Self
    where
        F: Fn(Asked, Reply) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::with(h2::server::Builder::new(), handler).await
    }

    /// With other settings; a handler that is to end the connection for new requests returns `false`.
    #[expect(clippy::disallowed_methods, reason = "a test's own task, ended on drop")]
    pub(crate) async fn with<F, Fut>(builder: h2::server::Builder, handler: F) -> Self
    where
        F: Fn(Asked, Reply) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut running = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (builder, handler) = (builder.clone(), handler.clone());
                let counted = Arc::clone(&counted);
                running.spawn(async move {
                    let Ok(mut connection) = builder.handshake(stream).await else {
                        return;
                    };
                    let mut requests = JoinSet::new();
                    let mut first = true;
                    while let Some(Ok((request, reply))) = connection.accept().await {
                        if std::mem::take(&mut first) {
                            counted.fetch_add(1, Ordering::SeqCst);
                        }
                        let goodbye = request.uri().path() == "/goodbye";
                        requests.spawn(handler(request, reply));
                        if goodbye {
                            connection.graceful_shutdown();
                        }
                    }
                });
            }
        });
        Self {
            address,
            connections,
            task,
        }
    }

    /// On which there was a request.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An edge before instances that speak HTTP/2.
pub(crate) async fn before(instances: &[&Instance]) -> World {
    with(instances, |_| {}).await
}

pub(crate) async fn with(
    instances: &[&Instance],
    change: impl FnOnce(&mut banyan_topology::snapshot::EdgeSnapshot),
) -> World {
    let addresses: Vec<_> = instances.iter().map(|i| i.address).collect();
    World::with(&addresses, |s| {
        for endpoint in &mut s.upstream.endpoints {
            endpoint.protocol = Protocol::H2;
        }
        change(s);
    })
    .await
}

/// The whole body and the trailers.
pub(crate) async fn read(body: &mut RecvStream) -> Result<(String, Option<HeaderMap>), h2::Error> {
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        text.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?;
    Ok((String::from_utf8_lossy(&text).into_owned(), trailers))
}

/// An answer with this text.
pub(crate) fn say(mut reply: Reply, text: impl Into<Bytes>) {
    if let Ok(mut stream) = reply.send_response(Response::new(()), false) {
        let _gone = stream.send_data(text.into(), true);
    }
}

/// A client whose connection runs beside it.
pub(crate) struct Client {
    pub sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    #[expect(clippy::disallowed_methods, reason = "the client's own task")]
    pub(crate) async fn connect(world: &World) -> Self {
        let stream = TcpStream::connect(world.address()).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        Self {
            sender,
            connection: tokio::spawn(connection),
        }
    }

    pub(crate) async fn send(&self, request: Request<()>, ends: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let mut ready = self.sender.clone().ready().await.unwrap();
        ready.send_request(request, ends).unwrap()
    }

    /// The head, the text and the trailers.
    pub(crate) async fn ask(
        &self,
        request: Request<()>,
        body: Option<&str>,
    ) -> (Response<()>, String, HeaderMap) {
        let (answer, mut stream) = self.send(request, body.is_none()).await;
        if let Some(body) = body {
            stream
                .send_data(Bytes::copy_from_slice(body.as_bytes()), true)
                .unwrap();
        }
        let (head, mut body) = soon(answer).await.unwrap().into_parts();
        let (text, trailers) = soon(read(&mut body)).await.unwrap();
        (Response::from_parts(head, ()), text, trailers.unwrap_or_default())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
