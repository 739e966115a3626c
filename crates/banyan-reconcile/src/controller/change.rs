//! From a wish to a performed plan: load → facts → resolve → plan → check → journal → execute.
//!
//! What is refused (a wrong configuration, a stale plan) changes nothing. At most one change runs at a time: the
//! controller's loop sees to that.

use std::sync::Arc;

use banyan_runtime::{Clock, watched};
use banyan_topology::{self as topology, Topology, plan};
use tokio::sync::watch;

use super::proposal::tried;
use super::refused::Refused;
use super::{Done, Loaded, Loader};
use crate::driver::{Attempt, Driver};
use crate::durable::Disk;
use crate::execute::{Ended, Event, Execution};
use crate::intent::Intent;
use crate::journal::{Entry, Header, Journal, Journals, OnFailure, Reason, Record};
use crate::paths::StateDir;
use crate::proto::{Change, ConfigPaths, Outcome, Reply};
use crate::releases::{self, Releases};
use crate::takeover::{Decision, TakenOver, decide, take_over, write_down};

pub(super) type Events<'a> = &'a mut (dyn FnMut(Event) + Send);

/// All that a change needs; the topology itself is read from its file, which the executor keeps true.
pub(super) struct Changer<D> {
    pub(super) driver: Arc<D>,
    pub(super) state: StateDir,
    pub(super) load: Loader,
    /// The last configuration that was made true: what the load asks for does not wait for a file that is being edited.
    pub(super) kept: watch::Sender<Option<Loaded>>,
    pub(super) clock: Clock,
}

