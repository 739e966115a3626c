//! One HTTP/1 connection of a client: requests one after another, each judged before anyone reads it, answered in order.
//!
//! No task but the connection's own: the request's future, its body and its answer are polled from here. Idle connections
//! hold no buffer. Times: a head must be complete in `timeouts.header`, an idle connection ends after `timeouts.idle`, a
//! client must take something of what is written within that, too.

mod answer;
mod wire;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::time::Instant;

use super::stream::ClientStream;
use super::{Core, Peer, Stage};
use crate::exchange::DownBody;
use crate::forward::upgrade;
use crate::http1::alarm::Alarm;
use crate::http1::request::{Head, HeadLimits, Wishes};
use crate::http1::requests::Requests;
use crate::pipeline;
use crate::request_body::ClientBody;
use crate::respond::Refusal;
use answer::{Sending, Sent};
pub(crate) use wire::RequestBody;
use wire::{Bare, Wire};

/// How long a closed connection may take to say that it has understood.
const LINGER: Duration = Duration::from_secs(1);
/// Of a body that nobody wants, so much is read to keep the connection.
const UNWANTED: usize = 256 * 1024;

/// `begun`: what was read of the connection already.
pub(super) async fn serve(core: Rc<Core>, stream: ClientStream, begun: Vec<u8>, peer: Rc<Peer>) {
    let place = core.stages.enter();
    let mut connection = Connection::new(&core, stream, begun.into(), peer);
    let mut life = pin!(connection.run());
    poll_fn(|cx| {
        if place.stage(cx) == Stage::Ended {
            return Poll::Ready(());
        }
        core.at_once(|| life.as_mut().poll(cx))
    })
    .await;
}

struct Connection {
    core: Rc<Core>,
    peer: Rc<Peer>,
    wire: Rc<Wire>,
    alarm: Alarm,
    /// Since when we wait for the next head; `None`: a request is being answered.
    waiting: Option<Instant>,
    /// Since when a head is under way.
    head_since: Option<Instant>,
    /// No request was read yet.
    fresh: bool,
}

/// What comes next on the connection.
#[expect(
    clippy::large_enum_variant,
    reason = "it is at hand once, and mostly a request"
)]
enum Next {
    Request(Head),
    Refused(Refusal),
    /// It had nothing to say for too long, or the edge ends.
    Idle,
    /// The client has gone.
    End,
}

/// What follows an answer.
enum After {
    Next,
    /// The client may still be sending: it is given time to read the answer.
    Close,
    End,
}

impl Connection {
    fn new(core: &Rc<Core>, stream: ClientStream, begun: Bytes, peer: Rc<Peer>) -> Self {
        let settings = core.settings();
        let requests = Requests::new(begun, limits(core));
        Self {
            core: Rc::clone(core),
            peer,
            wire: Wire::new(stream, requests, Rc::clone(&core.buffer)),
            alarm: Alarm::new(settings.timeouts.header.min(settings.timeouts.idle)),
            waiting: None,
            head_since: None,
            fresh: true,
        }
    }

    async fn run(&mut self) {
        loop {
            let after = match poll_fn(|cx| self.poll_next(cx)).await {
                // Boxed: a connection that waits has no room for a request.
                Next::Request(head) => Box::pin(self.request(head)).await,
                Next::Refused(refusal) => Box::pin(self.refused(refusal)).await,
                Next::Idle => After::Close,
                Next::End => After::End,
            };
            match after {
                After::Next => {}
                After::Close => return self.say_goodbye().await,
                After::End => return,
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let mut wire = self.wire.borrow();
        loop {
            match wire.requests.head() {
                Ok(Some(head)) => {
                    (self.waiting, self.head_since, self.fresh) = (None, None, false);
                    return Poll::Ready(Next::Request(head));
                }
                Ok(None) => {}
                Err(refusal) => return Poll::Ready(Next::Refused(refusal)),
            }
            match wire.poll_read(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false) | Err(_)) => return Poll::Ready(Next::End),
                Poll::Pending => break,
            }
        }
        wire.requests.own();
        let holds = wire.requests.holds();
        drop(wire);
        // A connection with a request in its socket is not idle: that is why it was read first.
        if !holds && self.core.stages.now() >= Stage::Closing {
            return Poll::Ready(Next::Idle);
        }
        ready!(self.poll_patience(cx, holds));
        Poll::Ready(if holds {
            Next::Refused(Refusal::HeaderTimeout)
        } else {
            Next::Idle
        })
    }

    /// Ready when the client has run out of time.
    fn poll_patience(&mut self, cx: &mut Context<'_>, in_head: bool) -> Poll<()> {
        let settings = self.core.settings();
        let times = &settings.timeouts;
        let waiting = *self
            .waiting
            .get_or_insert_with(|| Instant::from_std(self.core.now()));
        let due = if in_head {
            let since = *self
                .head_since
                .get_or_insert_with(|| Instant::from_std(self.core.now()));
            since + times.header
        } else if self.fresh {
            waiting + times.header.min(times.idle)
        } else {
            waiting + times.idle
        };
        self.alarm.poll(cx, due)
    }

