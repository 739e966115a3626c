//! One HTTP/1.1 connection to an instance, driven by the request that has it: no task, no channel.
//!
//! A request is written with as much of its body as is there, in one call where it fits; the rest of the body is written
//! while the answer is awaited and read. Kept connections are just sockets. Strict about framing: an answer whose end
//! could be understood in two ways is none, bytes behind an answer end the connection.

mod head;
mod lines;
mod trial;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::request::Parts;
use http::{Method, Response};
use http_body::{Body, Frame};
use tokio::time::{Instant, timeout};

use super::body::UpBody;
use super::tunnel::Joined;
use super::wire::Wire;
use crate::http1::alarm::Alarm;
use crate::http1::chunked::{Chunked, Piece};
use crate::http1::outbox::Outbox;
use crate::http1::reading::{ReadBuffer, append};
pub(super) use head::Extra;
pub(crate) use lines::Lines;
pub use trial::trial;

pub(crate) struct Connection {
    stream: Wire,
    buffer: Rc<ReadBuffer>,
    timer: Alarm,
    /// Read and not yet used.
    rest: Bytes,
    /// Nobody else has the memory of `rest`.
    owned: bool,
    outbox: Outbox,
    /// What is still to be written of the request's body.
    upload: Option<Upload>,
    expects: Expects,
    /// The answer's head, where it passes as it is.
    lines: Option<Lines>,
    /// What is still to come of the answer.
    reading: Reading,
    /// Both sides want to go on after this answer.
    keep: bool,
    /// Nothing more can be written; an answer may still come.
    deaf: bool,
    written: u64,
    received: bool,
}

struct Upload {
    body: UpBody,
    /// What was promised; `None`: chunked.
    left: Option<u64>,
}

/// What the request says about its answer.
#[derive(Clone, Copy)]
struct Expects {
    no_body: bool,
    switch: bool,
    /// The body is not sent before the instance wants it.
    hold: bool,
    /// Nobody reads its head: see [`Lines`].
    plain: bool,
}

