//! Visitors that share one HTTP/2 connection, as a browser's tabs do, and take another one when told that it ends.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};

use banyan_runtime::{TaskKind, Tasks};
use banyan_testkit::upstream::Wire;

use super::{Visit, Visitors, expect, upload_of, websocket};

/// Until a new connection's first SETTINGS are there: extended CONNECT may be used after them.
const SETTLED: Duration = Duration::from_secs(10);

type Sender = SendRequest<Full<Bytes>>;

#[derive(Debug)]
pub(super) struct Http2 {
    /// Held to look and to replace, never across an await.
    shared: Mutex<Option<(Sender, Vec<SocketAddr>)>>,
    tasks: Tasks,
}

impl Default for Http2 {
    fn default() -> Self {
        let (trigger, _) = banyan_runtime::shutdown::channel();
        Self {
            shared: Mutex::default(),
            tasks: Tasks::new(trigger),
        }
    }
}

impl Http2 {
    pub(super) async fn get(&self, visitors: &Visitors, number: u64) -> Visit {
        let request = request(visitors, Method::GET, &format!("/visit/{number}"), Vec::new());
        let (status, body) = self.whole(visitors, request).await?;
        expect(status, &body, None)
    }

    pub(super) async fn upload(&self, visitors: &Visitors, number: u64) -> Visit {
        let sent = upload_of(number);
        let request = request(visitors, Method::POST, &format!("/upload/{number}"), sent.clone());
        let (status, body) = self.whole(visitors, request).await?;
        expect(status, &body, Some(&sent))
    }

    /// By extended CONNECT (RFC 8441).
    pub(super) async fn websocket(&self, visitors: &Visitors) -> Visit {
        // Its answer comes after the other side's SETTINGS.
        tokio::time::timeout(SETTLED, self.get(visitors, 0))
            .await
            .map_err(|_elapsed| "no answer before a websocket".to_owned())??;
        let mut request = request(visitors, Method::CONNECT, "/ws", Vec::new());
        request
            .extensions_mut()
            .insert(Protocol::from_static("websocket"));
        let answer = self.send(visitors, request).await?;
        if answer.status() != 200 {
            return Err(format!("CONNECT answered {}", answer.status()));
        }
        let upgraded = hyper::upgrade::on(answer).await.map_err(|error| causes(&error))?;
        websocket::converse(&mut Wire::over(TokioIo::new(upgraded))).await
    }

    async fn whole(&self, visitors: &Visitors, request: Request<Full<Bytes>>) -> Visit<(u16, Bytes)> {
        let answer = self.send(visitors, request).await?;
        let status = answer.status().as_u16();
        let body = answer
            .into_body()
            .collect()
            .await
            .map_err(|error| causes(&error))?;
        Ok((status, body.to_bytes()))
    }

    async fn send(
        &self,
        visitors: &Visitors,
        mut request: Request<Full<Bytes>>,
    ) -> Visit<Response<Incoming>> {
        loop {
            let mut sender = self.sender(visitors).await?;
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok(answer),
                Err(mut error) => match error.take_message() {
                    // The connection had been told to end before this one was sent.
                    Some(unsent) => request = unsent,
                    None => return Err(causes(error.error())),
                },
            }
        }
    }

    async fn sender(&self, visitors: &Visitors) -> Visit<Sender> {
        let known = self.shared.lock().expect("no holder of this lock panics").clone();
        let places = visitors.doors.borrow().https.clone();
        if let Some((mut sender, _)) = known.filter(|(_, known)| *known == places)
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let stream = visitors.handshake(&["h2"]).await?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|error| causes(&error))?;
        self.tasks
            .spawn(TaskKind::Connection, "visitors' h2 connection", connection);
        *self.shared.lock().expect("no holder of this lock panics") = Some((sender.clone(), places));
        Ok(sender)
    }
}

fn request(visitors: &Visitors, method: Method, path: &str, body: Vec<u8>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri(format!("https://{}{path}", visitors.name))
        .body(Full::from(body))
        .expect("visits are valid requests")
}

fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
