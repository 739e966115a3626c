//! Judges the rules of `[alerts]` over what is kept, and tells people.
//!
//! One task; one more for each delivery that is under way (at most one per receiver). Judged each `every`; below the
//! keeper's [`STEP`] over rounds of each second. What fires, who is still to be told, and what happened is on the disk
//! (`.banyan/alerts/`): a restart neither forgets an alert nor tells it twice. Limits: those of [`Outbox`], the history's 2 MiB.

mod book;
mod deliver;
mod fetch;
mod mail;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use banyan_alert::{Attempt, Change, Kept, Rule, Transition, evaluate, rules};
use banyan_config::{AlertReceiver, Alerts, TellBy};
use banyan_runtime::{Clock, TaskKind};
use banyan_topology::snapshot::ObserveSnapshot;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::collect::Rounds;
use crate::control::Parts;
use crate::series::STEP;
pub use book::{Book, Shown};
use fetch::Live;

/// Alertmanager takes an alert for resolved when it does not hear of it for minutes.
const REMINDER: Duration = Duration::from_secs(60);
/// Nothing waits for its next try: the end is looked for again then.
const IDLE: Duration = Duration::from_secs(3600);

/// How a delivery ended.
type Ended = (Attempt, Result<(), String>);

/// Until the role ends.
pub(crate) async fn run(parts: Parts) {
    let mut snapshots = parts.snapshot.clone();
    let mut teller = Teller::new(&parts);
    loop {
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let Some(alerts) = &snapshot.alerts else {
            teller.book.forget();
            if snapshots.changed().await.is_err() {
                return;
            }
            continue;
        };
        if !teller.follow(&parts, &snapshot, alerts, &mut snapshots).await {
            return;
        }
    }
}

struct Teller {
    book: Book,
    kept: Kept,
    /// Receivers that are being told.
    busy: BTreeSet<String>,
    ends: mpsc::UnboundedSender<Ended>,
    ended: mpsc::UnboundedReceiver<Ended>,
}

impl Teller {
    fn new(parts: &Parts) -> Self {
        let book = Book::at(&parts.places.state_dir);
        let kept = book.kept();
        let (ends, ended) = mpsc::unbounded_channel();
        Self {
            book,
            kept,
            busy: BTreeSet::new(),
            ends,
            ended,
        }
    }

    /// One configuration, until there is another one. False: the role ends.
    async fn follow(
        &mut self,
        parts: &Parts,
        snapshot: &ObserveSnapshot,
        alerts: &Alerts,
        snapshots: &mut watch::Receiver<Arc<ObserveSnapshot>>,
    ) -> bool {
        let rules = rules(alerts, !snapshot.layout.edge.is_empty());
        let to = in_force(alerts);
        self.kept.outbox.keep_only(&to);
        let mut live = (alerts.every < STEP).then(|| (Live::new(&rules), parts.rounds.subscribe()));
        let mut tick = interval(alerts.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = self
                .kept
                .outbox
                .next()
                .map_or(IDLE, |next| next.saturating_sub(now()));
            tokio::select! {
                changed = snapshots.changed() => return changed.is_ok(),
                Some((attempt, result)) = self.ended.recv() => self.end(&attempt, result).await,
                () = round(&mut live) => {}
                () = sleep(next), if self.busy.is_empty() => {}
                _ = tick.tick() => {
                    let live = live.as_ref().map(|(live, _)| live);
                    let happened = self.judge(&rules, parts, live).await;
                    happened.iter().for_each(log);
                    self.kept.outbox.take(&happened, &to);
                    self.kept.outbox.repeat(&self.kept.state, &to, now());
                    self.book.keep(&self.kept, happened).await;
                }
            }
            self.deliver(parts, snapshot, &to);
        }
    }

    async fn judge(&mut self, rules: &[Rule], parts: &Parts, live: Option<&Live>) -> Vec<Transition> {
        let series = fetch::all(rules, &parts.keeper, live, now()).await;
        let state = std::mem::take(&mut self.kept.state);
        let (state, happened) = evaluate(rules, &series, state, &self.book.silences(), now());
        self.kept.state = state;
        happened
    }

    fn deliver(&mut self, parts: &Parts, snapshot: &ObserveSnapshot, to: &BTreeMap<String, AlertReceiver>) {
        for attempt in self.kept.outbox.due(now()) {
            let Some(receiver) = to.get(&attempt.to) else {
                continue;
            };
            if !self.busy.insert(attempt.to.clone()) {
                continue;
            }
            let (by, app, ends) = (receiver.by.clone(), snapshot.app.to_string(), self.ends.clone());
            parts.tasks.spawn(TaskKind::Connection, "alert", async move {
                let result = deliver::deliver(&by, &app, &attempt).await;
                // Without a reader the role is ending: it is tried again after its start.
                let _ending = ends.send((attempt, result));
            });
        }
    }

    async fn end(&mut self, attempt: &Attempt, result: Result<(), String>) {
        self.busy.remove(&attempt.to);
        match result {
            Ok(()) => self.kept.outbox.done(attempt),
            Err(why) => {
                tracing::warn!(
                    receiver = attempt.to,
                    why,
                    "an alert could not be delivered; it is tried again"
                );
                self.kept.outbox.failed(attempt, &why, now());
            }
        }
        self.book.keep(&self.kept, Vec::new()).await;
    }
}

/// Told or not: what fires is in the log of the role.
fn log(transition: &Transition) {
    let alert = &transition.alert;
    let (rule, severity) = (alert.rule.name(), alert.severity.name());
    let muted = transition.alert.muted.is_some();
    match transition.change {
        Change::Cleared(_) => tracing::info!(rule, severity, muted, "{transition}"),
        Change::Fired | Change::Unmuted | Change::Still => {
            tracing::warn!(rule, severity, muted, "{transition}");
        }
    }
}

fn in_force(alerts: &Alerts) -> BTreeMap<String, AlertReceiver> {
    let mut to = alerts.to.clone();
    for receiver in to.values_mut() {
        if matches!(receiver.by, TellBy::Alertmanager(_)) {
            receiver.repeat = Some(REMINDER);
        }
    }
    to
}

/// What was measured this second, where somebody wants it so soon; else never.
async fn round(live: &mut Option<(Live, watch::Receiver<Rounds>)>) {
    let Some((live, rounds)) = live else {
        return std::future::pending().await;
    };
    if rounds.changed().await.is_err() {
        return std::future::pending().await;
    }
    if let Some(newest) = rounds.borrow_and_update().newest() {
        live.take(newest);
    }
}

fn now() -> Duration {
    Duration::from_millis(Clock.unix_ms())
}