#[derive(Debug, PartialEq)]
enum Reading {
    Head,
    Length(u64),
    Chunked(Chunked),
    ToTheEnd,
    Done,
}

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broke {
    #[error("the connection to the instance broke")]
    Connection(#[from] io::Error),
    #[error("the instance closed the connection")]
    Closed,
    #[error("the instance's answer is not valid: {0}")]
    Invalid(&'static str),
    /// HTTP/2: a client that speaks it hears the same reason.
    #[error("the instance's stream broke")]
    Stream(#[source] h2::Error),
    #[error("the file cannot be read to its end")]
    File(#[source] io::Error),
    #[error("the answer cannot be compressed")]
    Coding(#[source] io::Error),
    /// Why is in its source.
    #[error("the client's request body was refused")]
    Body,
}

impl Connection {
    pub(super) fn new(stream: Wire, buffer: Rc<ReadBuffer>, timer: Alarm) -> Self {
        Self {
            stream,
            buffer,
            timer,
            rest: Bytes::new(),
            owned: false,
            outbox: Outbox::default(),
            upload: None,
            expects: Expects {
                no_body: false,
                switch: false,
                hold: false,
                plain: false,
            },
            lines: None,
            reading: Reading::Done,
            keep: true,
            deaf: false,
            written: 0,
            received: false,
        }
    }

    /// Puts a request in; [`Self::poll_answer`] sends it. `plain`: nobody reads the answer's head.
    pub(super) fn ask(&mut self, head: &Parts, body: UpBody, extra: &Extra<'_>, plain: bool) {
        let length = body.size_hint().exact();
        let upload = (length != Some(0)).then_some(Upload { body, left: length });
        let framing = upload.as_ref().map(|upload| upload.left);
        head::write(self.outbox.text(), head, framing, extra);
        self.upload = upload;
        self.expects = Expects {
            no_body: head.method == Method::HEAD,
            switch: head.headers.contains_key(http::header::UPGRADE),
            hold: self.upload.is_some() && head.headers.contains_key(http::header::EXPECT),
            plain: plain && head.method != Method::HEAD,
        };
        (self.reading, self.lines) = (Reading::Head, None);
        (self.keep, self.deaf, self.written, self.received) = (true, false, 0, false);
    }

    /// Whether a byte of the request left.
    pub(super) fn has_written(&self) -> bool {
        self.written > 0
    }

    /// Whether a byte of an answer came.
    pub(super) fn has_received(&self) -> bool {
        self.received
    }

    /// Whether the request's body waits until the instance wants it.
    pub(super) fn holds(&self) -> bool {
        self.expects.hold
    }

    /// The body is sent, whatever the instance says.
    pub(super) fn go_ahead(&mut self) {
        self.expects.hold = false;
    }

    /// The head of the final answer; interim ones go to `hint`. Sends the request on the way.
    pub(super) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        hint: impl Fn(Response<()>),
    ) -> Poll<Result<Response<()>, Broke>> {
        loop {
            if let Poll::Ready(Err(broke)) = self.poll_upload(cx) {
                return Poll::Ready(Err(broke));
            }
            if !self.rest.is_empty()
                && let Some(head) = self.head()?
            {
                self.rest.advance(head.length);
                if let Some(answer) = self.take_head(head, &hint)? {
                    return Poll::Ready(Ok(answer));
                }
                continue;
            }
            if !ready!(self.poll_read(cx))? {
                return Poll::Ready(Err(Broke::Closed));
            }
        }
    }

    /// Of what was read; `None`: it is not complete.
    fn head(&mut self) -> Result<Option<head::Head>, Broke> {
        if self.expects.plain
            && let Some(plain) = lines::read(&self.rest)
        {
            self.lines = Some(plain.lines);
            let mut answer = Response::new(());
            *answer.status_mut() = plain.status;
            return Ok(Some(head::Head {
                length: plain.length,
                answer,
                reading: plain.reading,
                keep: plain.keep,
            }));
        }
        head::read(&self.rest, self.expects.no_body)
    }

    /// Of an answer whose head has no map: its lines.
    pub(super) fn take_lines(&mut self) -> Option<Lines> {
        self.lines.take()
    }

    /// `None`: an interim answer; the final one is still to come.
    fn take_head(
        &mut self,
        head: head::Head,
        hint: impl Fn(Response<()>),
    ) -> Result<Option<Response<()>>, Broke> {
        let status = head.answer.status();
        if status == http::StatusCode::SWITCHING_PROTOCOLS {
            if !self.expects.switch {
                return Err(Broke::Invalid("it switches protocols unasked"));
            }
            (self.keep, self.reading) = (false, Reading::Done);
            return Ok(Some(head.answer));
        }
        if status == http::StatusCode::CONTINUE {
            self.go_ahead();
            return Ok(None);
        }
        if status.is_informational() {
            hint(head.answer);
            return Ok(None);
        }
        if std::mem::take(&mut self.expects.hold) {
            // The instance does not want the body, and may wait for it nevertheless.
            (self.upload, self.deaf) = (None, true);
        }
        self.keep = head.keep;
        self.reading = head.reading;
        Ok(Some(head.answer))
    }

    /// The next frame of the answer's body. Goes on sending the request's on the way.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broke>>> {
        loop {
            if let Some(frame) = self.next_frame().transpose() {
                return Poll::Ready(Some(frame));
            }
            if self.is_read() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(Err(broke)) = self.poll_upload(cx) {
                return Poll::Ready(Some(Err(broke)));
            }
            match ready!(self.poll_read(cx)) {
                Ok(true) => {}
                Ok(false) if matches!(self.reading, Reading::ToTheEnd) => {
                    (self.keep, self.reading) = (false, Reading::Done);
                }
                Ok(false) => return Poll::Ready(Some(Err(Broke::Closed))),
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            }
        }
    }

    /// Of what was read already.
    fn next_frame(&mut self) -> Result<Option<Frame<Bytes>>, Broke> {
        if self.rest.is_empty() && !matches!(self.reading, Reading::Chunked(_)) {
            return Ok(None);
        }
        match &mut self.reading {
            Reading::Head | Reading::Done => Ok(None),
            Reading::ToTheEnd => Ok(Some(Frame::data(std::mem::take(&mut self.rest)))),
            Reading::Length(left) => {
                let count = self.rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                if *left == 0 {
                    self.reading = Reading::Done;
                }
                Ok(Some(Frame::data(self.rest.split_to(count))))
            }
            Reading::Chunked(chunked) => match chunked.next(&mut self.rest).map_err(Broke::Invalid)? {
                Piece::Data(data) => Ok(Some(Frame::data(data))),
                Piece::Trailers(trailers) => {
                    // They are the end, and nobody may ask again.
                    self.reading = Reading::Done;
                    Ok(Some(Frame::trailers(trailers)))
                }
                Piece::More => Ok(None),
                Piece::End => {
                    self.reading = Reading::Done;
                    Ok(None)
                }
            },
        }
    }

    /// Whether the answer was read to its end.
    pub(super) fn is_read(&self) -> bool {
        matches!(self.reading, Reading::Done)
    }

    /// What is left of the answer's body, where it is known.
    pub(super) fn left(&self) -> Option<u64> {
        match self.reading {
            Reading::Length(left) => Some(left),
            Reading::Done => Some(0),
            Reading::Head | Reading::Chunked(_) | Reading::ToTheEnd => None,
        }
    }

    /// Whether the request was sent to its end (or cannot be).
    pub(super) fn is_sent(&self) -> bool {
        self.upload.is_none() && self.outbox.is_empty()
    }

    /// Ready once the request was sent to its end.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broke>> {
        if self.is_sent() {
            return Poll::Ready(Ok(()));
        }
        loop {
            let filled = match &mut self.upload {
                Some(_) if self.expects.hold => Poll::Pending,
                Some(upload) if !self.outbox.is_full() => upload.poll_fill(cx, &mut self.outbox),
                Some(_) => Poll::Ready(Ok(false)),
                None => Poll::Ready(Ok(true)),
            };
            match &filled {
                Poll::Ready(Ok(true)) => self.upload = None,
                Poll::Ready(Err(_)) => return filled.map_ok(|_| ()),
                Poll::Ready(Ok(false)) | Poll::Pending => {}
            }
            let flushed = self.outbox.poll_flush(cx, &mut self.stream, &mut self.written);
            if ready!(flushed).is_err() {
                // It may have answered before it closed.
                self.deaf = true;
                self.upload = None;
                self.outbox.clear();
            }
            if self.upload.is_none() {
                return Poll::Ready(Ok(()));
            }
            ready!(filled)?;
        }
    }

    /// After an early answer: goes on while the instance takes something within `limit`. `true`: the connection can take
    /// another request.
    pub(super) async fn finish_upload(&mut self, limit: Duration) -> bool {
        loop {
            let before = self.written;
            match timeout(limit, poll_fn(|cx| self.poll_upload(cx))).await {
                Ok(sent) => return sent.is_ok() && self.is_reusable(),
                Err(_elapsed) if self.written == before => return false,
                Err(_elapsed) => {}
            }
        }
    }

    /// Somebody has to be waited for: what was read must not keep the core's reading buffer.
    pub(super) fn own(&mut self) {
        if !self.owned && !self.rest.is_empty() {
            (self.rest, self.owned) = (Bytes::copy_from_slice(&self.rest), true);
        }
    }

    /// `false`: the instance has nothing more to say.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let read = ready!(self.buffer.poll(cx, &mut self.stream))?;
        let some = !read.is_empty();
        self.received |= some;
        // What is joined is a copy.
        self.owned = !self.rest.is_empty();
        append(&mut self.rest, read);
        Poll::Ready(Ok(some))
    }

    /// Whether it can take another request.
    pub(super) fn is_reusable(&self) -> bool {
        self.keep && !self.deaf && self.is_read() && self.is_sent() && self.rest.is_empty()
    }

    /// Whether nothing happened to it while it was idle.
    pub(super) fn is_quiet(&self) -> bool {
        self.stream.is_quiet()
    }

    /// Ready when `due` is over.
    pub(super) fn poll_timer(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        self.timer.poll(cx, due)
    }

    /// After a 101: what follows is not HTTP.
    pub(super) fn into_tunnel(self) -> Joined<Wire> {
        Joined::new(self.rest, self.stream)
    }
}

impl Upload {
    /// Puts the next piece of the body into `outbox`; `true`: that was the last.
    fn poll_fill(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox) -> Poll<Result<bool, Broke>> {
        let chunked = self.left.is_none();
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(frame) => frame.map_err(|_why_is_in_the_source| Broke::Body)?,
            None if chunked => {
                outbox.last_chunk(None);
                return Poll::Ready(Ok(true));
            }
            // Whose body it is has ended it early, or said so.
            None => return Poll::Ready(Err(Broke::Body)),
        };
        match frame.into_data() {
            Ok(data) => {
                if let Some(left) = &mut self.left {
                    *left = left.checked_sub(data.len() as u64).ok_or(Broke::Body)?;
                }
                outbox.data(data, chunked);
                Poll::Ready(Ok(self.left == Some(0)))
            }
            Err(frame) => {
                if let (true, Ok(trailers)) = (chunked, frame.into_trailers()) {
                    outbox.last_chunk(Some(&trailers));
                    return Poll::Ready(Ok(true));
                }
                Poll::Ready(Ok(false))
            }
        }
    }
}
