//! The generic cell rate algorithm (ITU-T I.371, annex A; here as "virtual scheduling"): pure, one number of state per key.
//!
//! The state is the time at which the key's allowance is whole again. A request moves it by one interval, and is refused if
//! that would put it further ahead than a burst. So over any time `t` no more than `burst + t / interval` pass, whatever
//! the order and the pauses; a clock that steps back between two calls makes it stricter, never laxer.

use banyan_config::RateLimit;

/// 71 years.
const MOST_MICROS: u64 = 1 << 51;

/// Nanoseconds throughout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Between two requests at the steady rate; at least 1.
    interval: u64,
    /// How far the whole allowance reaches.
    reach: u64,
    burst: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass(Standing),
    /// And in how many nanoseconds the next one would pass.
    Refuse(Standing, u64),
}

/// What is left to the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Requests that would pass at once.
    pub remaining: u32,
    /// Until the allowance is whole.
    pub whole_in: u64,
}

impl Rule {
    pub(crate) fn of(limit: &RateLimit) -> Self {
        // Rounded up: the rate is never passed by rounding.
        let per = u64::try_from(limit.per.as_nanos()).unwrap_or(u64::MAX);
        let interval = per.div_ceil(u64::from(limit.count.max(1))).max(1);
        let burst = limit.burst.max(1);
        Self {
            interval,
            reach: interval.saturating_mul(u64::from(burst)),
            burst,
        }
    }

    /// Judges one request and counts it if it passes. `whole_at`: the key's state; 0 for a new one.
    pub(crate) fn judge(&self, whole_at: &mut u64, now: u64) -> Verdict {
        let next = (*whole_at).max(now).saturating_add(self.interval);
        let latest = now.saturating_add(self.reach);
        if next > latest {
            return Verdict::Refuse(self.standing(*whole_at, now), next - latest);
        }
        *whole_at = next;
        Verdict::Pass(self.standing(next, now))
    }

    /// Takes back a request that this rule has counted.
    pub(crate) fn take_back(&self, whole_at: &mut u64) {
        *whole_at = whole_at.saturating_sub(self.interval);
    }

    /// One of so many equal parts, rounded up so that one request at once always fits.
    pub(crate) fn share(&self, parts: u32) -> Self {
        let parts = parts.max(1);
        let burst = (self.burst / parts).max(1);
        let interval = self.interval.saturating_mul(parts.into());
        Self {
            interval,
            reach: interval.saturating_mul(burst.into()),
            burst,
        }
    }

    /// The interval and the reach in microseconds, as a script in Redis takes them: rounded up, and small enough that its
    /// numbers (IEEE 754 doubles) are exact beside a time of day.
    pub(crate) fn micros(&self) -> (u64, u64) {
        let each = self.interval.div_ceil(1000);
        let reach = each.saturating_mul(self.burst.into());
        (each.min(MOST_MICROS), reach.min(MOST_MICROS))
    }

    pub(crate) fn standing_in(&self, whole_in: u64) -> Standing {
        self.standing(whole_in, 0)
    }

    fn standing(&self, whole_at: u64, now: u64) -> Standing {
        let whole_in = whole_at.saturating_sub(now);
        let remaining = self.reach.saturating_sub(whole_in) / self.interval;
        Standing {
            remaining: u32::try_from(remaining).map_or(self.burst, |n| n.min(self.burst)),
            whole_in,
        }
    }

    pub(crate) fn burst(&self) -> u32 {
        self.burst
    }

    /// In which a whole burst comes back.
    pub(crate) fn window(&self) -> u64 {
        self.reach
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use banyan_config::RateBy;
    use proptest::prelude::*;

    use super::*;

    fn rule(count: u32, per: Duration, burst: u32) -> Rule {
        Rule::of(&RateLimit {
            name: "t".to_owned(),
            count,
            per,
            burst,
            by: RateBy::Ip,
        })
    }

    #[test]
    fn a_burst_passes_then_the_rate_and_the_wait_is_told() {
        let rule = rule(2, Duration::from_secs(1), 3);
        let (mut key, now) = (0, 5_000_000_000);
        let left = |verdict| match verdict {
            Verdict::Pass(standing) => standing.remaining,
            Verdict::Refuse(..) => panic!("refused"),
        };
        assert_eq!(left(rule.judge(&mut key, now)), 2);
        assert_eq!(left(rule.judge(&mut key, now)), 1);
        assert_eq!(left(rule.judge(&mut key, now)), 0);
        let Verdict::Refuse(standing, wait) = rule.judge(&mut key, now) else {
            panic!("passed");
        };
        assert_eq!(
            (standing.remaining, standing.whole_in, wait),
            (0, 1_500_000_000, 500_000_000)
        );
        assert!(matches!(
            rule.judge(&mut key, now + wait - 1),
            Verdict::Refuse(_, 1)
        ));
        assert!(matches!(rule.judge(&mut key, now + wait), Verdict::Pass(_)));
    }

    #[test]
    fn a_share_has_its_part_of_rate_and_burst_and_never_nothing() {
        let share = |burst, parts| {
            let share = rule(10, Duration::from_secs(1), burst).share(parts);
            (share.burst, share.interval / 1_000_000, share.reach / 1_000_000)
        };
        assert_eq!(share(9, 3), (3, 300, 900));
        assert_eq!(share(10, 3), (3, 300, 900));
        assert_eq!(share(2, 3), (1, 300, 300));
        assert_eq!(share(7, 0), (7, 100, 700));
    }

    #[test]
    fn microseconds_are_rounded_up_and_bounded() {
        assert_eq!(rule(3, Duration::from_secs(1), 2).micros(), (333_334, 666_668));
        assert_eq!(rule(2_000_000_000, Duration::from_secs(1), 5).micros(), (1, 5));
        let longest = rule(1, Duration::from_secs(366 * 86_400), u32::MAX).micros();
        assert_eq!(longest, (366 * 86_400_000_000, MOST_MICROS));
    }

    proptest! {
        /// Over any stretch of any history no more than the burst and what the rate gives in that time; and who was told
        /// when to come again passes then.
        #[test]
        fn never_more_than_burst_and_rate(
            count in 1_u32..500,
            per_ms in 1_u64..5_000,
            burst in 1_u32..50,
            steps in prop::collection::vec((0_u64..200_000_000, any::<bool>()), 1..300),
        ) {
            let rule = rule(count, Duration::from_millis(per_ms), burst);
            let (mut key, mut now, mut passed) = (0, 1_u64, Vec::<u64>::new());
            for (gap, back) in steps {
                // Cores read the clock before they get the key: some come with an earlier time.
                let seen = if back { now.saturating_sub(gap) } else { now += gap; now };
                match rule.judge(&mut key, seen) {
                    Verdict::Pass(_) => passed.push(seen),
                    Verdict::Refuse(_, wait) => {
                        let mut later = key;
                        prop_assert!(matches!(rule.judge(&mut later, seen + wait), Verdict::Pass(_)));
                    }
                }
            }
            passed.sort_unstable();
            for (n, from) in passed.iter().enumerate() {
                for (m, to) in passed.iter().enumerate().skip(n) {
                    let time = u128::from(to - from);
                    let most = u128::from(burst)
                        + time * u128::from(count) / u128::from(per_ms * 1_000_000);
                    prop_assert!((m - n) as u128 <= most, "{} in {time} ns", m - n + 1);
                }
            }
        }
    }
}
