//! Kept traces on to a collector of the user's own: OTLP over HTTP, as protobuf.
//!
//! One request at a time; what may be taken later is tried again, [`TRIES`] times in all, then dropped. Limit: [`QUEUE`] batches
//! wait, above they are dropped: keeping is not delayed by sending.

use std::sync::Arc;
use std::time::Duration;

use banyan_telemetry::span::Span;
use banyan_topology::snapshot::ObserveSnapshot;
use bytes::Bytes;
use http::StatusCode;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::outgoing::{self, PostError};

pub(crate) const QUEUE: usize = 64;
/// For a whole exchange.
const LIMIT: Duration = Duration::from_secs(10);
const TRIES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(200);

#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Post(#[from] PostError),
    #[error("the collector answered {0}")]
    Answered(StatusCode),
    #[error("the collector did not answer in time")]
    Late,
}

impl SendError {
    /// Whether the same may be taken later (OTLP: 429, 502, 503, 504).
    fn passes(&self) -> bool {
        match self {
            Self::Post(PostError::Address) => false,
            Self::Post(_) | Self::Late => true,
            Self::Answered(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }
}

/// Until nobody keeps traces any more.
pub(crate) async fn run(
    snapshot: watch::Receiver<Arc<ObserveSnapshot>>,
    mut kept: mpsc::Receiver<Vec<Span>>,
) {
    let mut failing = false;
    while let Some(spans) = kept.recv().await {
        let Some(url) = snapshot.borrow().settings.otlp.export.clone() else {
            continue;
        };
        let body = Bytes::from(super::write(&spans));
        let sent = try_often(&url, &body).await;
        match &sent {
            Err(error) if !failing => tracing::warn!(%error, "traces are not exported"),
            Ok(()) if failing => tracing::info!("traces are exported again"),
            _ => {}
        }
        failing = sent.is_err();
    }
}

async fn try_often(url: &str, body: &Bytes) -> Result<(), SendError> {
    let mut wait = FIRST_WAIT;
    for _ in 1..TRIES {
        match send(url, body).await {
            Err(error) if error.passes() => sleep(wait).await,
            done => return done,
        }
        wait *= 2;
    }
    send(url, body).await
}

async fn send(url: &str, body: &Bytes) -> Result<(), SendError> {
    let posted = outgoing::post(url, "application/x-protobuf", body.clone());
    match timeout(LIMIT, posted).await.map_err(|_| SendError::Late)?? {
        status if status.is_success() => Ok(()),
        status => Err(SendError::Answered(status)),
    }
}
