//! Whether Redis is asked: not after it failed, until it has answered a `PING`; those are a second apart.

/// In nanoseconds.
const ALONE: u64 = 1_000_000_000;

#[derive(Debug, Default)]
pub(super) struct Breaker {
    /// `None`: it answers.
    again_at: Option<u64>,
}

impl Breaker {
    pub(super) fn answers(&self) -> bool {
        self.again_at.is_none()
    }

    /// Whether it is time to see whether it is back; who gets true does. `now`: nanoseconds since any start.
    pub(super) fn may_try(&mut self, now: u64) -> bool {
        let due = self.again_at.is_some_and(|at| now >= at);
        if due {
            self.again_at = Some(now.saturating_add(ALONE));
        }
        due
    }

    /// True: it had failed before.
    pub(super) fn answered(&mut self) -> bool {
        self.again_at.take().is_some()
    }

    /// True: it had not failed before.
    pub(super) fn failed(&mut self, now: u64) -> bool {
        self.again_at.replace(now.saturating_add(ALONE)).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failure_it_is_tried_each_second_until_there_is_an_answer() {
        let mut breaker = Breaker::default();
        assert!(breaker.answers() && !breaker.answered() && !breaker.may_try(5));
        assert!(breaker.failed(10) && !breaker.failed(10));
        assert!(!breaker.answers() && !breaker.may_try(9 + ALONE));
        assert!(breaker.may_try(10 + ALONE) && !breaker.may_try(10 + ALONE));
        assert!(breaker.may_try(10 + 2 * ALONE) && !breaker.answers());
        assert!(breaker.answered() && breaker.answers() && !breaker.may_try(u64::MAX));
    }
}
