//! Which server of an origin is asked first, and when the next one is. Pure.
//!
//! Only what changes nothing turns to another server: a backup that took a change would part from the first. Such a request
//! is asked of each server once, so turning needs no budget of retries: a server that fails again and again is passed over.

use http::StatusCode;

/// What came of asking a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Came {
    Answered(StatusCode),
    /// No connection, or one that broke off.
    Broken,
    /// No answer in time.
    Late,
}

impl Came {
    /// It says that the server cannot do its work now, rather than something about what was asked for.
    pub(super) fn is_failure(self) -> bool {
        match self {
            Self::Answered(status) => matches!(status.as_u16(), 500 | 502 | 503 | 504),
            Self::Broken | Self::Late => true,
        }
    }

    /// Another server may give a better answer to a request that may turn.
    pub(super) fn turns(self, may_turn: bool) -> bool {
        may_turn && self.is_failure()
    }
}

/// Who is asked in turn; `sound`: as they were seen last. Those that are not are the last resort.
pub(super) fn order(sound: &[bool], may_turn: bool) -> impl Iterator<Item = usize> {
    let of = |wanted: bool| move |n: &usize| sound[*n] == wanted;
    let turning = (0..sound.len())
        .filter(of(true))
        .chain((0..sound.len()).filter(of(false)));
    let most = if may_turn { sound.len() } else { 1 };
    let first = (!may_turn).then_some(0);
    first.into_iter().chain(turning).take(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(sound: &[bool], may_turn: bool) -> Vec<usize> {
        order(sound, may_turn).collect()
    }

    #[test]
    fn the_first_sound_one_is_asked_and_the_others_are_the_last_resort() {
        assert_eq!(asked(&[true, true, true], true), [0, 1, 2]);
        assert_eq!(asked(&[false, true, true], true), [1, 2, 0]);
        assert_eq!(asked(&[false, true, false], true), [1, 0, 2]);
        assert_eq!(asked(&[false, false], true), [0, 1]);
    }

    #[test]
    fn what_may_change_something_goes_to_the_first_alone() {
        assert_eq!(asked(&[true, true], false), [0]);
        assert_eq!(asked(&[false, true], false), [0]);
    }

    #[test]
    fn failures_turn_and_answers_about_the_request_do_not() {
        let answered = |code| Came::Answered(StatusCode::from_u16(code).unwrap());
        for code in [500, 502, 503, 504] {
            assert!(answered(code).turns(true), "{code}");
            assert!(!answered(code).turns(false), "{code}");
        }
        for code in [200, 206, 304, 400, 403, 404, 410, 429, 501, 505, 511, 599] {
            assert!(!answered(code).turns(true), "{code}");
        }
        for came in [Came::Broken, Came::Late] {
            assert!(came.turns(true) && !came.turns(false), "{came:?}");
        }
    }
}
