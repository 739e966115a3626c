//! Purges: written to the log, then waited for until every live edge has applied them.
//!
//! One task owns the log and hears what edges report; each order is waited for by a task of its own. An edge counts as live
//! while its process is a child of this controller. Limits: `PATIENCE` an order, [`MOST_SCOPES`] names in it.

pub(crate) mod endpoint;
mod log;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use banyan_runtime::{Clock, TaskKind, Tasks, task};
use banyan_topology::purge::{Actor, Mode, PurgeReport, Scope};
use banyan_topology::report::EdgeReport;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::driver::{Driver, chain};
use log::{Kept, LogError, Wanted};

/// For edges to apply it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Which edges live is asked again.
const LOOK_EVERY: Duration = Duration::from_millis(100);
pub const MOST_SCOPES: usize = 1000;
/// Reports of processes that are gone.
const MOST_REPORTS: usize = 256;

/// How a purge went: it is durable in any case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// Its number in the log; of several names, that of the last.
    pub seq: u64,
    pub edges: Vec<Applied>,
    pub took_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    pub edge: String,
    pub pid: u32,
    /// `false`: it has not said so in time.
    pub applied: bool,
}

impl Purged {
    /// Edges that may serve what was purged; `None`: there are none.
    pub fn stragglers(&self) -> Option<String> {
        let late = self.edges.iter().filter(|edge| !edge.applied);
        let names: Vec<_> = late
            .map(|edge| format!("{} (pid {})", edge.edge, edge.pid))
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

pub(crate) struct Order {
    pub(crate) scopes: Vec<Scope>,
    pub(crate) mode: Mode,
    pub(crate) actor: Actor,
}

impl Order {
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.scopes.is_empty() {
            return Err("nothing to purge: name a URL, a prefix, a glob, a tag, or all".to_owned());
        }
        if self.scopes.len() > MOST_SCOPES {
            return Err(format!(
                "at most {MOST_SCOPES} names at once; this has {}",
                self.scopes.len()
            ));
        }
        self.scopes.iter().try_for_each(Scope::check)
    }
}

enum Message {
    Order(Order, oneshot::Sender<Result<Purged, String>>),
    Report(u32, PurgeReport),
}

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Purges(mpsc::UnboundedSender<Message>);

impl Purges {
    pub(crate) fn start<D: Driver>(path: PathBuf, driver: Arc<D>, tasks: &Tasks) -> Self {
        let (sender, messages) = mpsc::unbounded_channel();
        let work = work(path, driver, tasks.clone(), messages);
        tasks.spawn(TaskKind::Background, "purges", work);
        Self(sender)
    }

    /// Returns when every live edge has applied it, or the time is up.
    pub(crate) async fn purge(&self, order: Order) -> Result<Purged, String> {
        order.check()?;
        let (answer, answered) = oneshot::channel();
        let _ended = self.0.send(Message::Order(order, answer));
        let ending = || "the controller is ending: nothing was purged, or nobody waited for it".to_owned();
        answered.await.unwrap_or_else(|_| Err(ending()))
    }

