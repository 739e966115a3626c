//! One HTTP/1.1 connection, kept between requests as a browser keeps it; opened anew when the server has closed it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Longer than any answer of a healthy app; a test that hangs says so.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Client {
    authority: String,
    open: Option<Open>,
}

struct Open {
    sender: SendRequest<Full<Bytes>>,
    driver: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Client {
    /// `base` is `http://host:port`.
    pub(super) fn new(base: &str) -> Result<Self, String> {
        let authority = base
            .strip_prefix("http://")
            .ok_or_else(|| format!("{base} is not an http:// address"))?;
        Ok(Self {
            authority: authority.trim_end_matches('/').to_owned(),
            open: None,
        })
    }

    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, String> {
        tokio::time::timeout(ANSWER_LIMIT, self.exchange(request))
            .await
            .map_err(|_| format!("no answer within {ANSWER_LIMIT:?}"))?
    }

    async fn exchange(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Bytes>, String> {
        let host = self.authority.parse().map_err(|_| "a bad host".to_owned())?;
        request.headers_mut().insert(http::header::HOST, host);
        let mut open = self.ready().await?;
        let answer = async {
            let response = open
                .sender
                .send_request(request)
                .await
                .map_err(|error| error.to_string())?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let answer = alongside(answer, &mut open.driver).await;
        self.open = Some(open);
        answer
    }

    /// The kept connection if it still takes a request, else a new one.
    async fn ready(&mut self) -> Result<Open, String> {
        if let Some(mut open) = self.open.take()
            && alongside(open.sender.ready(), &mut open.driver).await.is_ok()
        {
            return Ok(open);
        }
        let stream = TcpStream::connect(&self.authority)
            .await
            .map_err(|error| format!("failed to connect to {}: {error}", self.authority))?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        // Its error also reaches the request in flight.
        let driver = Box::pin(async move { drop(connection.await) });
        Ok(Open { sender, driver })
    }
}

/// Drives the connection until `work` is done; a finished connection is not polled again.
async fn alongside<T>(
    work: impl Future<Output = T>,
    driver: &mut Pin<Box<dyn Future<Output = ()> + Send>>,
) -> T {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        () = driver.as_mut() => *driver = Box::pin(std::future::pending()),
        done = work.as_mut() => return done,
    }
    work.await
}
