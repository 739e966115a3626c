//! Passive health: an endpoint that fails requests is taken out for a while, as long as enough others are left.
//!
//! [`Outliers`] judges a group. A run of failures without a success within the window takes an endpoint out for the base
//! time × how often it was out lately; that count falls again while it works. Never more than the configured share is
//! out, so one bad request that fails everywhere cannot empty a group.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use banyan_config::EdgeHealth;

/// Times the base is the longest ejection.
const MOST_TIMES: u32 = 10;

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection came about.
    Unreachable,
    /// It was connected and broke off, or answered what is not HTTP.
    BrokeOff,
    Timeout,
    Status(u16),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable => f.write_str("could not be connected to"),
            Self::BrokeOff => f.write_str("broke off"),
            Self::Timeout => f.write_str("did not answer in time"),
            Self::Status(status) => write!(f, "answered {status}"),
        }
    }
}

#[derive(Debug)]
pub struct Outliers<K> {
    rules: EdgeHealth,
    /// Whether two stand in for each other: shares are those of a group.
    same_group: fn(&K, &K) -> bool,
    all: BTreeMap<K, Outlier>,
}

#[derive(Debug, Default)]
struct Outlier {
    /// Failures since the last success, the oldest first; no more than are needed.
    run: VecDeque<Instant>,
    /// Successes that were counted when the last failure was.
    successes: u64,
    /// Ejections that still count, and since when it has been in again.
    times: u32,
    back: Option<Instant>,
    out: Option<Out>,
    ejections: u64,
}

/// Of an endpoint that is out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Out {
    pub until: Instant,
    pub failures: u32,
    pub last: Cause,
}

impl<K: Ord + Clone> Outliers<K> {
    pub fn new(rules: EdgeHealth, same_group: fn(&K, &K) -> bool) -> Self {
        Self {
            rules,
            same_group,
            all: BTreeMap::new(),
        }
    }

    /// Takes other rules, and who may get requests from now on; who stays keeps its history. Returns those of the rest
    /// that were out: they are no longer.
    pub fn update(&mut self, rules: EdgeHealth, keys: impl IntoIterator<Item = K>) -> Vec<K> {
        self.rules = rules;
        let mut old = std::mem::take(&mut self.all);
        self.all = keys
            .into_iter()
            .map(|key| {
                let kept = old.remove(&key).unwrap_or_default();
                (key, kept)
            })
            .collect();
        let out = old.into_iter().filter(|(_, outlier)| outlier.out.is_some());
        out.map(|(key, _)| key).collect()
    }

    /// A request failed; `successes`: how many did not, ever. `Some`: it is out from now on.
    pub fn failed(&mut self, now: Instant, key: &K, last: Cause, successes: u64) -> Option<Out> {
        let needed = self.rules.failures;
        let outlier = self.all.get_mut(key).filter(|o| needed > 0 && o.out.is_none())?;
        if outlier.successes != successes {
            outlier.successes = successes;
            outlier.run.clear();
        }
        outlier.run.push_back(now);
        if outlier.run.len() > needed as usize {
            outlier.run.pop_front();
        }
        let first = *outlier.run.front()?;
        let due =
            outlier.run.len() >= needed as usize && now.saturating_duration_since(first) <= self.rules.window;
        if !due || !self.one_more_may_go(key) {
            return None;
        }
        let outlier = self.all.get_mut(key)?;
        Some(outlier.eject(now, last, &self.rules))
    }

    /// Whose time is over: they are in again.
    pub fn returned(&mut self, now: Instant) -> Vec<K> {
        let over = |outlier: &Outlier| outlier.out.as_ref().is_some_and(|out| out.until <= now);
        let mut back = Vec::new();
        for (key, outlier) in self.all.iter_mut().filter(|(_, outlier)| over(outlier)) {
            outlier.out = None;
            outlier.back = Some(now);
            back.push(key.clone());
        }
        back
    }

    /// When the next one returns.
    pub fn next(&self) -> Option<Instant> {
        let untils = self.all.values().filter_map(|o| o.out.as_ref());
        untils.map(|out| out.until).min()
    }

    pub fn out(&self, key: &K) -> Option<&Out> {
        self.all.get(key)?.out.as_ref()
    }

    /// How often it was taken out.
    pub fn ejections(&self, key: &K) -> u64 {
        self.all.get(key).map_or(0, |outlier| outlier.ejections)
    }

    fn one_more_may_go(&self, key: &K) -> bool {
        let group = || self.all.iter().filter(|(other, _)| (self.same_group)(key, other));
        let out = group().filter(|(_, o)| o.out.is_some()).count();
        (out + 1) * 100 <= group().count() * self.rules.max_ejected as usize
    }
}