impl<D> Clone for Changer<D> {
    fn clone(&self) -> Self {
        Self {
            driver: self.driver.clone(),
            state: self.state.clone(),
            load: self.load.clone(),
            kept: self.kept.clone(),
            clock: self.clock,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

impl<D: Driver> Changer<D> {
    /// Adopt, resume or set aside what an earlier controller left unfinished, then make the configuration true.
    pub(super) async fn bring_up(&self, paths: &ConfigPaths, events: Events<'_>) -> Done {
        match self.try_bring_up(paths, events).await {
            Ok(done) => done,
            Err(refused) => refused.into(),
        }
    }

    async fn try_bring_up(&self, paths: &ConfigPaths, events: Events<'_>) -> Result<Done, Refused> {
        let loaded = self.loaded(paths)?;
        let warnings = self.equip(&loaded);
        let taken = take_over(&*self.driver, &self.state, &loaded.config.name).await?;
        let TakenOver {
            topology,
            unfinished,
            mut notes,
        } = taken;
        notes.extend(warnings);
        events(Event::Reached(Box::new(topology.clone())));
        if let Some((journal, record)) = unfinished {
            match self
                .continue_left(journal, record, topology, events, &mut notes)
                .await?
            {
                Some(done) if done.outcome != Outcome::Changed => return Ok(with_notes(done, notes)),
                _ => {}
            }
        }
        let done = self
            .perform_proposal(paths, Change::Configuration, None, Reason::Start, events)
            .await?;
        Ok(with_notes(done, notes))
    }

    /// The end of what an earlier controller had begun; `None`: set aside.
    async fn continue_left(
        &self,
        mut journal: Journal,
        record: Record,
        topology: Topology,
        events: Events<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Option<Done>, Refused> {
        let name = format!("plan {} ({})", record.header.number, record.header.reason);
        let (of, done) = (record.steps().len(), record.done.len());
        match decide(&record, &topology) {
            Decision::Resume => {
                notes.push(format!("resumed {name}, which stood at step {done} of {of}"));
                Ok(Some(
                    self.execute(journal, record, topology, Direction::Forward, events)
                        .await
                        .into(),
                ))
            }
            Decision::Revert => {
                notes.push(format!("went on undoing {name}"));
                let ended = self
                    .execute(journal, record, topology, Direction::Backward, events)
                    .await;
                // The change was undone before this start; now the configuration counts again.
                Ok((ended.outcome != Outcome::RolledBack).then(|| ended.into()))
            }
            Decision::Abandon(reason) => {
                notes.push(format!(
                    "set aside {name}, which stood at step {done} of {of}: {reason}"
                ));
                journal.append(&Entry::Abandoned { reason })?;
                notes.extend(self.driver.settle(&topology).await);
                Ok(None)
            }
        }
    }

    pub(super) async fn plan(&self, paths: &ConfigPaths, change: &Change) -> Reply {
        match self.propose(paths, change).await {
            Ok(proposal) => Reply::Plan {
                text: proposal.plan.lines(),
                plan: proposal.plan,
                config_hash: proposal.hash,
                notes: proposal.notes,
            },
            Err(refused) => done_reply(refused.into()),
        }
    }

    pub(super) async fn apply(
        &self,
        paths: &ConfigPaths,
        change: Change,
        config_hash: Option<String>,
        events: Events<'_>,
    ) -> Done {
        let reason = match change {
            Change::Configuration => Reason::Configuration,
            Change::Deploy => Reason::Deploy,
            Change::Rollback { .. } => Reason::Rollback,
            Change::Switchover { .. } => Reason::Switchover,
            Change::Scale { .. } => Reason::Scale,
        };
        match self
            .perform_proposal(paths, change, config_hash, reason, events)
            .await
        {
            Ok(done) => done,
            Err(refused) => refused.into(),
        }
    }

    fn equip(&self, loaded: &Loaded) -> Vec<String> {
        self.kept.send_replace(Some(loaded.clone()));
        self.driver.equip(loaded)
    }

    /// Stops what a change that was cut short has left.
    pub(super) async fn settle(&self) {
        match watched::read::<Topology>(&self.state.topology()) {
            Ok(Some(topology)) => {
                for note in self.driver.settle(&topology).await {
                    tracing::info!(note, "settled");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "what runs is not known"),
        }
    }

    async fn perform_proposal(
        &self,
        paths: &ConfigPaths,
        change: Change,
        config_hash: Option<String>,
        reason: Reason,
        events: Events<'_>,
    ) -> Result<Done, Refused> {
        let proposal = self.propose(paths, &change).await?;
        if config_hash.is_some_and(|shown| shown != proposal.hash) {
            let text = "the configuration or what runs has changed since that plan was made; look at `banyan plan` again";
            return Err(Refused(text.to_owned()));
        }
        self.equip(&proposal.loaded);
        if proposal.plan.steps.is_empty() {
            proposal.intent_after.write(&self.state.intent())?;
            let notes = proposal.notes;
            return Ok(Done {
                outcome: Outcome::Nothing,
                error: None,
                notes,
            });
        }
        self.set_aside_unfinished("a new change takes its place")?;
        if proposal.is_new {
            let app = proposal.loaded.root.join(&proposal.release.dir);
            Releases::new(self.state.releases()).store(&proposal.release, &app)?;
            proposal.intent.write(&self.state.intent())?;
        }
        let gentle = !proposal.is_new && matches!(reason, Reason::Configuration | Reason::Switchover);
        let header = Header {
            number: 0,
            reason,
            config_hash: proposal.hash,
            on_failure: if gentle && !proposal.current.is_stopped() {
                OnFailure::Stop
            } else {
                OnFailure::Revert
            },
            from: proposal.current.clone(),
            plan: proposal.plan,
            intent_before: proposal
                .intent
                .undone(proposal.current.release, proposal.desired.release),
            intent_after: proposal.intent_after,
        };
        let (journal, record) = Journals::new(self.state.journal()).create(header)?;
        let ended = self
            .execute(journal, record, proposal.current, Direction::Forward, events)
            .await;
        self.prune_releases(&ended.topology);
        Ok(with_notes(ended.into(), proposal.notes))
    }

    pub(super) async fn resume(&self, events: Events<'_>) -> Done {
        let go = async {
            let Some((journal, record)) = Journals::new(self.state.journal()).unfinished()? else {
                return Err(Refused(
                    "no plan is unfinished: there is nothing to resume".to_owned(),
                ));
            };
            if record.reverting {
                let text = "the plan is being undone; `banyan apply --revert` goes on with that";
                return Err(Refused(text.to_owned()));
            }
            let topology = self.current(&record.header.from.app).await?;
            fits(&record, &topology)?;
            Ok(self
                .execute(journal, record, topology, Direction::Forward, events)
                .await
                .into())
        };
        go.await.unwrap_or_else(Done::from)
    }

    pub(super) async fn revert(&self, events: Events<'_>) -> Done {
        let go = async {
            let Some((journal, record)) = Journals::new(self.state.journal()).last()? else {
                return Err(Refused(
                    "no plan was performed yet: there is nothing to revert".to_owned(),
                ));
            };
            if record.done.is_empty() && record.in_doubt.is_empty() {
                return Err(Refused("the last plan is undone already".to_owned()));
            }
            let topology = self.current(&record.header.from.app).await?;
            fits_backward(&record, &topology)?;
            let ended = self
                .execute(journal, record, topology, Direction::Backward, events)
                .await;
            Ok(ended.into())
        };
        go.await.unwrap_or_else(Done::from)
    }

    pub(super) async fn trial(&self, paths: &ConfigPaths) -> Reply {
        let go = async {
            let proposal = self.propose(paths, &Change::Configuration).await?;
            let (Some(process), Some(port)) = (tried(&proposal.desired), proposal.free_port) else {
                return Err(Refused("no process and free port to try".to_owned()));
            };
            self.driver.equip(&proposal.loaded);
            let trial = Attempt {
                topology: &proposal.current,
                release: &proposal.release,
                process,
                port,
            };
            Ok(Reply::Trial(self.driver.trial(trial).await))
        };
        go.await
            .unwrap_or_else(|refused: Refused| done_reply(refused.into()))
    }

    /// The same for children of an earlier controller. A configuration that is wrong by now must not keep them running:
    /// what cannot be described without it is stopped while it is taken over.
    pub(super) async fn take_over_and_down(&self, paths: &ConfigPaths, events: Events<'_>) -> Done {
        if let Ok(loaded) = self.loaded(paths) {
            self.driver.equip(&loaded);
        }
        let saved = watched::read::<Topology>(&self.state.topology());
        let app = match saved {
            Ok(Some(topology)) => topology.app,
            Ok(None) => {
                return Done {
                    outcome: Outcome::Nothing,
                    error: None,
                    notes: Vec::new(),
                };
            }
            Err(error) => return Refused::from(error).into(),
        };
        match take_over(&*self.driver, &self.state, &app).await {
            Ok(taken) => {
                events(Event::Reached(Box::new(taken.topology)));
                let mut done = self.down(&app, events).await;
                done.notes.splice(0..0, taken.notes);
                done
            }
            Err(error) => Refused::from(error).into(),
        }
    }

    /// Stops everything in order. Whatever plan was under way is set aside.
    pub(super) async fn down(&self, app: &topology::AppName, events: Events<'_>) -> Done {
        let go = async {
            let current = self.current(app).await?;
            self.set_aside_unfinished("everything goes down")?;
            let notes = self.driver.settle(&current).await;
            let intent = Intent::read(&self.state.intent())?;
            let desired = current.stopped();
            let plan = plan::between(&current, &desired);
            if plan.steps.is_empty() {
                return Ok(Done {
                    outcome: Outcome::Nothing,
                    error: None,
                    notes,
                });
            }
            let header = Header {
                number: 0,
                reason: Reason::Down,
                config_hash: String::new(),
                from: current.clone(),
                plan,
                on_failure: OnFailure::Stop,
                intent_before: intent.clone(),
                intent_after: intent.remembering(&current),
            };
            let (journal, record) = Journals::new(self.state.journal()).create(header)?;
            let ended = self
                .execute(journal, record, current, Direction::Forward, events)
                .await;
            Ok(with_notes(ended.into(), notes))
        };
        go.await.unwrap_or_else(|refused: Refused| refused.into())
    }

    /// The primary has failed.
    pub(super) async fn mend(&self, app: &topology::AppName, events: Events<'_>) -> Done {
        let go = async {
            // What else has died meanwhile is not looked for first: clients wait.
            let saved: Option<Topology> = watched::read(&self.state.topology())?;
            let current = saved.unwrap_or_else(|| Topology::nothing(app.clone()));
            let save = |mended: &Topology| write_down(&self.state, mended);
            let mended = self.driver.mend(&current, true, &save).await;
            watched::publish(&self.state.topology(), &mended.topology)?;
            for note in &mended.notes {
                tracing::warn!(note, "the database was mended");
            }
            events(Event::Reached(Box::new(mended.topology)));
            Ok(Done {
                outcome: Outcome::Changed,
                error: None,
                notes: mended.notes,
            })
        };
        go.await.unwrap_or_else(|refused: Refused| refused.into())
    }

    /// (done, of, why) of the plan that came to no end.
    pub(super) fn unfinished(&self) -> Option<(usize, usize, String)> {
        let (_, record) = Journals::new(self.state.journal()).unfinished().ok()??;
        let why = match &record.failure {
            Some((step, error)) => format!("failed to {}: {error}", record.steps()[*step].step),
            None if record.reverting => "undoing it was interrupted".to_owned(),
            None => "it was interrupted".to_owned(),
        };
        Some((record.done.len(), record.steps().len(), why))
    }

    async fn execute(
        &self,
        journal: Journal,
        mut record: Record,
        topology: Topology,
        direction: Direction,
        events: Events<'_>,
    ) -> Ended {
        let mut disk = Disk {
            journal,
            topology: self.state.topology(),
            intent: self.state.intent(),
        };
        let execution = Execution {
            driver: &*self.driver,
            durable: &mut disk,
            events,
            clock: self.clock,
            notes: Vec::new(),
            topology,
            record: &mut record,
        };
        match direction {
            Direction::Forward => Box::pin(execution.forward()).await,
            Direction::Backward => Box::pin(execution.backward()).await,
        }
    }

    fn set_aside_unfinished(&self, reason: &str) -> Result<(), Refused> {
        if let Some((mut journal, _)) = Journals::new(self.state.journal()).unfinished()? {
            journal.append(&Entry::Abandoned {
                reason: reason.to_owned(),
            })?;
        }
        Ok(())
    }

    fn prune_releases(&self, topology: &Topology) {
        let in_use = releases::in_use(topology);
        if let Err(error) = Releases::new(self.state.releases()).prune(&in_use) {
            tracing::warn!(%error, "failed to remove old releases");
        }
    }
}

fn fits(record: &Record, topology: &Topology) -> Result<(), Refused> {
    crate::execute::fits(record, topology).map_err(no_longer_fits)
}

fn fits_backward(record: &Record, topology: &Topology) -> Result<(), Refused> {
    crate::execute::fits_backward(record, topology).map_err(no_longer_fits)
}

fn no_longer_fits(reason: String) -> Refused {
    Refused(format!(
        "what runs has changed since that plan stopped ({reason}); `banyan apply` makes a new plan"
    ))
}

impl From<Ended> for Done {
    fn from(ended: Ended) -> Self {
        Self {
            outcome: ended.outcome,
            error: ended.error,
            notes: ended.notes,
        }
    }
}

fn with_notes(done: Done, mut notes: Vec<String>) -> Done {
    notes.extend(done.notes);
    Done { notes, ..done }
}

pub(super) fn done_reply(done: Done) -> Reply {
    let Done {
        outcome,
        error,
        notes,
    } = done;
    Reply::Done {
        outcome,
        error,
        notes,
    }
}
