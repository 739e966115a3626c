//! An answer on its way to a client that speaks HTTP/1: which framing it has, and its bytes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::response::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame};
use hyper::ext::ReasonPhrase;
use tokio::time::Instant;

use super::Wishes;
use super::wire::{Inner, Wire};
use crate::exchange::DownBody;
use crate::http1::outbox::field;

/// What one answer needs to know besides itself.
pub(super) struct Sending {
    version: Version,
    head_only: bool,
    trailers: bool,
    keep: bool,
    framing: Framing,
    /// Since when the client takes nothing of what is there.
    pub idle_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// What is still to come.
    Length(u64),
    Chunked,
    /// The end of the connection is the end of the body.
    ToTheEnd,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Whole,
    /// The client must not take it for whole.
    Broken,
}

impl Sending {
    pub(super) fn new<B>(request: &Request<B>, wishes: Wishes) -> Self {
        Self {
            version: request.version(),
            head_only: *request.method() == Method::HEAD,
            trailers: wishes.trailers,
            keep: wishes.keep,
            framing: Framing::Done,
            idle_since: None,
        }
    }

    /// To what could not be read.
    pub(super) fn of_refusal() -> Self {
        Self::new(&Request::new(()), Wishes::default())
    }

    /// Whether another request may follow.
    pub(super) fn keeps(&self) -> bool {
        self.keep
    }

    /// Writes interim answers; HTTP/1.0 knows none.
    pub(super) fn hint(&self, wire: &mut Inner, interim: Vec<Response<()>>) {
        if self.version == Version::HTTP_10 {
            return;
        }
        for answer in interim {
            let (head, ()) = answer.into_parts();
            let text = wire.outbox.text();
            status_line(text, &head, self.version);
            for (name, value) in &head.headers {
                field(text, name.as_str(), value.as_bytes());
            }
            text.extend_from_slice(b"\r\n");
        }
    }

    /// Writes the head. `unread`: nobody will read the request's body.
    pub(super) fn begin(
        &mut self,
        text: &mut Vec<u8>,
        head: &Parts,
        body: &mut DownBody,
        unread: bool,
        date: &str,
    ) {
        status_line(text, head, self.version);
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            for (name, value) in &head.headers {
                field(text, name.as_str(), value.as_bytes());
            }
            text.extend_from_slice(b"\r\n");
            return;
        }
        let mut said = Said::default();
        if let Some(lines) = body.lines() {
            text.extend_from_slice(lines.text());
            said.date = lines.has_date();
        }
        said.write(text, &head.headers);
        let length = self.frame(head.status, body, said.length);
        self.keep &= !unread && !said.close && self.framing != Framing::ToTheEnd;
        if let Some(length) = length {
            field(text, "content-length", length.to_string().as_bytes());
        }
        if self.framing == Framing::Chunked {
            field(text, "transfer-encoding", b"chunked");
        }
        match (self.keep, self.version) {
            (false, _) => field(text, "connection", b"close"),
            (true, Version::HTTP_10) => field(text, "connection", b"keep-alive"),
            (true, _) => {}
        }
        if !said.date {
            field(text, "date", date.as_bytes());
        }
        text.extend_from_slice(b"\r\n");
    }

    /// Decides what follows the head; returns the length to be said in it.
    fn frame(&mut self, status: StatusCode, body: &DownBody, said: Option<u64>) -> Option<u64> {
        let exact = body.size_hint().exact();
        let bodyless = status.is_informational() || status == StatusCode::NO_CONTENT;
        if bodyless || status == StatusCode::NOT_MODIFIED || self.head_only {
            self.framing = Framing::Done;
            // What a GET would have got.
            return if bodyless {
                None
            } else {
                said.or(exact.filter(|length| *length > 0))
            };
        }
        let length = exact.or(said);
        self.framing = match length {
            Some(0) => Framing::Done,
            Some(length) => Framing::Length(length),
            None if self.version == Version::HTTP_10 => Framing::ToTheEnd,
            None => Framing::Chunked,
        };
        length
    }

    /// Ready when all was written, or cannot be.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, body: &mut DownBody, wire: &Wire) -> Poll<Sent> {
        loop {
            if self.framing == Framing::Done || wire.borrow().outbox.is_full() {
                if ready!(wire.borrow().poll_flush(cx)).is_err() {
                    return Poll::Ready(Sent::Broken);
                }
                if self.framing == Framing::Done {
                    return Poll::Ready(Sent::Whole);
                }
            }
            let frame = match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    return match ready!(wire.borrow().poll_flush(cx)) {
                        Ok(()) => Poll::Pending,
                        Err(_) => Poll::Ready(Sent::Broken),
                    };
                }
            };
            let taken = match frame {
                Some(Ok(frame)) => self.take(frame, wire),
                None => self.end(wire, None),
                Some(Err(_)) => Err(Broken),
            };
            if taken.is_err() {
                // What was there before the break may still arrive.
                let _best_effort = wire.borrow().poll_flush(cx);
                return Poll::Ready(Sent::Broken);
            }
        }
    }

    fn take(&mut self, frame: Frame<bytes::Bytes>, wire: &Wire) -> Result<(), Broken> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => return self.end(wire, frame.trailers_ref().filter(|_| self.trailers)),
        };
        if let Framing::Length(left) = &mut self.framing {
            *left = left.checked_sub(data.len() as u64).ok_or(Broken)?;
        }
        wire.borrow().outbox.data(data, self.framing == Framing::Chunked);
        if self.framing == Framing::Length(0) {
            self.framing = Framing::Done;
        }
        Ok(())
    }

    /// The body has no more data.
    fn end(&mut self, wire: &Wire, trailers: Option<&HeaderMap>) -> Result<(), Broken> {
        match self.framing {
            // It is shorter than it said.
            Framing::Length(_) => return Err(Broken),
            Framing::Chunked => wire.borrow().outbox.last_chunk(trailers),
            Framing::ToTheEnd | Framing::Done => {}
        }
        self.framing = Framing::Done;
        Ok(())
    }
}

struct Broken;

fn status_line(text: &mut Vec<u8>, head: &Parts, version: Version) {
    if head.status == StatusCode::OK && version == Version::HTTP_11 && head.extensions.is_empty() {
        text.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    text.extend_from_slice(match version {
        Version::HTTP_10 => b"HTTP/1.0 ",
        _ => b"HTTP/1.1 ",
    });
    text.extend_from_slice(head.status.as_str().as_bytes());
    text.push(b' ');
    let own = head.extensions.get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
    let usual = head.status.canonical_reason().unwrap_or_default();
    text.extend_from_slice(own.unwrap_or(usual.as_bytes()));
    text.extend_from_slice(b"\r\n");
}

/// What the answer's own headers say.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    close: bool,
    date: bool,
}

impl Said {
    /// Writes all but those that concern this connection.
    fn write(&mut self, text: &mut Vec<u8>, headers: &HeaderMap) {
        for (name, value) in headers {
            match *name {
                header::CONTENT_LENGTH => {
                    self.length = value.to_str().ok().and_then(|text| text.parse().ok())
                }
                header::CONNECTION => self.close |= value.as_bytes().eq_ignore_ascii_case(b"close"),
                header::TRANSFER_ENCODING => {}
                ref name => {
                    self.date |= *name == header::DATE;
                    field(text, name.as_str(), value.as_bytes());
                }
            }
        }
    }
}
