//! Request collapsing for one key: of many requests that need the origin one asks, the others wait for what it hears.
//!
//! A state machine without clock or waiters of its own: whoever runs it keeps the waiters, tells it what happens and does
//! what it says. `now` may be of any clock that does not go back.

use std::time::Duration;

use crate::time::Time;

/// Longer, and a waiter asks for itself.
const PATIENCE: Duration = Duration::from_secs(10);
/// More are refused.
const MOST_WAITERS: u32 = 5_000;
/// A key whose response was not for the cache: nobody waits for it.
const UNCACHEABLE: Duration = Duration::from_secs(60);
/// A key that failed twice in a row: nobody asks. One with an error of the origin: nobody waits.
const REST: Duration = Duration::from_secs(1);
/// Leaders that may fail before all who wait hear of it.
const LEADERS: u32 = 2;

/// Who asks, who waits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fill {
    state: State,
    waiting: u32,
    failed: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Idle,
    Asking,
    /// The head is here and may be stored, the body comes.
    Streaming,
    Uncacheable(Time),
    Resting(Time),
}

/// What a request does that needs the origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Enter {
    /// It asks for all; [`Fill::streams`], [`Fill::uncacheable`], [`Fill::done`] or [`Fill::failed`] follows.
    Lead,
    /// It waits for the leader, so long at most; [`Fill::leave`] follows.
    Wait(Duration),
    /// What comes is being read already; it may read along, or else ask for itself.
    Join,
    /// It asks for itself: the last answer was not for sharing.
    Alone,
    /// Too many wait: 503.
    Shed,
    /// Two leaders have failed just now: the same error.
    Failed,
}

/// What follows a leader's failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Those who wait enter again: one of them leads.
    Again,
    /// Those who wait have failed, too.
    Fail,
}

impl Fill {
    pub fn enter(&mut self, now: Time) -> Enter {
        match self.state {
            State::Asking if self.waiting >= MOST_WAITERS => Enter::Shed,
            State::Asking => {
                self.waiting += 1;
                Enter::Wait(PATIENCE)
            }
            State::Streaming => Enter::Join,
            State::Uncacheable(until) if now < until => Enter::Alone,
            State::Resting(until) if now < until => Enter::Failed,
            State::Resting(_) => {
                self.failed = 0;
                self.lead()
            }
            State::Idle | State::Uncacheable(_) => self.lead(),
        }
    }

    fn lead(&mut self) -> Enter {
        self.state = State::Asking;
        Enter::Lead
    }

    /// A waiter waits no more, whatever the reason.
    pub fn leave(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// The leader's answer may be stored.
    pub fn streams(&mut self) {
        (self.state, self.failed) = (State::Streaming, 0);
    }

    /// The answer is for nobody else: those who wait ask for themselves, at once.
    pub fn uncacheable(&mut self, now: Time) {
        (self.state, self.failed) = (State::Uncacheable(now.plus(UNCACHEABLE)), 0);
    }

    /// The answer was an error: nobody waits for its like, but only for a moment. The next may be for all.
    pub fn erred(&mut self, now: Time) {
        (self.state, self.failed) = (State::Uncacheable(now.plus(REST)), 0);
    }

    /// Whether nobody waits for its like.
    pub fn is_alone(&self, now: Time) -> bool {
        matches!(self.state, State::Uncacheable(until) if now < until)
    }

    /// It is stored, or was to be and broke off: those who wait look again.
    pub fn done(&mut self) {
        (self.state, self.failed) = (State::Idle, 0);
    }

    /// There was no answer.
    pub fn failed(&mut self, now: Time) -> Next {
        self.failed += 1;
        if self.failed < LEADERS {
            self.state = State::Idle;
            return Next::Again;
        }
        self.state = State::Resting(now.plus(REST));
        Next::Fail
    }

    /// Nothing would change without it.
    pub fn is_forgettable(&self, now: Time) -> bool {
        let idle = match self.state {
            State::Idle => self.failed == 0,
            State::Asking | State::Streaming => false,
            State::Uncacheable(until) | State::Resting(until) => now >= until,
        };
        idle && self.waiting == 0
    }
}
