//! The body of an instance's answer, whichever way its connection is spoken to.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::http1::{Broke, Connection, Lines};
use super::http2;
use super::pool::InFlight;
use super::tunnel::Joined;
use super::wire::Wire;

/// Holds the connection and the request's place; both are given back when the answer was read to its end, or this is
/// dropped.
pub(crate) struct InstanceBody {
    from: From,
    in_flight: Option<InFlight>,
    /// The head, where there is no map of it.
    lines: Option<Lines>,
}

/// A stream of another protocol, and the request's place.
pub(crate) type Tunnel = (Joined<Wire>, Option<InFlight>);

/// Kinds of connections to instances.
enum From {
    Http1(Box<Connection>),
    /// A stream of a connection that others use, too.
    Http2(Box<http2::Answer>),
    /// It has agreed to speak another protocol.
    Switched(Box<Connection>),
    /// It broke off: the end never comes.
    Broken,
    /// Nothing more comes.
    Ended,
}

impl InstanceBody {
    pub(super) fn http1(mut connection: Box<Connection>, in_flight: InFlight) -> Self {
        let mut body = Self {
            lines: connection.take_lines(),
            from: From::Http1(connection),
            in_flight: Some(in_flight),
        };
        body.release_if_read();
        body
    }

    pub(super) fn http2(answer: http2::Answer, in_flight: InFlight) -> Self {
        let mut body = Self {
            from: From::Http2(Box::new(answer)),
            in_flight: Some(in_flight),
            lines: None,
        };
        body.release_if_read();
        body
    }

    pub(super) fn switched(connection: Box<Connection>, in_flight: InFlight) -> Self {
        Self {
            from: From::Switched(connection),
            in_flight: Some(in_flight),
            lines: None,
        }
    }

    /// The head, where there is no map of it.
    pub(crate) fn lines(&mut self) -> Option<&mut Lines> {
        self.lines.as_mut()
    }

    /// After a 101: the stream of the other protocol. The place is held for as long as the second is.
    pub(crate) fn into_tunnel(mut self) -> Option<Tunnel> {
        match std::mem::replace(&mut self.from, From::Ended) {
            From::Switched(connection) => Some((connection.into_tunnel(), self.in_flight.take())),
            From::Http1(_) | From::Http2(_) | From::Broken | From::Ended => None,
        }
    }

    /// Goes on sending the request's body while nobody can take the answer's.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        match &mut self.from {
            From::Http1(connection) => {
                connection.own();
                if let Poll::Ready(Err(_)) = connection.poll_upload(cx) {
                    self.from = From::Broken;
                }
            }
            From::Http2(answer) => answer.drive(cx),
            From::Switched(_) | From::Broken | From::Ended => {}
        }
    }

    /// The connection may serve another request as soon as nothing more of this one is to come.
    fn release_if_read(&mut self) {
        if matches!(&self.from, From::Http2(answer) if answer.is_read()) {
            // An instance that has answered in full needs no more of the request.
            self.from = From::Ended;
            self.in_flight = None;
            return;
        }
        let From::Http1(connection) = &self.from else {
            return;
        };
        if !connection.is_read() {
            return;
        }
        let (From::Http1(mut connection), Some(in_flight)) = (
            std::mem::replace(&mut self.from, From::Ended),
            self.in_flight.take(),
        ) else {
            return;
        };
        let upstream = Rc::clone(&in_flight.upstream);
        let core = Rc::clone(in_flight.core());
        if connection.is_reusable() {
            drop(in_flight);
            upstream.put_idle(connection, core.now());
        } else if !connection.is_sent() {
            // It answered early: the request's body is still being sent.
            drop(in_flight);
            core.clone().spawn("release", async move {
                if connection.finish_upload(core.settings().timeouts.idle).await {
                    upstream.put_idle(connection, core.now());
                }
            });
        }
    }
}

impl Body for InstanceBody {
    type Data = Bytes;
    type Error = Broke;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broke>>> {
        let this = &mut *self;
        let frame = match &mut this.from {
            From::Http1(connection) => ready!(connection.poll_body(cx)),
            From::Http2(answer) => ready!(answer.poll_frame(cx)).map(|frame| frame.map_err(Broke::Stream)),
            From::Broken => return Poll::Ready(Some(Err(Broke::Closed))),
            From::Switched(_) | From::Ended => return Poll::Ready(None),
        };
        match &frame {
            Some(Err(_)) => this.from = From::Broken,
            Some(Ok(_)) | None => this.release_if_read(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            From::Http1(connection) => connection.is_read(),
            From::Http2(answer) => answer.is_read(),
            From::Switched(_) | From::Ended => true,
            From::Broken => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            From::Http1(connection) => known(connection.left()),
            From::Http2(answer) => known(answer.left()),
            From::Broken => SizeHint::default(),
            From::Switched(_) | From::Ended => SizeHint::with_exact(0),
        }
    }
}

fn known(left: Option<u64>) -> SizeHint {
    left.map_or_else(SizeHint::default, SizeHint::with_exact)
}
