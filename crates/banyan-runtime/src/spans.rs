//! Spans on their way to the role that keeps them: nobody waits, and what does not fit is dropped and counted.
//!
//! A core gathers in its own [`Emitter`] and hands over each tick; one task sends datagrams to a socket. Without somebody
//! who listens there, [`Emitter::is_on`] is false and nothing is gathered. Limits: 512 spans per core and tick,
//! 32 batches, [`DATAGRAM`] bytes at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use banyan_telemetry::Families;
use banyan_telemetry::families::Kind;
use banyan_telemetry::span::Span;
use tokio::net::UnixDatagram;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

const GATHERED: usize = 512;
const QUEUE: usize = 32;
/// Below what every kernel lets through at once.
pub const DATAGRAM: usize = 64 * 1024;
/// How often it is seen whether somebody listens.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a role tells of the spans that it dropped.
pub fn families(all: &mut Families, role: &str, dropped: u64) {
    let help = "Spans of traces that were dropped: more at once than fit, or who takes them was behind.";
    all.family(Kind::Counter, "banyan_spans_dropped_total", help)
        .count(&[("role", role)], dropped);
}

/// Where spans go, below an installation's state folder.
pub fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join("observe").join("spans.sock")
}

/// One thread's end.
pub struct Emitter {
    gathered: Vec<Span>,
    way: Way,
}

/// What emitters are made of; cheap to clone.
#[derive(Clone)]
pub struct Way {
    batches: mpsc::Sender<Vec<Span>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    listens: AtomicBool,
    dropped: AtomicU64,
}

/// The task's end.
pub struct Batches {
    batches: mpsc::Receiver<Vec<Span>>,
    shared: Arc<Shared>,
}

pub fn channel() -> (Way, Batches) {
    let (to, batches) = mpsc::channel(QUEUE);
    let shared = Arc::<Shared>::default();
    let way = Way {
        batches: to,
        shared: Arc::clone(&shared),
    };
    (way, Batches { batches, shared })
}

impl Way {
    pub fn emitter(&self) -> Emitter {
        Emitter {
            gathered: Vec::new(),
            way: self.clone(),
        }
    }

    /// Spans that nobody got, since the start.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    pub fn families(&self, all: &mut Families, role: &str) {
        families(all, role, self.dropped());
    }
}

impl Emitter {
    /// Whether somebody listens: one load of a number that is written once.
    pub fn is_on(&self) -> bool {
        self.way.shared.listens.load(Ordering::Relaxed)
    }

    /// False: the next span would be dropped, and counts as that; it need not be made.
    pub fn has_room(&self) -> bool {
        let room = self.gathered.len() < GATHERED;
        if !room {
            self.way.shared.lose(1);
        }
        room
    }

    pub fn emit(&mut self, span: Span) {
        if self.has_room() {
            self.gathered.push(span);
        }
    }

    /// Hands over what has gathered; called each tick.
    pub fn flush(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.gathered);
        if let Err(refused) = self.way.batches.try_send(batch) {
            self.way.shared.lose(refused.into_inner().len());
        }
    }
}

impl Shared {
    fn lose(&self, spans: usize) {
        self.dropped.fetch_add(spans as u64, Ordering::Relaxed);
    }
}

/// Sends until every emitter is gone. `socket`: see [`socket()`]; it may come and go.
pub async fn send_all(socket: PathBuf, mut from: Batches) {
    let sender = match UnixDatagram::unbound() {
        Ok(sender) => sender,
        Err(error) => {
            tracing::warn!(%error, "traces are off: no socket to send them by");
            return;
        }
    };
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            batch = from.batches.recv() => match batch {
                Some(batch) => from.shared.lose(send(&sender, &socket, &batch)),
                None => return,
            },
            _ = look.tick() => {
                let listens = tokio::fs::try_exists(&socket).await.unwrap_or(false);
                from.shared.listens.store(listens, Ordering::Relaxed);
            }
        }
    }
}

/// How many did not go out: nobody listens, or who listens is behind.
fn send(sender: &UnixDatagram, socket: &Path, batch: &[Span]) -> usize {
    let mut lost = 0;
    for datagram in datagrams(batch) {
        if sender.try_send_to(&datagram.bytes, socket).is_err() {
            lost += datagram.spans;
        }
    }
    lost
}

struct Datagram {
    bytes: Vec<u8>,
    spans: usize,
}

/// A line of JSON per span, as many as fit.
fn datagrams(batch: &[Span]) -> Vec<Datagram> {
    let mut all: Vec<Datagram> = Vec::new();
    for span in batch {
        let Ok(mut line) = serde_json::to_vec(span) else {
            continue;
        };
        line.push(b'\n');
        match all
            .last_mut()
            .filter(|last| last.bytes.len() + line.len() <= DATAGRAM)
        {
            Some(last) => {
                last.bytes.extend(line);
                last.spans += 1;
            }
            None => all.push(Datagram {
                bytes: line,
                spans: 1,
            }),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use banyan_telemetry::span::{SpanId, TraceId};

    use super::*;

    fn span(id: u64) -> Span {
        Span {
            trace: TraceId(7),
            id: SpanId(id),
            parent: None,
            who: "edge".to_owned(),
            name: "x".repeat(1000),
            start_us: 1,
            took_us: 2,
            failed: false,
            keep: false,
            fields: BTreeMap::new(),
        }
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let (way, _batches) = channel();
        let mut emitter = way.emitter();
        for _ in 0..=QUEUE {
            (0..GATHERED as u64 + 3).for_each(|id| emitter.emit(span(id)));
            emitter.flush();
        }
        assert_eq!(way.dropped(), 3 * (QUEUE as u64 + 1) + GATHERED as u64);
    }

    #[tokio::test]
    async fn spans_arrive_as_soon_as_somebody_listens_and_nobody_waits_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spans.sock");
        let (way, batches) = channel();
        let mut emitter = way.emitter();
        assert!(!emitter.is_on());
        let sending = send_all(path.clone(), batches);
        let listening = async {
            let listener = UnixDatagram::bind(&path).unwrap();
            while !emitter.is_on() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            (0..200).for_each(|id| emitter.emit(span(id)));
            emitter.flush();
            let mut seen = 0;
            let mut bytes = vec![0; DATAGRAM];
            while seen < 200 {
                let count = listener.recv(&mut bytes).await.unwrap();
                let lines = bytes[..count].split_inclusive(|byte| *byte == b'\n');
                let all: Vec<Span> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
                assert_eq!(all[0], span(seen));
                seen += all.len() as u64;
            }
        };
        tokio::select! {
            () = sending => panic!("it ended"),
            () = listening => {}
        }
        assert_eq!(way.dropped(), 0);
    }
}
