//! What is kept, by its one owner: a thread of its own, so that a slow disk delays nothing but it.
//!
//! Limits: 64 questions wait; a write beyond them is dropped and told, a question beyond them waits.

mod block;
mod fold;
mod history;
mod rows;
mod segment;
mod tier;

use std::path::PathBuf;

use banyan_runtime::Tasks;
use banyan_topology::snapshot::observe::ObserveSettings;
use tokio::sync::{mpsc, oneshot};

use crate::series::{Found, Query, Sample, Series};
use history::History;

const ASKS: usize = 64;

enum Ask {
    Write { at_ms: u64, samples: Vec<Sample> },
    Query(Query, oneshot::Sender<Vec<Found>>),
    Held(oneshot::Sender<Held>),
    LastCounts(oneshot::Sender<Vec<(Series, f64)>>),
    Set(ObserveSettings),
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

/// Asks the owner. Cheap to clone; what waits for the disk is written when the last one is gone.
#[derive(Clone, Debug)]
pub struct Keeper(mpsc::Sender<Ask>);

impl Keeper {
    /// `folder`: where it is kept; what is there from before is taken up.
    pub fn start(tasks: &Tasks, folder: PathBuf, settings: ObserveSettings) -> Self {
        let (sender, asks) = mpsc::channel(ASKS);
        tasks.spawn_blocking(move || own(asks, History::open(&folder, settings)));
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

    /// What counters were last, before a restart too.
    pub(crate) async fn last_counts(&self) -> Vec<(Series, f64)> {
        self.ask(Ask::LastCounts).await
    }

    pub(crate) async fn set(&self, settings: ObserveSettings) {
        // Without an owner the role is ending.
        let _ending = self.0.send(Ask::Set(settings)).await;
    }

    async fn ask<T: Default>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> T {
        let (reply, answer) = oneshot::channel();
        if self.0.send(ask(reply)).await.is_err() {
            return T::default();
        }
        answer.await.unwrap_or_default()
    }
}

fn own(mut asks: mpsc::Receiver<Ask>, mut history: History) {
    while let Some(ask) = asks.blocking_recv() {
        // Who asked may have left.
        match ask {
            Ask::Write { at_ms, samples } => history.write(at_ms, samples),
            Ask::Query(query, reply) => drop(reply.send(history.query(&query))),
            Ask::Held(reply) => drop(reply.send(held(&history))),
            Ask::LastCounts(reply) => drop(reply.send(history.last_counts())),
            Ask::Set(settings) => history.set(settings),
        }
    }
    history.flush();
}

fn held(history: &History) -> Held {
    Held {
        series: history.series(),
        dropped: history.dropped(),
        disk_bytes: history.disk_bytes(),
        problem: history.problem.clone(),
    }
}
