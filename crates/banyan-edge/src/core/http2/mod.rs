//! One HTTP/2 connection of a client, by the h2 crate, with limits of our own around it.
//!
//! Streams become requests of the same pipeline as HTTP/1's, each in a task of its own (see `stream`). Floods of frames end
//! the connection (see `frames`), idle connections end after `timeouts.idle` (looked at lazily: between once and twice
//! that), a peer that answers no PING is gone, the drain sends GOAWAY and lets every stream finish.

mod gather;
mod stream;
mod tunnel;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection};
use h2::{Ping, PingPong};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::frames::Frames;
use super::stages::Place;
use super::{Core, Peer, Stage};
use crate::http1::alarm::Alarm;
use gather::Gather;
pub(crate) use stream::RequestBody;

/// Requests at once on one connection.
const STREAMS: u32 = 100;
/// Above what `frames` lets through.
const PENDING_RESETS: usize = 200;
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of one stream's answer that wait to be written.
const SEND_BUFFER: usize = 256 * 1024;
/// A peer that answers no PING is gone.
const PING_LIMIT: Duration = Duration::from_secs(20);

/// `begun`: what was read of the connection already.
pub(super) async fn serve<S>(core: Rc<Core>, stream: S, begun: Vec<u8>, peer: Rc<Peer>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let settings = core.settings();
    let idle = settings.timeouts.idle;
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        // h2 would end the connection without a word that arrives: `frames` counts, and ends it first.
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(PENDING_RESETS))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(settings.limits.header_bytes)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_connect_protocol();
    drop(settings);
    let place = core.stages.enter();
    let mut alarm = Alarm::new(idle);
    let until = Instant::now() + idle;
    let gather = Gather::new(stream);
    let mut handshake = pin!(builder.handshake(Frames::new(gather.clone(), begun)));
    let connection = poll_fn(|cx| {
        // A client that has not even sent its preface would be waited for for ever.
        if place.stage(cx) >= Stage::Closing || alarm.poll(cx, until).is_ready() {
            return Poll::Ready(None);
        }
        let made = handshake.as_mut().poll(cx).map(Result::ok);
        if broke(gather.poll_out(cx)) {
            Poll::Ready(None)
        } else {
            made
        }
    });
    let Some(mut connection) = connection.await else {
        return;
    };
    let mut serving = Serving {
        pings: connection.ping_pong(),
        core,
        peer,
        place,
        known: Stage::Serving,
        alarm,
        idle,
        look: Instant::now() + idle,
        asked: 0,
        closing: false,
        pinged: None,
    };
    poll_fn(|cx| {
        let ended = serving.poll(cx, &mut connection);
        if broke(gather.poll_out(cx)) {
            Poll::Ready(())
        } else {
            ended
        }
    })
    .await;
}

/// Bytes that must wait are no fault: they leave when the task is woken again.
fn broke(out: Poll<std::io::Result<()>>) -> bool {
    let Poll::Ready(Err(error)) = out else {
        return false;
    };
    tracing::debug!(%error, "a client connection broke while it was written to");
    true
}

struct Serving {
    core: Rc<Core>,
    peer: Rc<Peer>,
    place: Place,
    known: Stage,
    alarm: Alarm,
    idle: Duration,
    /// When it is looked at next.
    look: Instant,
    /// Requests at the last look.
    asked: u32,
    /// It was quiet at the last look.
    closing: bool,
    pings: Option<PingPong>,
    pinged: Option<Instant>,
}

impl Serving {
    /// Ready at the connection's end.
    fn poll<S>(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection<Frames<Gather<S>>, Bytes>,
    ) -> Poll<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        if self.stage_ends(cx, connection) {
            return Poll::Ready(());
        }
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let (core, peer) = (Rc::clone(&self.core), Rc::clone(&self.peer));
                    self.core
                        .spawn("stream", stream::serve(core, peer, request, respond));
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "a client connection broke");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        self.poll_time(cx, connection)
    }

    fn stage_ends<S>(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection<Frames<Gather<S>>, Bytes>,
    ) -> bool
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stage = self.place.stage(cx);
        if stage == self.known {
            return false;
        }
        self.known = stage;
        // GOAWAY tells the client which requests were taken: there is no race that a lame duck must cover.
        connection.graceful_shutdown();
        stage == Stage::Ended || (stage >= Stage::Closing && self.peer.activity.asked.get() == 0)
    }

    fn poll_time<S>(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection<Frames<Gather<S>>, Bytes>,
    ) -> Poll<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if let (Some(pings), Some(_)) = (&mut self.pings, self.pinged)
            && pings.poll_pong(cx).is_ready()
        {
            self.pinged = None;
        }
        loop {
            let due = self.pinged.map_or(self.look, |at| self.look.min(at + PING_LIMIT));
            std::task::ready!(self.alarm.poll(cx, due));
            if self.pinged.is_some_and(|at| at + PING_LIMIT <= Instant::now()) {
                tracing::debug!("a client answers no PING");
                return Poll::Ready(());
            }
            if self.quiet_ends(cx, connection) {
                return Poll::Ready(());
            }
        }
    }

    fn quiet_ends<S>(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection<Frames<Gather<S>>, Bytes>,
    ) -> bool
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.look > Instant::now() {
            return false;
        }
        let activity = &self.peer.activity;
        let (busy, asked) = (activity.busy.get() > 0, activity.asked.get());
        let quiet = !busy && asked == self.asked;
        if quiet && self.closing {
            return true;
        }
        if quiet {
            connection.graceful_shutdown();
            // What was just asked for is done when the connection is polled.
            cx.waker().wake_by_ref();
        }
        (self.closing, self.asked) = (quiet, asked);
        self.look = Instant::now() + self.idle;
        if busy
            && self.pinged.is_none()
            && let Some(pings) = &mut self.pings
            && pings.send_ping(Ping::opaque()).is_ok()
        {
            self.pinged = Some(Instant::now());
            // The connection's task sends it, and the answer wakes this one.
            let _pending = pings.poll_pong(cx);
            cx.waker().wake_by_ref();
        }
        false
    }
}
