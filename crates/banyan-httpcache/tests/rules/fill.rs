//! Request collapsing: by example, and by random histories that a seed replays.

use std::collections::BTreeSet;

use banyan_httpcache::{Enter, Fill, Next, Time};
use proptest::prelude::*;

use crate::world::at;

#[test]
fn one_leads_and_a_thousand_wait() {
    let mut fill = Fill::default();
    assert_eq!(fill.enter(at(0)), Enter::Lead);
    for _ in 0..1000 {
        assert!(matches!(fill.enter(at(0)), Enter::Wait(_)));
    }
    fill.streams();
    assert_eq!(fill.enter(at(1)), Enter::Join);
    fill.done();
    assert_eq!(fill.enter(at(2)), Enter::Lead);
}

#[test]
fn nobody_waits_for_what_was_not_for_sharing_for_a_minute() {
    let mut fill = Fill::default();
    fill.enter(at(0));
    fill.uncacheable(at(0));
    assert_eq!(fill.enter(at(59)), Enter::Alone);
    assert!(!fill.is_forgettable(at(59)) && fill.is_forgettable(at(60)));
    assert_eq!(fill.enter(at(60)), Enter::Lead);
}

#[test]
fn a_second_leader_tries_and_then_all_have_failed_for_a_second() {
    let mut fill = Fill::default();
    fill.enter(at(0));
    fill.enter(at(0));
    assert_eq!(fill.failed(at(0)), Next::Again);
    fill.leave();
    assert_eq!(fill.enter(at(0)), Enter::Lead);
    assert_eq!(fill.failed(at(0)), Next::Fail);
    assert_eq!(fill.enter(at(0)), Enter::Failed);
    assert_eq!(fill.enter(at(1)), Enter::Lead);
    // The failures before the rest do not count any more.
    assert_eq!(fill.failed(at(1)), Next::Again);
}

#[test]
fn five_thousand_wait_at_most() {
    let mut fill = Fill::default();
    fill.enter(at(0));
    let waits = (0..6000).filter(|_| matches!(fill.enter(at(0)), Enter::Wait(_)));
    assert_eq!(waits.count(), 5000);
    assert_eq!(fill.enter(at(0)), Enter::Shed);
    fill.leave();
    assert!(matches!(fill.enter(at(0)), Enter::Wait(_)));
}

/// What may happen next.
#[derive(Clone, Debug)]
enum Move {
    Arrive,
    Streams,
    Done,
    Uncacheable,
    Fails,
    /// A waiter's patience, or its client, ends.
    GivesUp,
    Seconds(u64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        6 => Just(Move::Arrive),
        2 => Just(Move::Streams),
        2 => Just(Move::Done),
        1 => Just(Move::Uncacheable),
        2 => Just(Move::Fails),
        1 => Just(Move::GivesUp),
        1 => (0..90_u64).prop_map(Move::Seconds),
    ];
    proptest::collection::vec(one, 0..200)
}

/// Requests of one key as an edge would run them.
#[derive(Default)]
struct Run {
    fill: Fill,
    now: u64,
    next: u32,
    leader: Option<u32>,
    streaming: bool,
    waiting: BTreeSet<u32>,
    answered: BTreeSet<u32>,
    origin: u32,
}

impl Run {
    fn now(&self) -> Time {
        at(self.now)
    }

    fn enter(&mut self, who: u32) {
        match self.fill.enter(self.now()) {
            Enter::Lead => {
                assert_eq!(self.leader, None, "two ask at once");
                self.leader = Some(who);
                self.origin += 1;
            }
            Enter::Wait(_) => {
                assert!(self.leader.is_some() && !self.streaming, "waits for nobody");
                self.waiting.insert(who);
            }
            Enter::Join => {
                assert!(self.streaming);
                self.answered.insert(who);
            }
            Enter::Alone | Enter::Failed | Enter::Shed => {
                self.answered.insert(who);
            }
        }
    }

    fn release(&mut self) -> Vec<u32> {
        let released: Vec<u32> = std::mem::take(&mut self.waiting).into_iter().collect();
        released.iter().for_each(|_| self.fill.leave());
        released
    }

    fn make(&mut self, one: &Move) {
        match one {
            Move::Arrive => {
                self.next += 1;
                self.enter(self.next);
            }
            Move::Seconds(count) => self.now += count,
            Move::GivesUp => {
                if let Some(who) = self.waiting.pop_first() {
                    self.fill.leave();
                    self.answered.insert(who);
                }
            }
            Move::Streams if self.leader.is_some() && !self.streaming => {
                self.fill.streams();
                self.streaming = true;
                let all = self.release();
                self.answered.extend(all);
            }
            Move::Done if self.streaming => {
                self.fill.done();
                self.streaming = false;
                self.answered.extend(self.leader.take());
            }
            Move::Uncacheable if self.leader.is_some() && !self.streaming => {
                self.fill.uncacheable(self.now());
                self.answered.extend(self.leader.take());
                let all = self.release();
                self.answered.extend(all);
            }
            Move::Fails if self.leader.is_some() && !self.streaming => {
                let next = self.fill.failed(self.now());
                self.answered.extend(self.leader.take());
                for who in self.release() {
                    match next {
                        Next::Again => self.enter(who),
                        Next::Fail => {
                            self.answered.insert(who);
                        }
                    }
                }
            }
            Move::Streams | Move::Done | Move::Uncacheable | Move::Fails => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn never_two_leaders_and_never_a_lost_waiter(moves in moves()) {
        let mut run = Run::default();
        for one in &moves {
            run.make(one);
            prop_assert!(run.waiting.is_empty() || run.leader.is_some(), "somebody waits for nobody");
        }
        // Whatever is under way ends.
        for end in [Move::Streams, Move::Done, Move::Fails, Move::Fails] {
            run.make(&end);
        }
        let all: BTreeSet<u32> = (1..=run.next).collect();
        prop_assert_eq!(&run.answered, &all);
        run.now += 90;
        run.enter(0);
        prop_assert_eq!(run.leader, Some(0), "the key is stuck");
    }

    #[test]
    fn with_an_origin_that_answers_storably_one_request_reaches_it(arrivals in 1..500_u32) {
        let mut run = Run::default();
        (0..arrivals).for_each(|_| run.make(&Move::Arrive));
        run.make(&Move::Streams);
        (0..arrivals).for_each(|_| run.make(&Move::Arrive));
        prop_assert_eq!(run.origin, 1);
    }
}
