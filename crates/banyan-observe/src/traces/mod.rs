//! Traces: spans of the roles and of the app come in, whole traces worth keeping are kept, and found again.
//!
//! Spans come as datagrams from roles (`spans.sock`); one task decides ([`Tail`]) and writes
//! through a thread that may block. Who sends never waits for any of it.

pub mod api;
mod exemplars;
pub mod keep;
pub mod store;
pub mod tree;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use banyan_runtime::spans::{self, DATAGRAM};
use banyan_runtime::{Clock, TaskKind, Tasks};
use banyan_telemetry::span::Span;
use banyan_topology::snapshot::ObserveSnapshot;
use tokio::net::UnixDatagram;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use crate::collect::Places;
use crate::otlp::send;
use keep::{Rules, Tail};
use store::Store;

/// How often waiting traces are looked through.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Spans on their way to the disk; above, they are dropped.
const QUEUE: usize = 256;

/// Who has spans gives them here: [`Intake::give`] never waits.
#[derive(Clone, Debug)]
pub struct Intake(mpsc::Sender<Vec<Span>>);

impl Intake {
    /// False: too much is on its way, and these are dropped.
    pub fn give(&self, spans: Vec<Span>) -> bool {
        self.0.try_send(spans).is_ok()
    }
}

/// Begins to listen for the roles' spans. Within a tokio runtime; ends with `tasks`.
pub(crate) fn start(
    places: &Places,
    snapshot: &watch::Receiver<Arc<ObserveSnapshot>>,
    tasks: &Tasks,
) -> io::Result<Intake> {
    let socket = spans::socket(&places.state_dir);
    let listener = listen(&socket)?;
    let (give, given) = mpsc::channel(QUEUE);
    let intake = Intake(give);
    let folder = store::folder(&places.state_dir);
    let (export, exported) = mpsc::channel(send::QUEUE);
    let exporting = send::run(snapshot.clone(), exported);
    tasks.spawn(TaskKind::Background, "export of traces", exporting);
    let ways = vec![to_disk(folder, tasks), export];
    let collect = collect(listener, given, ways, places.clone());
    tasks.spawn(TaskKind::Background, "traces", collect);
    Ok(intake)
}

/// What an earlier process left in its place goes.
fn listen(socket: &Path) -> io::Result<UnixDatagram> {
    if let Some(folder) = socket.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixDatagram::bind(socket)
}

/// A thread that may block writes them.
fn to_disk(folder: PathBuf, tasks: &Tasks) -> mpsc::Sender<Vec<Span>> {
    let (kept, mut to_write) = mpsc::channel::<Vec<Span>>(QUEUE);
    tasks.spawn(TaskKind::Background, "traces to disk", async move {
        let mut store = Store::new(folder);
        let mut failing = false;
        while let Some(spans) = to_write.recv().await {
            let work = move || {
                let written = store.write(&spans, Clock.unix_ms());
                (store, written)
            };
            let Ok((same, written)) = banyan_runtime::task::blocking(work).await else {
                return;
            };
            store = same;
            if let (Err(error), false) = (&written, failing) {
                tracing::warn!(%error, "traces cannot be written");
            }
            failing = written.is_err();
        }
    });
    kept
}

/// `ways`: where kept spans go; `places`: where it is said how many found no room, and which requests are kept.
async fn collect(
    listener: UnixDatagram,
    mut given: mpsc::Receiver<Vec<Span>>,
    ways: Vec<mpsc::Sender<Vec<Span>>>,
    places: Places,
) {
    let mut tail = Tail::new(Rules::default());
    let mut lost = 0;
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut bytes = vec![0; DATAGRAM];
    loop {
        let now_us = Clock.unix_ms() * 1000;
        let spans = tokio::select! {
            received = listener.recv(&mut bytes) => match received {
                Ok(count) => read(&bytes[..count]),
                Err(error) => {
                    tracing::warn!(%error, "failed to receive spans");
                    tokio::time::sleep(LOOK_EVERY).await;
                    continue;
                }
            },
            Some(spans) = given.recv() => spans,
            _ = look.tick() => {
                lost += hand_over(&ways, &tail.expire(now_us));
                places.exemplars.send_modify(|known| exemplars::forget(known, now_us));
                continue;
            }
        };
        let kept: Vec<Span> = spans
            .into_iter()
            .flat_map(|span| tail.take(span, now_us))
            .collect();
        lost += hand_over(&ways, &kept);
        places
            .exemplars
            .send_modify(|known| exemplars::note(known, &kept));
        places
            .spans_dropped
            .store(lost + tail.dropped(), Ordering::Relaxed);
    }
}

/// How many did not get everywhere: somebody is behind.
fn hand_over(ways: &[mpsc::Sender<Vec<Span>>], spans: &[Span]) -> u64 {
    if spans.is_empty() {
        return 0;
    }
    let refused = ways.iter().filter(|way| way.try_send(spans.to_vec()).is_err());
    refused.count() as u64 * spans.len() as u64
}

/// A line each; what is none is left out: another version may say more.
fn read(datagram: &[u8]) -> Vec<Span> {
    let lines = datagram.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}
