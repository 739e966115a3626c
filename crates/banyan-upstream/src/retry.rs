//! May this request be tried again on another endpoint?
//!
//! Only when no byte of it was sent, or when its method is idempotent and nothing was received; and only while the budget
//! lasts: retries are at most 20 % of the requests of the last ten seconds plus ten per second, so that a failing group
//! is not buried under them.

use std::time::{Duration, Instant};

/// What is known of an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// A byte of the request may have reached the endpoint.
    pub sent: bool,
    /// A byte of a response was received.
    pub received: bool,
    /// Doing it twice means the same as once (RFC 9110 §9.2.2).
    pub idempotent: bool,
    /// All of the request can be sent again: its body was not read, or there is none.
    pub repeatable: bool,
}

/// What became of a request's effect, for the log and the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// No endpoint saw it.
    None,
    /// An endpoint may have acted on it.
    Unknown,
}

impl Failed {
    pub fn may_retry(self) -> bool {
        self.repeatable && (!self.sent || (self.idempotent && !self.received))
    }

    pub fn effect(self) -> Effect {
        if self.sent { Effect::Unknown } else { Effect::None }
    }
}

const SLOTS: usize = 10;
const PER_SECOND: u32 = 10;
const PERCENT: u32 = 20;

/// Requests and retries of the last ten seconds, by second.
#[derive(Clone, Debug)]
pub struct Budget {
    start: Instant,
    second: u64,
    requests: [u32; SLOTS],
    retries: [u32; SLOTS],
}

impl Budget {
    pub fn new(now: Instant) -> Self {
        Self {
            start: now,
            second: 0,
            requests: [0; SLOTS],
            retries: [0; SLOTS],
        }
    }

    /// Counts a request (not a retry).
    pub fn request(&mut self, now: Instant) {
        let slot = self.slot(now);
        self.requests[slot] = self.requests[slot].saturating_add(1);
    }

    /// Takes one retry from the budget; `false`: it is used up.
    pub fn withdraw(&mut self, now: Instant) -> bool {
        let slot = self.slot(now);
        let requests: u32 = self.requests.iter().sum();
        let retries: u32 = self.retries.iter().sum();
        let allowed = requests.saturating_mul(PERCENT) / 100 + PER_SECOND * SLOTS as u32;
        if retries >= allowed {
            return false;
        }
        self.retries[slot] += 1;
        true
    }

    fn slot(&mut self, now: Instant) -> usize {
        let second = now.saturating_duration_since(self.start).as_secs();
        let passed = second.saturating_sub(self.second).min(SLOTS as u64);
        for step in 1..=passed {
            let slot = ((self.second + step) % SLOTS as u64) as usize;
            self.requests[slot] = 0;
            self.retries[slot] = 0;
        }
        if passed == SLOTS as u64 {
            self.requests = [0; SLOTS];
            self.retries = [0; SLOTS];
        }
        self.second = self.second.max(second);
        (self.second % SLOTS as u64) as usize
    }
}

/// The longest pause that a client is told to wait when no endpoint was ready.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a start for virtual time")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_that_may_have_had_an_effect_is_repeated(
            sent: bool, received: bool, idempotent: bool, repeatable: bool,
        ) {
            let failed = Failed { sent, received, idempotent, repeatable };
            if failed.may_retry() {
                prop_assert!(repeatable);
                prop_assert!(failed.effect() == Effect::None || (idempotent && !received));
            }
            if !sent && repeatable {
                prop_assert!(failed.may_retry());
            }
        }

        #[test]
        fn retries_stay_within_a_fifth_plus_ten_per_second(
            steps in prop::collection::vec((0_u64..1500, 0_u32..50, 0_u32..80), 1..60),
        ) {
            let start = Instant::now();
            let (mut now, mut budget) = (start, Budget::new(start));
            let (mut requests, mut granted) = (Vec::new(), Vec::new());
            for (pause_ms, sent, wanted) in steps {
                now += Duration::from_millis(pause_ms);
                for _ in 0..sent {
                    budget.request(now);
                    requests.push(now);
                }
                let new = (0..wanted).filter(|_| budget.withdraw(now)).count();
                granted.extend(std::iter::repeat_n(now, new));
                // Seconds are whole, so what the budget sees lies within the last ten seconds.
                let recent = |times: &[Instant], window: u64| {
                    times.iter().filter(|t| now.duration_since(**t) < Duration::from_secs(window)).count()
                };
                prop_assert!(new == 0 || recent(&granted, 9) <= recent(&requests, 10) / 5 + 100);
            }
        }
    }

    #[test]
    fn the_budget_comes_back_after_ten_seconds() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        assert_eq!((0..200).filter(|_| budget.withdraw(start)).count(), 100);
        let later = start + Duration::from_secs(11);
        assert_eq!((0..200).filter(|_| budget.withdraw(later)).count(), 100);
    }
}
