//! The one running change: what it is, how far it is, and who hears of it.

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Done;
use super::scaling::Scaled;
use super::service::tell;
use crate::execute::Event;
use crate::proto::{Outcome, Progress, ProgressState, Reply, UnderWay, UnderWayStep};

pub(super) struct Busy {
    pub(super) what: What,
    pub(super) task: JoinHandle<Option<Reply>>,
    pub(super) events: mpsc::UnboundedReceiver<Event>,
    /// Who hears of it; more than one when a second `down` joins the first.
    pub(super) listeners: Vec<mpsc::UnboundedSender<Reply>>,
    /// What the load asked for, when this is a scaling.
    pub(super) scaled: Option<Scaled>,
    since_ms: u64,
    /// Steps that have begun and not ended, oldest first.
    running: Vec<UnderWayStep>,
    /// The one that ended last.
    ended: Option<UnderWayStep>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    BringUp,
    Change,
    /// The primary has failed.
    Mend,
    /// The load asks for more or fewer instances.
    Scale,
    Down,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::BringUp => "the start",
            Self::Change => "another change",
            Self::Mend => "a failover",
            Self::Scale => "scaling",
            Self::Down => "going down",
        }
    }
}

impl Busy {
    /// `now_ms`: Unix time.
    pub(super) fn begin(
        what: What,
        task: JoinHandle<Option<Reply>>,
        events: mpsc::UnboundedReceiver<Event>,
        listeners: Vec<mpsc::UnboundedSender<Reply>>,
        now_ms: u64,
    ) -> Self {
        Self {
            what,
            task,
            events,
            listeners,
            scaled: None,
            since_ms: now_ms,
            running: Vec::new(),
            ended: None,
        }
    }

    /// A step began, said how far it is, or ended.
    pub(super) fn heard(&mut self, progress: Progress, now_ms: u64) {
        for listener in &self.listeners {
            tell(listener, Reply::Progress(progress.clone()));
        }
        if progress.state == ProgressState::Waits {
            return;
        }
        let known = |step: &UnderWayStep| step.number == progress.step;
        let before = self.running.iter().position(known);
        let before = before.map(|index| self.running.remove(index));
        let step = UnderWayStep {
            number: progress.step,
            of: progress.of,
            what: progress.what,
            since_ms: before.as_ref().map_or(now_ms, |step| step.since_ms),
            undoes: progress.state == ProgressState::Reverting || before.is_some_and(|step| step.undoes),
        };
        match progress.state {
            ProgressState::Begun | ProgressState::Reverting => self.running.push(step),
            _ => self.ended = Some(step),
        }
    }

    /// `None`: it is being planned.
    fn step(&self) -> Option<&UnderWayStep> {
        self.running.first().or(self.ended.as_ref())
    }

    /// For `status`.
    pub(super) fn under_way(&self) -> UnderWay {
        UnderWay {
            what: match self.what {
                What::Change => "change".to_owned(),
                other => other.name().to_owned(),
            },
            since_ms: self.since_ms,
            step: self.step().cloned(),
        }
    }

    /// What another change hears.
    pub(super) fn refusal(&self) -> Done {
        let at = match (self.step(), self.what) {
            (Some(step), _) => format!("step {} of {}, {}", step.number, step.of, step.what),
            (None, What::Mend) => "the primary of the database has failed".to_owned(),
            (None, What::Scale) => "as the load asks".to_owned(),
            (None, _) => "planning".to_owned(),
        };
        Done {
            outcome: Outcome::Refused,
            error: Some(format!(
                "{} is under way ({at}); nothing was changed. Try again when it is done: `banyan status` shows it",
                self.what.name()
            )),
            notes: Vec::new(),
        }
    }
}
