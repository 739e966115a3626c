//! The cache protocol as a model: every interleaving of two readers and two writers, with eviction, expired leases, a writer
//! that dies between commit and invalidation, and a Redis that fails over to an older copy of itself.
//!
//! Rows Q and R are the SDK's. Every other row, and every mutant, must lose what the table says: a checker that finds no
//! fault in them would prove nothing about Q and R.

mod local;
mod protocol;
mod world;

use std::fmt::Write as _;

use expect_test::expect;
use stateright::{Checker as _, Model as _};

use crate::protocol::{Mutation, Protocol, Q, R, ROWS};
use crate::world::{Cache, Faults, P1, P2};

const NONE: Faults = Faults {
    evictions: 0,
    lease_expiries: 0,
    crashes: 0,
    failovers: 0,
};
const EVICT: Faults = Faults {
    evictions: 1,
    lease_expiries: 1,
    ..NONE
};
const CRASH: Faults = Faults { crashes: 1, ..NONE };
const FAILOVER: Faults = Faults { failovers: 1, ..NONE };
const ALL: Faults = Faults {
    crashes: 1,
    failovers: 1,
    ..EVICT
};

/// What holds, and in how many states.
fn search(protocol: Protocol, faults: Faults) -> (String, usize) {
    let checker = Cache { protocol, faults }.checker().threads(4).spawn_bfs().join();
    let holds: Vec<&str> = [(P1, "P1"), (P2, "P2")]
        .into_iter()
        .filter(|(name, _)| checker.discovery(name).is_none())
        .map(|(_, short)| short)
        .collect();
    (holds.join(" "), checker.unique_state_count())
}

fn table(faults: Faults) -> String {
    ROWS.iter().fold(String::new(), |mut text, (letter, protocol)| {
        let (holds, _) = search(*protocol, faults);
        writeln!(text, "{}", format!("{letter} {holds}").trim_end()).expect("a String takes all");
        text
    })
}

#[test]
fn without_faults_leases_and_versions_hold_and_plain_cache_aside_does_not() {
    expect![[r#"
        A
        B
        C
        D
        E
        F P1 P2
        G P1 P2
        H
        I P1 P2
        J P1
        K P1 P2
        L P1
        M P1 P2
        N P1
        O P1 P2
        Q P1 P2
        R P1 P2
        S
        T P1 P2
    "#]]
    .assert_eq(&table(NONE));
}

#[test]
fn an_evicted_entry_or_an_expired_lease_breaks_what_remembers_versions_in_the_cache() {
    expect![[r#"
        A
        B
        C
        D
        E
        F
        G P1 P2
        H
        I P1 P2
        J
        K P1 P2
        L
        M P1 P2
        N P1
        O
        Q P1 P2
        R P1 P2
        S
        T P1 P2
    "#]]
    .assert_eq(&table(EVICT));
}

#[test]
fn a_writer_that_dies_after_its_commit_breaks_what_leaves_no_row() {
    expect![[r#"
        A
        B
        C
        D
        E
        F P2
        G P2
        H
        I P2
        J
        K P1 P2
        L P1
        M P1 P2
        N P1
        O P1 P2
        Q P1 P2
        R P1 P2
        S
        T P2
    "#]]
    .assert_eq(&table(CRASH));
}

#[test]
fn a_failover_to_an_older_copy_breaks_what_does_not_replay() {
    expect![[r#"
        A
        B
        C
        D
        E
        F
        G
        H
        I
        J
        K
        L
        M P1
        N P1
        O P1
        Q P1
        R P1
        S
        T
    "#]]
    .assert_eq(&table(FAILOVER));
}

#[test]
fn with_every_fault_together_only_lease_row_and_replay_are_never_stale_at_rest() {
    expect![[r#"
        A
        B
        C
        D
        E
        F
        G
        H
        I
        J
        K
        L
        M P1
        N P1
        O
        Q P1
        R P1
        S
        T
    "#]]
    .assert_eq(&table(ALL));
}

#[test]
fn every_mutant_of_the_chosen_protocols_is_caught() {
    let of_q = [
        Mutation::CounterTokens,
        Mutation::KeepsLease,
        Mutation::IgnoresToken,
        Mutation::BusyFills,
        Mutation::EarlySnapshot,
        Mutation::MarksFirst,
        Mutation::RetiresByAge,
    ]
    .map(|mutation| Protocol { mutation, ..Q });
    let of_r = [Protocol {
        mutation: Mutation::EarlyGate,
        ..R
    }];
    let mut text = String::new();
    for protocol in of_q.into_iter().chain(of_r) {
        let [none, all] = [NONE, ALL].map(|faults| search(protocol, faults).0);
        writeln!(
            text,
            "{:?}: without faults {none:?}, with all {all:?}",
            protocol.mutation
        )
        .expect("a String takes all");
    }
    expect![[r#"
        CounterTokens: without faults "P1 P2", with all ""
        KeepsLease: without faults "", with all ""
        IgnoresToken: without faults "", with all ""
        BusyFills: without faults "P2", with all ""
        EarlySnapshot: without faults "", with all ""
        MarksFirst: without faults "P1 P2", with all ""
        RetiresByAge: without faults "P1 P2", with all ""
        EarlyGate: without faults "", with all ""
    "#]]
    .assert_eq(&text);
}

/// So that a model that has lost its steps cannot pass.
#[test]
fn the_search_of_the_chosen_protocol_is_not_empty() {
    let (holds, states) = search(Q, ALL);
    assert_eq!(holds, "P1");
    assert!(states > 100_000, "{states}");
}
