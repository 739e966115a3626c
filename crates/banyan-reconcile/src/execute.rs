//! Performs one plan, step by step, so that a kill at any point resumes to the same end.
//!
//! For each step: skip what holds → journal `begun` → driver → topology file → journal `done`. A step whose end nobody
//! saw is performed again; the driver makes that harmless. No choice is left here: the plan is complete.

use std::pin::pin;

use banyan_runtime::Clock;
use banyan_topology::{Step, Topology};

use crate::driver::{Driver, Move};
use crate::durable::{Durable, DurableError};
use crate::journal::{Entry, OnFailure, Record};
use crate::proto::{Outcome, Progress, ProgressState};

/// What the caller hears while a plan runs.
#[derive(Clone, Debug)]
pub enum Event {
    Progress(Progress),
    /// The topology as it is now, already on the disk.
    Reached(Box<Topology>),
}

/// How a plan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub outcome: Outcome,
    pub error: Option<String>,
    pub notes: Vec<String>,
    pub topology: Topology,
}

pub struct Execution<'a, D, S> {
    pub driver: &'a D,
    pub durable: &'a mut S,
    pub record: &'a mut Record,
    pub topology: Topology,
    pub events: &'a mut (dyn FnMut(Event) + Send),
    pub clock: Clock,
    pub notes: Vec<String>,
}

/// Why a run stops before its end.
enum Halt {
    Step(usize, String),
    Disk(DurableError),
}

impl From<DurableError> for Halt {
    fn from(error: DurableError) -> Self {
        Self::Disk(error)
    }
}

