//! Server-sent events (WHATWG HTML, 9.2): a view each second, for as long as somebody looks.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use banyan_runtime::TaskKind;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_body::{Body, Frame};
use http_body_util::Either;
use tokio::sync::mpsc;

use super::answer::Answer;
use crate::control::Parts;

/// Who reads slower than that misses some.
const WAITING: usize = 2;

/// Ends with the role.
pub(super) struct Events(mpsc::Receiver<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let event = self.0.poll_recv(context);
        event.map(|event| event.map(|bytes| Ok(Frame::data(bytes))))
    }
}

pub(super) fn events(parts: &Parts) -> Answer {
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut views = parts.views.subscribe();
    parts.tasks.spawn(TaskKind::Connection, "live view", async move {
        loop {
            let view = views.borrow_and_update().clone();
            let text = view.and_then(|view| serde_json::to_string(&*view).ok());
            if let Some(text) = text
                && sender
                    .send(Bytes::from(format!("data: {text}\n\n")))
                    .await
                    .is_err()
            {
                return;
            }
            tokio::select! {
                changed = views.changed() => if changed.is_err() { return },
                () = sender.closed() => return,
            }
        }
    });
    let mut response = Response::new(Either::Right(Events(receiver)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
