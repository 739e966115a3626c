//! What is kept, by its one owner: a thread of its own, so that a slow disk delays nothing but it.
//!
//! Limits: [`ASKS`] questions wait; a write beyond them is dropped and counted, a question beyond them waits.

mod recent;

use banyan_runtime::Tasks;
use tokio::sync::{mpsc, oneshot};

use crate::series::{Found, Query, Sample};
use recent::Recent;

const ASKS: usize = 64;

enum Ask {
    Write { at_ms: u64, samples: Vec<Sample> },
    Query(Query, oneshot::Sender<Vec<Found>>),
    Held(oneshot::Sender<Held>),
}

/// How much is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub series: u64,
    /// Samples of series that were one too many.
    pub dropped: u64,
    pub disk_bytes: u64,
    /// Why something is not kept.
    pub problem: Option<String>,
}

/// Asks the owner. Cheap to clone; what is kept is let go with the last one.
#[derive(Clone, Debug)]
pub struct Keeper(mpsc::Sender<Ask>);

impl Keeper {
    pub fn start(tasks: &Tasks) -> Self {
        let (sender, asks) = mpsc::channel(ASKS);
        tasks.spawn_blocking(move || own(asks));
        Self(sender)
    }

    /// Of all series at one moment (Unix ms), after those of before. `false`: too much waits already, it is dropped.
    pub fn write(&self, at_ms: u64, samples: Vec<Sample>) -> bool {
        self.0.try_send(Ask::Write { at_ms, samples }).is_ok()
    }

    /// Every series that is asked for and has points in that time.
    pub async fn query(&self, query: Query) -> Vec<Found> {
        self.ask(|reply| Ask::Query(query, reply)).await
    }

    pub async fn held(&self) -> Held {
        self.ask(Ask::Held).await
    }

    async fn ask<T: Default>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> T {
        let (reply, answer) = oneshot::channel();
        // Without an owner the role is ending: there is nothing.
        if self.0.send(ask(reply)).await.is_err() {
            return T::default();
        }
        answer.await.unwrap_or_default()
    }
}

fn own(mut asks: mpsc::Receiver<Ask>) {
    let mut recent = Recent::default();
    while let Some(ask) = asks.blocking_recv() {
        // Who asked may have left.
        match ask {
            Ask::Write { at_ms, samples } => recent.write(at_ms, samples),
            Ask::Query(query, reply) => drop(reply.send(recent.query(&query))),
            Ask::Held(reply) => drop(reply.send(Held {
                series: recent.len() as u64,
                dropped: recent.dropped(),
                ..Held::default()
            })),
        }
    }
}
