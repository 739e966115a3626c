//! One HTTP/2 connection: hyper and h2, with limits of our own around them.
//!
//! Streams become requests of the same pipeline as HTTP/1's. Floods of frames end the connection (see `frames`), idle
//! connections end after `timeouts.idle` (looked at lazily: between once and twice that), the drain sends GOAWAY and lets
//! every stream finish.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::frames::Frames;
use super::{Core, Peer, Stage};
use crate::pipeline;
use crate::request_body::ClientBody;

/// Requests at once on one connection.
const STREAMS: u32 = 100;
/// Above what `frames` lets through.
const PENDING_RESETS: usize = 200;
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// A peer that answers no PING is gone.
const PING_LIMIT: Duration = Duration::from_secs(20);

/// `begun`: what was read of the connection already.
pub(super) async fn serve<S>(core: Rc<Core>, stream: S, begun: Vec<u8>, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let settings = core.settings();
    let idle = settings.timeouts.idle;
    let mut builder = Builder::new(OnCore(Rc::clone(&core)));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        // h2 would end the connection without a word that arrives: `frames` counts, and ends it first.
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(settings.limits.header_bytes)
        .keep_alive_interval(idle)
        .keep_alive_timeout(PING_LIMIT);
    drop(settings);
    let peer = Rc::new(peer);
    let known_peer = Rc::clone(&peer);
    let activity = &known_peer.activity;
    let service = {
        let core = Rc::clone(&core);
        service_fn(move |request: Request<Incoming>| {
            let answer = pipeline::serve(&core, &peer, request.map(ClientBody::Http2));
            async { Ok::<_, Infallible>(answer.await) }
        })
    };
    let stream = TokioIo::new(Frames::new(stream, begun));
    let mut connection = pin!(builder.serve_connection(stream, service));
    let mut stage = core.stage.subscribe();
    let mut known = Stage::Serving;
    let mut look = pin!(sleep_until(Instant::now() + idle));
    let (mut asked, mut closing) = (0, false);
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a client connection broke");
                }
                return;
            }
            now = stage.wait_for(|stage| *stage > known) => match now.map(|stage| *stage) {
                Ok(Stage::Ended) | Err(_) => return,
                Ok(stage) => {
                    known = stage;
                    // GOAWAY tells the client which requests were taken: there is no race that a lame duck must cover.
                    connection.as_mut().graceful_shutdown();
                    // A client that has not even sent its preface would wait for ever.
                    if stage == Stage::Closing && activity.asked.get() == 0 {
                        return;
                    }
                }
            },
            () = look.as_mut() => {
                let quiet = activity.busy.get() == 0 && activity.asked.get() == asked;
                if quiet && closing {
                    return;
                }
                if quiet {
                    connection.as_mut().graceful_shutdown();
                }
                closing = quiet;
                asked = activity.asked.get();
                look.as_mut().reset(Instant::now() + idle);
            }
        }
    }
}

/// Streams are tasks of their core.
#[derive(Clone)]
struct OnCore(Rc<Core>);

impl<F: Future<Output = ()> + 'static> Executor<F> for OnCore {
    fn execute(&self, future: F) {
        self.0.spawn("stream", future);
    }
}