    async fn request(&mut self, head: Head) -> After {
        let Head {
            request,
            framing: _,
            wishes,
        } = head;
        let sending = Sending::new(&request, wishes);
        self.wire.borrow().go_ahead = wishes.go_ahead;
        let request = request.map(|()| self.body());
        let answer = {
            let interim = &self.peer.interim;
            interim.begin();
            let mut served = pin!(pipeline::serve(&self.core, &self.peer, request, None));
            poll_fn(|cx| {
                let answered = served.as_mut().poll(cx);
                if !interim.is_empty() {
                    sending.hint(&mut self.wire.borrow(), interim.take());
                    // What cannot be written at once goes before the answer.
                    let _later = self.wire.borrow().poll_flush(cx);
                }
                if let Poll::Ready(answer) = answered {
                    return Poll::Ready(Some(answer));
                }
                self.wire.poll_gone(cx).map(|()| None)
            })
            .await
        };
        match answer {
            Some(answer) => self.answer(answer, sending).await,
            None => After::End,
        }
    }

    fn body(&self) -> ClientBody {
        if self.wire.borrow().requests.body_is_done() {
            ClientBody::Empty
        } else {
            ClientBody::Http1(RequestBody::new(&self.wire))
        }
    }

    async fn refused(&mut self, refusal: Refusal) -> After {
        let answer = pipeline::refused(&self.core, &self.peer, refusal);
        match self.answer(answer, Sending::of_refusal()).await {
            After::End => After::End,
            After::Next | After::Close => After::Close,
        }
    }

    async fn answer(&mut self, answer: Response<DownBody>, mut sending: Sending) -> After {
        let (head, mut body) = answer.into_parts();
        let unread = !self.wire.borrow().requests.body_is_done() && !self.is_taken(&body).await;
        {
            let mut wire = self.wire.borrow();
            let date = self.core.date.borrow();
            sending.begin(wire.outbox.text(), &head, &mut body, unread, &date);
        }
        drop(head);
        if let Some(switched) = body.take_switched() {
            let flushed = poll_fn(|cx| self.wire.borrow().poll_flush(cx)).await;
            if flushed.is_ok() {
                Box::pin(upgrade::tunnel(*switched, Bare(Rc::clone(&self.wire)))).await;
            }
            return After::End;
        }
        let sent = poll_fn(|cx| self.poll_send(cx, &mut body, &mut sending)).await;
        drop(body);
        match sent {
            Sent::Broken => After::End,
            Sent::Whole if sending.keeps() => self.rest_of_request().await,
            Sent::Whole => After::Close,
        }
    }

    /// Whether somebody still reads the request's body, or it is here and can be passed over.
    async fn is_taken(&self, body: &DownBody) -> bool {
        // A client that was not told to go on may never send its body.
        if std::mem::take(&mut self.wire.borrow().go_ahead) {
            return false;
        }
        let mut left = UNWANTED;
        body.is_stream() || poll_fn(|cx| self.wire.borrow().poll_drain(cx, &mut left)).await
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, body: &mut DownBody, sending: &mut Sending) -> Poll<Sent> {
        let before = self.wire.borrow().written();
        let polled = sending.poll(cx, body, &self.wire);
        if polled.is_ready() {
            return polled;
        }
        let wire = self.wire.borrow();
        if wire.outbox.is_empty() {
            drop(wire);
            // The instance pauses.
            sending.idle_since = None;
            return self.wire.poll_gone(cx).map(|()| Sent::Broken);
        }
        let took = wire.written() != before;
        drop(wire);
        // While the client takes its time, the instance still gets the request's body.
        body.drive(cx);
        if took {
            sending.idle_since = None;
        }
        let since = *sending.idle_since.get_or_insert_with(Instant::now);
        let limit = self.core.settings().timeouts.idle;
        self.alarm.poll(cx, since + limit).map(|()| Sent::Broken)
    }

    /// What the answer came too early for.
    async fn rest_of_request(&mut self) -> After {
        let limit = self.core.settings().timeouts.idle;
        let mut read = None;
        let mut due = Instant::now();
        let released = poll_fn(|cx| {
            if let Poll::Ready(whole) = self.wire.poll_released(cx) {
                return Poll::Ready(Some(whole));
            }
            let now = self.wire.borrow().read();
            if read.replace(now) != Some(now) {
                due = Instant::now() + limit;
            }
            // Whoever has the body takes nothing of it.
            self.alarm.poll(cx, due).map(|()| None)
        });
        match released.await {
            Some(true) => return After::Next,
            Some(false) => {}
            None => return After::Close,
        }
        let mut left = UNWANTED;
        let drained = poll_fn(|cx| self.wire.borrow().poll_drain(cx, &mut left)).await;
        if drained { After::Next } else { After::Close }
    }

    /// Says goodbye, then takes and drops what still comes: closing with unread bytes would reset the connection and could
    /// destroy the answer on its way.
    async fn say_goodbye(&mut self) {
        let until = Instant::now() + LINGER;
        poll_fn(|cx| {
            let mut wire = self.wire.borrow();
            let shut = wire.poll_shutdown(cx);
            if shut.is_ready() {
                loop {
                    match wire.poll_drop(cx) {
                        Poll::Ready(true) => {}
                        Poll::Ready(false) => return Poll::Ready(()),
                        Poll::Pending => break,
                    }
                }
            }
            self.alarm.poll(cx, until)
        })
        .await;
    }
}

/// Asked when a connection begins; what it has then, it keeps.
fn limits(core: &Core) -> HeadLimits {
    let settings = core.settings();
    let limits = &settings.limits;
    HeadLimits {
        bytes: limits.header_bytes as usize,
        headers: limits.headers as usize,
        request_line: limits.request_line as usize,
    }
}
