//! The outcome rule: what the new primary can say of a transaction that was under way when the old one died.
//!
//! `pg_xact_status` alone lies: the new timeline uses the numbers of transactions again that it never saw, so a commit that was lost
//! reads *committed* (measured: 4 of 4 without the bound). The bound is the first number that the new primary had not seen when it was
//! promoted, taken before anything was written there.

use banyan_topology::snapshot::pgproxy::Bound;

/// What `pg_xact_status(xid)` says (PostgreSQL documentation, 9.27.8); None if it is too old to be known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    InProgress,
    Committed,
    Aborted,
}

impl Status {
    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text? {
            "in progress" => Some(Self::InProgress),
            "committed" => Some(Self::Committed),
            "aborted" => Some(Self::Aborted),
            _ => None,
        }
    }
}

/// What is known of the unit when its server is lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lost {
    /// The transaction's number (64 bits), if the server told it before the commit began.
    pub xid: Option<u64>,
    /// It was written that there is none: nothing was changed.
    pub read_only: bool,
    /// COMMIT, or a statement that commits by itself, had been sent.
    pub commit_sent: bool,
    /// Over a Unix socket the end of the stream before the number arrived proves that the commit had not begun: the server sends the
    /// number first, and nothing on the way loses bytes.
    pub unix_socket: bool,
    /// Some of the answer was forwarded.
    pub forwarded: bool,
    /// The unit is one statement that commits by itself.
    pub autocommit: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    Committed,
    Aborted,
    Unknown,
}

/// What the client gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The acknowledgement that the server could not send any more.
    Acknowledge,
    /// Run it again: it left nothing, and the client has seen nothing.
    RunAgain,
    /// 40001: it left nothing; the client decides.
    Serialization,
    /// 08007: nobody knows. Never run again.
    Unknown,
}

/// Whether the new primary must be asked at all, and for which number.
pub fn asks(lost: &Lost, bound: Bound) -> Option<u64> {
    let xid = lost.xid?;
    (lost.commit_sent && xid < bound.xid).then_some(xid)
}

/// `status` is the new primary's answer for the number that [`asks`] gave; None: it was not asked, or does not know.
pub fn outcome(lost: &Lost, bound: Bound, status: Option<Status>) -> Outcome {
    if !lost.commit_sent || lost.read_only {
        return Outcome::Aborted;
    }
    match lost.xid {
        // The new primary had never seen it: it was lost with the old one.
        Some(xid) if xid >= bound.xid => Outcome::Aborted,
        Some(_) => match status {
            Some(Status::Committed) => Outcome::Committed,
            // The promotion ended everything that was running.
            Some(Status::Aborted) => Outcome::Aborted,
            Some(Status::InProgress) | None => Outcome::Unknown,
        },
        None if lost.unix_socket => Outcome::Aborted,
        None => Outcome::Unknown,
    }
}

pub fn verdict(lost: &Lost, outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Committed => Verdict::Acknowledge,
        Outcome::Aborted if lost.autocommit && !lost.forwarded => Verdict::RunAgain,
        Outcome::Aborted => Verdict::Serialization,
        Outcome::Unknown => Verdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound {
        xid: 1000,
        timeline: 2,
    };
    const SENT: Lost = Lost {
        xid: Some(990),
        read_only: false,
        commit_sent: true,
        unix_socket: false,
        forwarded: false,
        autocommit: true,
    };

    fn judged(lost: Lost, status: Option<Status>) -> Verdict {
        verdict(&lost, outcome(&lost, BOUND, status))
    }

    #[test]
    fn a_number_at_or_above_the_bound_is_aborted_whatever_its_status() {
        for xid in [1000, 1001] {
            let lost = Lost {
                xid: Some(xid),
                ..SENT
            };
            assert_eq!(outcome(&lost, BOUND, Some(Status::Committed)), Outcome::Aborted);
            assert_eq!(asks(&lost, BOUND), None);
        }
    }

    #[test]
    fn below_the_bound_the_status_counts() {
        assert_eq!(asks(&SENT, BOUND), Some(990));
        assert_eq!(judged(SENT, Some(Status::Committed)), Verdict::Acknowledge);
        assert_eq!(judged(SENT, Some(Status::Aborted)), Verdict::RunAgain);
        assert_eq!(judged(SENT, None), Verdict::Unknown);
        assert_eq!(judged(SENT, Some(Status::InProgress)), Verdict::Unknown);
    }

    #[test]
    fn without_a_number_only_a_unix_socket_proves_anything() {
        let lost = Lost { xid: None, ..SENT };
        assert_eq!(judged(lost, None), Verdict::Unknown);
        assert_eq!(
            judged(
                Lost {
                    unix_socket: true,
                    ..lost
                },
                None
            ),
            Verdict::RunAgain
        );
    }

    #[test]
    fn what_was_never_asked_to_commit_did_not() {
        let open = Lost {
            commit_sent: false,
            autocommit: false,
            ..SENT
        };
        assert_eq!(judged(open, Some(Status::Committed)), Verdict::Serialization);
        assert_eq!(
            judged(
                Lost {
                    read_only: true,
                    xid: None,
                    ..SENT
                },
                None
            ),
            Verdict::RunAgain
        );
    }

    proptest::proptest! {
        /// Run again only what surely left nothing and of which nothing was seen; acknowledge only what the new primary has.
        #[test]
        fn nothing_is_doubled_and_nothing_is_claimed(xid in proptest::option::of(900_u64..1100), read_only: bool, commit_sent: bool, unix_socket: bool, forwarded: bool, autocommit: bool, on_new_primary: bool) {
            let lost = Lost { xid, read_only, commit_sent, unix_socket, forwarded, autocommit };
            // The truth: it is there only if the new primary had seen it.
            let there = on_new_primary && commit_sent && !read_only && xid.is_some_and(|xid| xid < BOUND.xid);
            let status = asks(&lost, BOUND).map(|_| if there { Status::Committed } else { Status::Aborted });
            match judged(lost, status) {
                Verdict::Acknowledge => proptest::prop_assert!(there),
                Verdict::RunAgain => proptest::prop_assert!(!there && !forwarded && autocommit),
                Verdict::Serialization => proptest::prop_assert!(!there),
                Verdict::Unknown => proptest::prop_assert!(xid.is_none()),
            }
        }
    }
}
