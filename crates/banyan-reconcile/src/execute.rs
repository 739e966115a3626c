//! Performs one plan, step by step, so that a kill at any point resumes to the same end.
//!
//! For each step: skip what holds → journal `begun` → driver → topology file → journal `done`. A step whose end nobody
//! saw is performed again; the driver makes that harmless. No choice is left here: the plan is complete.
//!
//! Instances that the plan starts one right after the other are started at once, [`AT_ONCE`] of them: all are `begun` before
//! the first is started, and all have ended, well or not, before anything else happens.

use std::ops::Range;
use std::time::Instant;

use banyan_runtime::Clock;
use banyan_topology::{PlannedStep, Step, Topology};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

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

/// Instances that start at once at most: what starts takes CPU from what serves.
pub const AT_ONCE: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Forward,
    Back,
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
        for wave in waves(self.record.steps()) {
            let mut open = Vec::new();
            for index in wave {
                if self.record.done.contains(&index) {
                    continue;
                }
                let step = self.record.steps()[index].step.clone();
                if step.holds(&self.topology) {
                    self.note(Entry::Done { step: index })?;
                    self.progress(index, &step, ProgressState::Skipped, None);
                } else {
                    open.push((index, step));
                }
            }
            for (index, step) in &open {
                self.note(Entry::Begun { step: *index })?;
                self.progress(*index, step, ProgressState::Begun, None);
            }
            self.perform(Way::Forward, &open).await?;
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
        self.assume_begun_steps_done();
        for index in undo_order(self.record) {
            let Some(inverse) = self.record.steps()[index].inverse.clone() else {
                continue;
            };
            self.note(Entry::Undoing { step: index })?;
            self.progress(index, &inverse, ProgressState::Reverting, None);
            if inverse.holds(&self.topology) {
                self.note(Entry::Undone { step: index })?;
                self.progress(index, &inverse, ProgressState::Done, Some(0));
            } else {
                self.perform(Way::Back, &[(index, inverse)]).await?;
            }
        }
        let intent = self.record.header.intent_before.clone();
        self.durable.save_intent(&intent)?;
        self.note(Entry::Reverted)?;
        Ok(())
    }

    /// Steps that were begun and not seen to end may be true in part: undoing begins with them.
    fn assume_begun_steps_done(&mut self) {
        for index in self.record.in_doubt.clone() {
            if self.record.done.insert(index) {
                let step = self.record.steps()[index].step.clone();
                if !step.holds(&self.topology)
                    && let Ok(after) = step.apply(&self.topology)
                {
                    self.topology = after;
                }
            }
        }
    }

    /// Performs steps that do not need each other, at once, and waits for all; the first step that failed is the error.
    async fn perform(&mut self, way: Way, steps: &[(usize, Step)]) -> Result<(), Halt> {
        let began = self.clock.now();
        let (driver, of) = (self.driver, self.record.steps().len());
        let before = &self.topology.clone();
        let mut performing: FuturesUnordered<_> = steps
            .iter()
            .map(|(index, step)| async move { (*index, step, performed(driver, step, before).await) })
            .collect();
        let mut hints: FuturesUnordered<_> = steps
            .iter()
            .map(|(index, step)| async move { (*index, driver.hint(step).await) })
            .collect();
        let mut failed: Option<(usize, String)> = None;
        loop {
            let ended = tokio::select! {
                ended = performing.next() => ended,
                Some((index, hint)) = hints.next() => {
                    (self.events)(progress(index, of, hint, ProgressState::Waits, None));
                    continue;
                }
            };
            let Some((index, step, result)) = ended else {
                return failed.map_or(Ok(()), |(index, error)| Err(Halt::Step(index, error)));
            };
            if let Err(error) = self.end(way, index, step, result, began)?
                && failed.as_ref().is_none_or(|(first, _)| index < *first)
            {
                failed = Some((index, error));
            }
        }
    }

    /// What a step has led to is written down. The inner error is the step's, the outer the disk's.
    fn end(
        &mut self,
        way: Way,
        step: usize,
        performed: &Step,
        result: Result<Option<String>, String>,
        began: Instant,
    ) -> Result<Result<(), String>, DurableError> {
        let reached = result.and_then(|note| {
            let after = performed
                .apply(&self.topology)
                .map_err(|error| error.to_string())?;
            Ok((note, after))
        });
        let (note, after) = match reached {
            Ok(reached) => reached,
            Err(error) => {
                if way == Way::Forward {
                    let error = error.clone();
                    self.note(Entry::Failed { step, error })?;
                }
                self.progress(step, performed, ProgressState::Failed, self.since(began));
                return Ok(Err(error));
            }
        };
        self.notes.extend(note);
        self.durable.save_topology(&after)?;
        self.topology = after;
        (self.events)(Event::Reached(Box::new(self.topology.clone())));
        self.note(match way {
            Way::Forward => Entry::Done { step },
            Way::Back => Entry::Undone { step },
        })?;
        self.progress(step, performed, ProgressState::Done, self.since(began));
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

    fn since(&self, began: Instant) -> Option<u64> {
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

async fn performed<D: Driver>(driver: &D, step: &Step, before: &Topology) -> Result<Option<String>, String> {
    let after = step.apply(before).map_err(|error| error.to_string())?;
    let (before, after) = (before, &after);
    let performed = driver.perform(Move { step, before, after }).await;
    performed.map_err(|error| error.to_string())
}

/// Which steps are performed at once: starts of instances that stand together, anything else alone.
fn waves(steps: &[PlannedStep]) -> Vec<Range<usize>> {
    let mut waves: Vec<Range<usize>> = Vec::new();
    let starts = |index: usize| matches!(steps[index].step, Step::StartInstance(_));
    for index in 0..steps.len() {
        match waves.last_mut() {
            Some(wave) if starts(index) && starts(wave.start) && wave.len() < AT_ONCE => wave.end = index + 1,
            _ => waves.push(index..index + 1),
        }
    }
    waves
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
