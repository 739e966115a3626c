//! Shares of a split: a user's mark to a share, the same on every core and after every restart.

use std::fmt::Write as _;

/// The position of a share by a user's mark. `salt` (the route's name) makes splits independent of each other.
///
/// Of two shares, growing one takes users from the other and never the other way round.
pub(super) fn pick(weights: &[u32], salt: &str, mark: &[u8]) -> usize {
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let point = ((hash(salt.as_bytes(), mark) >> 32) * total) >> 32;
    let mut end = 0;
    let found = weights.iter().position(|weight| {
        end += u64::from(*weight);
        point < end
    });
    found.unwrap_or(0)
}

/// FNV-1a with SplitMix64's finish: fixed for ever, since marks live in browsers.
fn hash(salt: &[u8], mark: &[u8]) -> u64 {
    let bytes = salt.iter().chain(&[0]).chain(mark);
    let sum = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let sum = (sum ^ (sum >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let sum = (sum ^ (sum >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    sum ^ (sum >> 31)
}

pub(super) const COOKIE: &str = "banyan_split";
const MONTH: u32 = 30 * 24 * 3600;

pub(super) fn set_cookie(mark: &str) -> String {
    let mut text = String::with_capacity(96);
    let _infallible = write!(
        text,
        "{COOKIE}={mark}; Path=/; Max-Age={MONTH}; HttpOnly; SameSite=Lax"
    );
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(weights: &[u32], of: usize) -> usize {
        (0..10_000_u32)
            .filter(|user| pick(weights, "r", &user.to_be_bytes()) == of)
            .count()
    }

    #[test]
    fn shares_are_as_wanted() {
        let canary = share(&[5, 95], 0);
        assert!((400..600).contains(&canary), "{canary} of 10000 instead of 500");
        assert_eq!(share(&[0, 1], 0), 0);
        assert_eq!(share(&[1, 0], 1), 0);
    }

    proptest! {
        #[test]
        fn a_growing_share_keeps_its_users(from in 0_u32..50, more in 0_u32..50, user: u64) {
            let mark = user.to_be_bytes();
            if pick(&[from, 100 - from], "r", &mark) == 0 {
                prop_assert_eq!(pick(&[from + more, 100 - from - more], "r", &mark), 0);
            }
        }

        #[test]
        fn only_shares_with_a_weight_get_anybody(weights in prop::collection::vec(0_u32..4, 1..6), user: u64) {
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let picked = pick(&weights, "r", &user.to_be_bytes());
            prop_assert!(weights[picked] > 0);
        }
    }
}
