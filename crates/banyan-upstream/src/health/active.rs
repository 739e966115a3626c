//! Judges one endpoint by the results of checks: `rise` successes in a row make it ready, `fall` failures unready.
//!
//! A refused connection says that nobody listens: one is enough.

use std::time::{Duration, Instant};

use banyan_config::ReadyProbe;

/// While an endpoint is not ready it is looked at this often at least: its return should not wait for a long interval.
const UNREADY_INTERVAL: Duration = Duration::from_millis(200);
/// Without a configured probe: a TCP connect this often.
const CONNECT_INTERVAL: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckResult {
    Good,
    /// Nobody listens on the address.
    Refused,
    /// It listens but does not answer as it should; in words.
    Bad(String),
}

/// What an observed result changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Unchanged,
    BecameReady,
    BecameUnready,
}

#[derive(Clone, Debug)]
pub struct Active {
    rise: u32,
    fall: u32,
    interval: Duration,
    timeout: Duration,
    ready: bool,
    /// Why it is not ready, in words.
    reason: Option<String>,
    in_a_row: u32,
    due: Instant,
}

impl Active {
    /// Not ready until checked; the first check is due at once.
    pub fn new(probe: Option<&ReadyProbe>, now: Instant) -> Self {
        let mut health = Self {
            rise: 1,
            fall: 1,
            interval: CONNECT_INTERVAL,
            timeout: CONNECT_TIMEOUT,
            ready: false,
            reason: Some("not checked yet".to_owned()),
            in_a_row: 0,
            due: now,
        };
        health.configure(probe);
        health
    }

    /// Takes other thresholds; the verdict so far stays.
    pub fn configure(&mut self, probe: Option<&ReadyProbe>) {
        self.rise = probe.map_or(1, |p| p.rise.max(1));
        self.fall = probe.map_or(2, |p| p.fall.max(1));
        self.interval = probe.map_or(CONNECT_INTERVAL, |p| p.interval);
        self.timeout = probe.map_or(CONNECT_TIMEOUT, |p| p.timeout);
    }

    pub fn ready(&self) -> bool {
        self.ready
    }

    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// When the next check is to be made.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Somebody saw it fail: check as soon as possible.
    pub fn suspect(&mut self, now: Instant) {
        self.due = self.due.min(now);
    }

    pub fn observe(&mut self, now: Instant, result: CheckResult) -> Verdict {
        let verdict = match result {
            CheckResult::Good => self.count(true, self.rise, None),
            CheckResult::Refused => self.count(false, 1, Some("connection refused".to_owned())),
            CheckResult::Bad(why) => self.count(false, self.fall, Some(why)),
        };
        // A first failure of a ready endpoint is confirmed or refuted soon, too.
        let pause = if self.ready && self.in_a_row == 0 {
            self.interval
        } else {
            self.interval.min(UNREADY_INTERVAL)
        };
        self.due = now + pause;
        verdict
    }

    fn count(&mut self, good: bool, needed: u32, reason: Option<String>) -> Verdict {
        if !good {
            self.reason = reason.or(self.reason.take());
        }
        if good == self.ready {
            self.in_a_row = 0;
            if good {
                self.reason = None;
            }
            return Verdict::Unchanged;
        }
        self.in_a_row += 1;
        if self.in_a_row < needed {
            return Verdict::Unchanged;
        }
        self.in_a_row = 0;
        self.ready = good;
        if good {
            self.reason = None;
            Verdict::BecameReady
        } else {
            Verdict::BecameUnready
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a start for virtual time")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn probe(rise: u32, fall: u32) -> ReadyProbe {
        ReadyProbe {
            path: "/".to_owned(),
            host: None,
            status: 200,
            service: None,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise,
            fall,
        }
    }

    proptest! {
        #[test]
        fn the_verdict_follows_the_last_run_of_equal_results(
            rise in 1_u32..4, fall in 1_u32..4, results in prop::collection::vec(any::<bool>(), 0..60),
        ) {
            let mut now = Instant::now();
            let mut health = Active::new(Some(&probe(rise, fall)), now);
            let (mut ready, mut run, mut last) = (false, 0, None);
            for good in results {
                run = if last == Some(good) { run + 1 } else { 1 };
                last = Some(good);
                if run >= if good { rise } else { fall } {
                    ready = good;
                }
                now = health.due();
                health.observe(now, if good { CheckResult::Good } else { CheckResult::Bad("500".to_owned()) });
                prop_assert_eq!(health.ready(), ready);
                prop_assert!(health.due() > now && health.due() <= now + Duration::from_secs(2));
                prop_assert!(ready || health.reason().is_some());
            }
        }
    }

    #[test]
    fn it_is_checked_before_it_is_ready_and_at_once() {
        let now = Instant::now();
        let health = Active::new(None, now);
        assert!(!health.ready());
        assert_eq!(health.due(), now);
    }

    #[test]
    fn one_refused_connection_is_enough() {
        let now = Instant::now();
        let mut health = Active::new(Some(&probe(1, 5)), now);
        assert_eq!(health.observe(now, CheckResult::Good), Verdict::BecameReady);
        assert_eq!(health.observe(now, CheckResult::Refused), Verdict::BecameUnready);
        assert_eq!(health.reason(), Some("connection refused"));
    }

    #[test]
    fn a_suspect_is_due_at_once() {
        let now = Instant::now();
        let mut health = Active::new(Some(&probe(1, 2)), now);
        health.observe(now, CheckResult::Good);
        assert_eq!(health.due(), now + Duration::from_secs(2));
        health.suspect(now);
        assert_eq!(health.due(), now);
    }
}
