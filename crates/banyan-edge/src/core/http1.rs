//! One HTTP/1 connection: the guard in front, hyper behind it.

use std::pin::pin;
use std::rc::Rc;

use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Core, Peer, Stage};
use crate::guard::{Guard, GuardConfig, HeadLimits};
use crate::pipeline;

/// Reading and writing buffers may grow to this; the guard keeps heads far below.
const BUFFER: usize = 128 * 1024;
/// hyper's own limit on header lines when the guard's is lower.
const HYPER_HEADERS: usize = 100;

/// `begun`: what was read of the connection already.
pub(super) async fn serve<S>(core: Rc<Core>, stream: S, begun: &[u8], peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (config, headers) = guard_config(&core);
    let guard = Guard::new(stream, begun, config, peer.guard.clone());
    let peer = Rc::new(peer);
    let service = {
        let core = Rc::clone(&core);
        service_fn(move |request| pipeline::serve(&core, &peer, request))
    };
    let mut builder = Builder::new();
    // Times are kept by the guard, which can answer before it closes.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(BUFFER);
    if headers > HYPER_HEADERS {
        builder.max_headers(headers);
    }
    let mut connection = pin!(
        builder
            .serve_connection(TokioIo::new(guard), service)
            .with_upgrades()
    );
    let mut stage = core.stage.subscribe();
    let mut known = Stage::Serving;
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
                    if stage == Stage::Closing {
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        }
    }
}

fn guard_config(core: &Core) -> (GuardConfig, usize) {
    let settings = core.settings();
    let limits = &settings.limits;
    let config = GuardConfig {
        limits: HeadLimits {
            bytes: limits.header_bytes as usize,
            headers: limits.headers as usize,
            request_line: limits.request_line as usize,
        },
        header: settings.timeouts.header,
        idle: settings.timeouts.idle,
    };
    (config, config.limits.headers)
}