impl<D: Driver, S: Durable> Execution<'_, D, S> {
    /// Performs what is not done yet; after a failure undoes it, if the plan says so.
    pub async fn forward(mut self) -> Ended {
        match self.try_forward().await {
            Ok(()) => self.ended(Outcome::Changed, None),
            Err(Halt::Disk(error)) => self.stopped_by_disk(&error),
            Err(Halt::Step(step, error)) => {
                let error = format!("failed to {}: {error}", self.record.steps()[step].step);
                match self.record.header.on_failure {
                    OnFailure::Revert => self.after_failure(error).await,
                    OnFailure::Stop => {
                        let error = format!("{error}\n{}", self.next_action());
                        self.ended(Outcome::Stopped, Some(error))
                    }
                }
            }
        }
    }

    /// Undoes the done steps, last first.
    pub async fn backward(mut self) -> Ended {
        match self.try_backward().await {
            Ok(()) => self.ended(Outcome::RolledBack, None),
            Err(halt) => self.revert_failed(None, halt),
        }
    }

    async fn after_failure(mut self, error: String) -> Ended {
        match self.try_backward().await {
            Ok(()) => self.ended(Outcome::RolledBack, Some(error)),
            Err(halt) => self.revert_failed(Some(error), halt),
        }
    }

    fn revert_failed(self, cause: Option<String>, halt: Halt) -> Ended {
        match halt {
            Halt::Disk(error) => self.stopped_by_disk(&error),
            Halt::Step(step, error) => {
                let undoing = self.record.steps()[step].inverse.as_ref();
                let what = undoing.map_or_else(String::new, ToString::to_string);
                let mut text = format!("failed to {what}, which undoes an earlier step: {error}");
                if let Some(cause) = cause {
                    text = format!("{cause}\nThen, on the way back: {text}");
                }
                let text = format!(
                    "{text}\nThe change stands half-way. Next: `banyan apply --revert` tries to undo it again."
                );
                self.ended(Outcome::Stopped, Some(text))
            }
        }
    }

    async fn try_forward(&mut self) -> Result<(), Halt> {
        for index in 0..self.record.steps().len() {
            if self.record.done.contains(&index) {
                continue;
            }
            let step = self.record.steps()[index].step.clone();
            if step.holds(&self.topology) {
                self.note(Entry::Done { step: index })?;
                self.progress(index, &step, ProgressState::Skipped, None);
                continue;
            }
            self.note(Entry::Begun { step: index })?;
            self.progress(index, &step, ProgressState::Begun, None);
            let began = self.clock.now();
            if let Err(error) = self.perform(index, &step).await? {
                self.note(Entry::Failed {
                    step: index,
                    error: error.clone(),
                })?;
                self.progress(index, &step, ProgressState::Failed, self.since(began));
                return Err(Halt::Step(index, error));
            }
            self.note(Entry::Done { step: index })?;
            self.progress(index, &step, ProgressState::Done, self.since(began));
        }
        let intent = self.record.header.intent_after.clone();
        self.durable.save_intent(&intent)?;
        self.note(Entry::Finished)?;
        Ok(())
    }

    async fn try_backward(&mut self) -> Result<(), Halt> {
        if !self.record.reverting {
            self.note(Entry::Reverting)?;
        }
        self.assume_begun_step_done();
        for index in undo_order(self.record) {
            let Some(inverse) = self.record.steps()[index].inverse.clone() else {
                continue;
            };
            self.note(Entry::Undoing { step: index })?;
            self.progress(index, &inverse, ProgressState::Reverting, None);
            let began = self.clock.now();
            if !inverse.holds(&self.topology)
                && let Err(error) = self.perform(index, &inverse).await?
            {
                self.progress(index, &inverse, ProgressState::Failed, self.since(began));
                return Err(Halt::Step(index, error));
            }
            self.note(Entry::Undone { step: index })?;
            self.progress(index, &inverse, ProgressState::Done, self.since(began));
        }
        let intent = self.record.header.intent_before.clone();
        self.durable.save_intent(&intent)?;
        self.note(Entry::Reverted)?;
        Ok(())
    }

    /// A step that was begun and not seen to end may be true in part: undoing begins with it.
    fn assume_begun_step_done(&mut self) {
        let Some(index) = self.record.in_doubt else {
            return;
        };
        if self.record.done.insert(index) {
            let step = self.record.steps()[index].step.clone();
            if !step.holds(&self.topology)
                && let Ok(after) = step.apply(&self.topology)
            {
                self.topology = after;
            }
        }
    }

    /// The inner error is the step's, the outer the disk's.
    async fn perform(&mut self, index: usize, step: &Step) -> Result<Result<(), String>, DurableError> {
        let after = match step.apply(&self.topology) {
            Ok(after) => after,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let performed = {
            let (driver, of) = (self.driver, self.record.steps().len());
            let mut performing = pin!(driver.perform(Move {
                step,
                before: &self.topology,
                after: &after,
            }));
            tokio::select! {
                performed = &mut performing => performed,
                hint = driver.hint(step) => {
                    (self.events)(progress(index, of, hint, ProgressState::Waits, None));
                    performing.await
                }
            }
        };
        match performed {
            Err(error) => return Ok(Err(error.to_string())),
            Ok(note) => self.notes.extend(note),
        }
        self.durable.save_topology(&after)?;
        self.topology = after;
        (self.events)(Event::Reached(Box::new(self.topology.clone())));
        Ok(Ok(()))
    }

    fn note(&mut self, entry: Entry) -> Result<(), DurableError> {
        self.durable.append(&entry)?;
        self.record.take(&entry);
        Ok(())
    }

    fn progress(&mut self, index: usize, step: &Step, state: ProgressState, took_ms: Option<u64>) {
        let of = self.record.steps().len();
        (self.events)(progress(index, of, step.to_string(), state, took_ms));
    }

    fn since(&self, began: std::time::Instant) -> Option<u64> {
        u64::try_from(self.clock.now().duration_since(began).as_millis()).ok()
    }

    fn next_action(&self) -> String {
        let done = self.record.done.len();
        let of = self.record.steps().len();
        format!(
            "{done} of {of} steps are done; what ran before still runs. Next: `banyan apply --resume` tries again from \
             here, `banyan apply --revert` undoes what was done."
        )
    }

    fn stopped_by_disk(self, error: &DurableError) -> Ended {
        let mut text = format!("{error}");
        let mut cause = std::error::Error::source(error);
        while let Some(next) = cause {
            text = format!("{text}: {next}");
            cause = next.source();
        }
        let text =
            format!("{text}\nNothing more is changed until that is solved. Next: `banyan apply --resume`.");
        self.ended(Outcome::Stopped, Some(text))
    }

    fn ended(self, outcome: Outcome, error: Option<String>) -> Ended {
        Ended {
            outcome,
            error,
            notes: self.notes,
            topology: self.topology,
        }
    }
}

fn progress(index: usize, of: usize, what: String, state: ProgressState, took_ms: Option<u64>) -> Event {
    Event::Progress(Progress {
        step: index + 1,
        of,
        what,
        state,
        took_ms,
    })
}

/// Done steps, last first.
fn undo_order(record: &Record) -> Vec<usize> {
    record.done.iter().rev().copied().collect()
}

/// Whether what is left of a plan still leads somewhere from `topology`: children may have died meanwhile.
pub fn fits(record: &Record, topology: &Topology) -> Result<(), String> {
    if record.reverting {
        return fits_backward(record, topology);
    }
    let left = (0..record.steps().len()).filter(|index| !record.done.contains(index));
    walk(topology, left.map(|index| &record.steps()[index].step))
}

/// The same for undoing it.
pub fn fits_backward(record: &Record, topology: &Topology) -> Result<(), String> {
    let inverses = undo_order(record)
        .into_iter()
        .filter_map(|index| record.steps()[index].inverse.as_ref());
    walk(topology, inverses)
}

fn walk<'a>(from: &Topology, mut steps: impl Iterator<Item = &'a Step>) -> Result<(), String> {
    let mut topology = from.clone();
    steps.try_for_each(|step| {
        if !step.holds(&topology) {
            topology = step.apply(&topology).map_err(|error| error.to_string())?;
        }
        Ok(())
    })
}