    pub(crate) fn heard(&self, report: &EdgeReport) {
        let mut purge = report.purge.clone();
        if purge.edge.is_empty() && !report.listening.is_empty() {
            // One of an older banyan, which knows of no purge: never done.
            "of another version".clone_into(&mut purge.edge);
        }
        let _ended = self.0.send(Message::Report(report.pid, purge));
    }
}

/// The last report of each edge process.
type Seen = BTreeMap<u32, PurgeReport>;

async fn work<D: Driver>(
    path: PathBuf,
    driver: Arc<D>,
    tasks: Tasks,
    mut messages: mpsc::UnboundedReceiver<Message>,
) {
    let mut kept = Kept { path, log: None };
    let seen = watch::Sender::new(Seen::new());
    while let Some(message) = messages.recv().await {
        match message {
            Message::Report(pid, report) => {
                if let Some(told) = of_edge(&mut kept, &report) {
                    let (back, done) = append(kept, told).await;
                    kept = back;
                    if let Err(why) = done {
                        tracing::error!(why, "other edges do not hear what has changed");
                    }
                }
                seen.send_modify(|seen| note(seen, pid, report));
            }
            Message::Order(order, answer) => {
                let wanted = |scope| Wanted {
                    scope,
                    mode: order.mode,
                    actor: order.actor.clone(),
                };
                let began = Clock.now();
                let (back, done) = append(kept, order.scopes.into_iter().map(wanted).collect()).await;
                kept = back;
                let waiting = match done {
                    Ok((log, seq)) => wait(Arc::clone(&driver), seen.subscribe(), log, seq),
                    Err(why) => {
                        let _gone = answer.send(Err(why));
                        continue;
                    }
                };
                tasks.spawn(TaskKind::Connection, "purge", async move {
                    let mut purged = waiting.await;
                    let took = Clock.now().saturating_duration_since(began);
                    purged.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                    let _gone = answer.send(Ok(purged));
                });
            }
        }
    }
}

fn note(seen: &mut Seen, pid: u32, report: PurgeReport) {
    if seen.len() >= MOST_REPORTS && !seen.contains_key(&pid) {
        seen.pop_first();
    }
    seen.insert(pid, report);
}

/// What the log does not have yet of what this edge tells.
fn of_edge(kept: &mut Kept, report: &PurgeReport) -> Option<Vec<Wanted>> {
    if report.invalidated.is_empty() {
        return None;
    }
    let known = kept.get(Clock.unix_ms()).map(|log| log.known_of(&report.edge));
    let known = known.unwrap_or(0);
    let new = report.invalidated.iter().filter(|one| one.number > known);
    let wanted = new.map(|one| Wanted {
        scope: one.scope.clone(),
        mode: Mode::Hard,
        actor: Actor::Edge {
            edge: report.edge.clone(),
            number: one.number,
        },
    });
    Some(wanted.collect()).filter(|wanted: &Vec<_>| !wanted.is_empty())
}

async fn append(mut kept: Kept, wanted: Vec<Wanted>) -> (Kept, Result<(String, u64), String>) {
    let path = kept.path.clone();
    let work = task::blocking(move || {
        let done = kept.append(wanted, Clock.unix_ms());
        (kept, done)
    });
    match work.await {
        Ok((kept, done)) => (kept, done.map_err(|error: LogError| chain(&error))),
        Err(_panicked) => (
            Kept { path, log: None },
            Err("writing the log of purges panicked".to_owned()),
        ),
    }
}

async fn wait<D: Driver>(driver: Arc<D>, mut seen: watch::Receiver<Seen>, log: String, seq: u64) -> Purged {
    let until = Instant::now() + PATIENCE;
    loop {
        let children = driver.children().await;
        let edges: Vec<Applied> = {
            let seen = seen.borrow_and_update();
            let edges = children.iter().filter(|child| is_edge(&child.id.0));
            let known = |child: &banyan_supervisor::ChildStatus| {
                let pid = child.pid?;
                // One that has no snapshot yet serves nobody, and reads the log before it does.
                let applied = seen.get(&pid).is_some_and(|report| {
                    report.edge.is_empty() || (report.log == log && report.applied >= seq)
                });
                let edge = child.id.0.clone();
                Some(Applied { edge, pid, applied })
            };
            edges.filter_map(known).collect()
        };
        if edges.iter().all(|edge| edge.applied) || Instant::now() >= until {
            return Purged {
                seq,
                edges,
                took_ms: 0,
            };
        }
        let pause = LOOK_EVERY.min(until.saturating_duration_since(Instant::now()));
        let _news_or_time = timeout(pause, seen.changed()).await;
    }
}

/// `edge`, `edge@1a2b`, `edge-lyon`; instances have a dot in their names.
fn is_edge(child: &str) -> bool {
    let name = child.split('@').next().unwrap_or(child);
    name == "edge" || (name.starts_with("edge-") && !name.contains('.'))
}
