//! When a certificate is asked for: pure. At once without a usable one; else when a third of its life is left; after failures
//! ever later, so that a CA's limits (five failed validations per name and hour are usual) are kept.

use std::collections::BTreeSet;
use std::time::Duration;

/// What is served now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub names: BTreeSet<String>,
    /// Unix seconds.
    pub not_before: i64,
    pub not_after: i64,
}

/// Looked at again at least so often.
const LONGEST: Duration = Duration::from_secs(3600);

/// After so many failures in a row: the first is most often a name that does not lead here yet.
const PAUSES: [u64; 6] = [10, 60, 600, 3600, 3 * 3600, 12 * 3600];

/// How long to wait before a certificate for these names is asked for; zero: now. `jitter`: 0 to 1, so that installations
/// that began together do not ask together.
pub(crate) fn wait(kept: Option<&Kept>, names: &BTreeSet<String>, now: i64, jitter: f64) -> Duration {
    let Some(kept) = kept.filter(|kept| kept.names.is_superset(names)) else {
        return Duration::ZERO;
    };
    let life = (kept.not_after - kept.not_before).max(0);
    // Up to a tenth of the third earlier.
    let third = life as f64 / 3.0;
    let at = kept.not_after as f64 - third * (1.0 + jitter / 10.0);
    let wait = Duration::try_from_secs_f64(at - now as f64).unwrap_or_default();
    wait.min(LONGEST)
}

/// After the `failures`-th failure in a row.
pub(crate) fn pause(failures: usize) -> Duration {
    let last = PAUSES.len() - 1;
    Duration::from_secs(PAUSES[failures.saturating_sub(1).min(last)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(list: &[&str]) -> BTreeSet<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn kept(list: &[&str], not_before: i64, not_after: i64) -> Kept {
        Kept {
            names: names(list),
            not_before,
            not_after,
        }
    }

    #[test]
    fn one_is_asked_for_at_once_when_there_is_none_for_these_names() {
        let wanted = names(&["a.example", "b.example"]);
        assert_eq!(wait(None, &wanted, 0, 0.5), Duration::ZERO);
        let other = kept(&["a.example"], 0, 1_000_000);
        assert_eq!(wait(Some(&other), &wanted, 0, 0.5), Duration::ZERO);
        let more = kept(&["a.example", "b.example", "c.example"], 0, 1_000_000);
        assert_eq!(wait(Some(&more), &wanted, 0, 0.5), LONGEST);
    }

    proptest! {
        #[test]
        fn it_is_renewed_between_a_third_and_a_little_more_before_its_end(
            life in 30_i64..40_000_000, part in 0.0..1.0_f64, jitter in 0.0..1.0_f64,
        ) {
            let now = (life as f64 * part) as i64;
            let kept = kept(&["a"], 0, life);
            let waits = wait(Some(&kept), &names(&["a"]), now, jitter);
            let left = (life - now) as f64 / life as f64;
            if left < 0.33 {
                prop_assert_eq!(waits, Duration::ZERO);
            }
            if left > 0.37 {
                prop_assert!(!waits.is_zero());
            }
            prop_assert!(waits <= LONGEST);
        }
    }

    #[test]
    fn failures_are_tried_again_ever_later_and_never_given_up() {
        let pauses: Vec<u64> = (1..9).map(|n| pause(n).as_secs()).collect();
        assert_eq!(pauses, [10, 60, 600, 3600, 10_800, 43_200, 43_200, 43_200]);
        // Within the first hour: at 0 s, 10 s, 70 s, 670 s.
        let tries = std::iter::successors(Some((0, 1)), |(at, n)| Some((at + pause(*n).as_secs(), n + 1)));
        assert!(tries.take_while(|(at, _)| *at < 3600).count() <= 5);
    }
}
