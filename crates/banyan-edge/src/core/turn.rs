//! One look at the clock for all that a connection does at once: while its task is polled, time stands still. A request asks
//! for the time at half a dozen places, and each look costs as much as a hundred instructions.

use std::cell::Cell;
use std::time::Instant;

use banyan_runtime::Clock;

#[derive(Debug, Default)]
pub(super) struct Turn(Cell<State>);

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Nothing lasts: each question is asked of the clock.
    #[default]
    Outside,
    Begun,
    Read(Instant),
}

impl Turn {
    /// Only for what does not wait, and never within another.
    pub(super) fn take<R>(&self, work: impl FnOnce() -> R) -> R {
        self.0.set(State::Begun);
        let _ended = End(self);
        work()
    }

    pub(super) fn now(&self, clock: Clock) -> Instant {
        match self.0.get() {
            State::Outside => clock.now(),
            State::Begun => {
                let now = clock.now();
                self.0.set(State::Read(now));
                now
            }
            State::Read(now) => now,
        }
    }
}

/// Also after a panic: else time would stand still for good.
struct End<'a>(&'a Turn);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.0.set(State::Outside);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn moves(turn: &Turn) -> bool {
        let first = turn.now(Clock);
        (0..1_000_000).any(|_| turn.now(Clock) > first)
    }

    #[test]
    fn time_stands_still_within_a_turn_and_goes_on_after_it_however_it_ends() {
        let turn = Turn::default();
        assert!(moves(&turn));
        assert!(!turn.take(|| moves(&turn)));
        assert!(moves(&turn));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            turn.take(|| {
                turn.now(Clock);
                panic!("as a connection may");
            })
        }));
        assert!(panicked.is_err() && moves(&turn));
    }
}