impl Outlier {
    fn eject(&mut self, now: Instant, last: Cause, rules: &EdgeHealth) -> Out {
        let well = self
            .back
            .map_or(Duration::ZERO, |back| now.saturating_duration_since(back));
        // Each base time without trouble takes one earlier ejection from the count.
        let forgiven = well
            .as_nanos()
            .checked_div(rules.eject.as_nanos())
            .unwrap_or(u128::MAX);
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        self.times = self
            .times
            .saturating_sub(forgiven)
            .saturating_add(1)
            .min(MOST_TIMES);
        self.ejections += 1;
        self.run.clear();
        let out = Out {
            until: now + rules.eject * self.times,
            failures: rules.failures,
            last,
        };
        self.out = Some(out.clone());
        out
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a start for virtual time")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(failures: u32, max_ejected: u32) -> EdgeHealth {
        EdgeHealth {
            failures,
            window: Duration::from_secs(10),
            eject: Duration::from_secs(30),
            max_ejected,
            panic: 50,
        }
    }

    fn group(size: u32, rules: EdgeHealth) -> Outliers<u32> {
        let mut group = Outliers::new(rules.clone(), |_, _| true);
        group.update(rules, 0..size);
        group
    }

    proptest! {
        /// Seeded histories of failures, successes, time and change: what must hold at every moment.
        #[test]
        fn over_any_history_enough_stay_in_and_everyone_returns(
            failures in 1_u32..6, share in 0_u32..=100, size in 1_u32..9,
            history in prop::collection::vec((0_u32..9, 0_u8..10, 0_u64..4000), 1..400),
        ) {
            let (mut now, mut size) = (Instant::now(), size);
            let mut successes = [0; 10];
            let mut group = group(size, rules(failures, share));
            let mut runs = vec![VecDeque::new(); 10];
            for (key, what, pause) in history {
                now += Duration::from_millis(pause);
                for back in group.returned(now) {
                    prop_assert!(group.out(&back).is_none());
                }
                match what {
                    0 => {
                        size = key + 1;
                        group.update(rules(failures, share), 0..size);
                        runs.iter_mut().skip(size as usize).for_each(VecDeque::clear);
                    }
                    1..=2 => {
                        successes[key as usize] += 1;
                        runs[key as usize].clear();
                    }
                    _ => {
                        let before = (0..size).filter(|k| group.out(k).is_some()).count();
                        if key < size && group.out(&key).is_none() {
                            runs[key as usize].push_back(now);
                        }
                        if let Some(out) = group.failed(now, &key, Cause::Timeout, successes[key as usize]) {
                            let run = &mut runs[key as usize];
                            let first = run[run.len().saturating_sub(failures as usize)];
                            prop_assert!(run.len() >= failures as usize, "too early");
                            prop_assert!(now - first <= Duration::from_secs(10));
                            prop_assert!((before + 1) * 100 <= (size * share) as usize, "too many");
                            prop_assert!(out.until > now);
                            prop_assert!(out.until <= now + Duration::from_secs(30 * 10));
                            run.clear();
                        }
                    }
                }
                prop_assert!(group.next().is_none_or(|next| next > now));
            }
            group.returned(now + Duration::from_secs(300));
            prop_assert!((0..size).all(|key| group.out(&key).is_none()), "somebody never returns");
        }
    }

    #[test]
    fn each_time_is_longer_and_good_conduct_is_remembered() {
        let mut now = Instant::now();
        let mut group = group(4, rules(5, 50));
        let mut times = Vec::new();
        for pause in [0, 1, 1, 65] {
            now += Duration::from_secs(pause);
            let out = (0..5)
                .find_map(|_| group.failed(now, &1, Cause::Status(500), 7))
                .unwrap();
            times.push((out.until - now).as_secs());
            now = out.until;
            assert_eq!(group.returned(now), [1]);
        }
        // After 65 s in, two of three are forgiven.
        assert_eq!(times, [30, 60, 90, 60]);
        assert_eq!(group.ejections(&1), 4);
    }

    #[test]
    fn failures_that_lie_apart_or_are_broken_by_a_success_do_not_count_together() {
        let start = Instant::now();
        let mut group = group(4, rules(3, 50));
        for second in [0, 6, 12, 18] {
            let now = start + Duration::from_secs(second);
            assert_eq!(group.failed(now, &0, Cause::BrokeOff, 0), None);
        }
        let later = start + Duration::from_secs(19);
        assert_eq!(group.failed(later, &0, Cause::BrokeOff, 1), None);
        assert_eq!(group.failed(later, &0, Cause::BrokeOff, 1), None);
        assert!(group.failed(later, &0, Cause::BrokeOff, 1).is_some());
    }

    #[test]
    fn the_share_is_that_of_a_group() {
        let now = Instant::now();
        let same = |a: &u32, b: &u32| a / 10 == b / 10;
        let mut groups = Outliers::new(rules(1, 50), same);
        groups.update(rules(1, 50), [1, 11, 12]);
        assert_eq!(groups.failed(now, &1, Cause::Timeout, 0), None, "it is alone");
        assert!(groups.failed(now, &11, Cause::Timeout, 0).is_some());
        assert_eq!(groups.failed(now, &12, Cause::Timeout, 0), None);
    }

    #[test]
    fn a_lone_endpoint_stays_and_no_failures_means_off() {
        let now = Instant::now();
        let mut lone = group(1, rules(1, 50));
        assert_eq!(lone.failed(now, &0, Cause::Timeout, 0), None);
        let mut off = group(4, rules(0, 50));
        assert_eq!(off.failed(now, &0, Cause::Timeout, 0), None);
    }
}
