//! The level in the process, as a model: one key in Redis, changed by others, and one process that keeps what it has read. Redis's word
//! of a change travels; the connection it travels by may be lost, and with it what was on the way.
//!
//! Two readers of the process ask for the key, each an unlimited number of times; steps are those of `src/cache/l1`.

use stateright::{Checker as _, Model, Property};

type Version = u8;
type Stripe = u8;

const CHANGES: Version = 2;
const LOSSES: u8 = 1;

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutation {
    None,
    /// What was read is kept although its stripe has moved since it was asked for.
    KeepsWithoutLook,
    /// The stripe is looked at when the answer is there, not before the question.
    StampsLate,
    /// A lost connection is opened again, and what is kept stays.
    KeepsOverLoss,
    /// What is asked for while nobody tells is kept.
    KeepsUntold,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reader {
    Idle,
    /// `None`: what it gets may not be kept.
    Asked(Option<Stripe>),
    Answered(Option<Stripe>, Version),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct World {
    redis: Version,
    stripe: Stripe,
    /// Version and where the stripe stood.
    kept: Option<(Version, Stripe)>,
    readers: [Reader; 2],
    /// Words on their way.
    words: u8,
    told: bool,
    losses: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Change,
    Hear,
    Lose,
    Connect,
    Read(usize),
}

struct Process(Mutation);

const P1: &str = "at rest the process answers what Redis has";

impl Model for Process {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            redis: 0,
            stripe: 0,
            kept: None,
            readers: [Reader::Idle; 2],
            words: 0,
            told: false,
            losses: 0,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let mut may = |condition: bool, step: Step| {
            if condition {
                steps.push(step);
            }
        };
        may(world.redis < CHANGES, Step::Change);
        may(world.words > 0, Step::Hear);
        may(world.told && world.losses < LOSSES, Step::Lose);
        may(!world.told, Step::Connect);
        may(true, Step::Read(0));
        may(true, Step::Read(1));
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = *world;
        match step {
            Step::Change => {
                next.redis += 1;
                next.words += u8::from(next.told);
            }
            Step::Hear => {
                next.words -= 1;
                next.stripe += 1;
            }
            Step::Lose => {
                next.losses += 1;
                next.told = false;
                next.words = 0;
                if self.0 != Mutation::KeepsOverLoss {
                    next.stripe += 1;
                }
            }
            Step::Connect => next.told = true,
            Step::Read(index) => next.readers[index] = self.read(&mut next, index),
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(P1, |process: &Self, world: &World| {
            let at_rest = world.words == 0 && world.readers == [Reader::Idle; 2];
            !at_rest || process.local(world).is_none_or(|version| version == world.redis)
        })]
    }
}

impl Process {
    /// What the process would answer by itself.
    fn local(&self, world: &World) -> Option<Version> {
        let (version, stripe) = world.kept.filter(|_| world.told)?;
        (stripe == world.stripe || self.0 == Mutation::KeepsWithoutLook).then_some(version)
    }

    fn read(&self, world: &mut World, index: usize) -> Reader {
        match world.readers[index] {
            Reader::Idle if self.local(world).is_some() => Reader::Idle,
            Reader::Idle => {
                let may = world.told || self.0 == Mutation::KeepsUntold;
                Reader::Asked(may.then_some(world.stripe))
            }
            Reader::Asked(stamp) => Reader::Answered(stamp, world.redis),
            Reader::Answered(stamp, version) => {
                let late = self.0 == Mutation::StampsLate;
                let stamp = stamp.map(|stamp| if late { world.stripe } else { stamp });
                world.kept = stamp.map(|stamp| (version, stamp)).or(world.kept);
                Reader::Idle
            }
        }
    }
}

fn holds(mutation: Mutation) -> (bool, usize) {
    let checker = Process(mutation).checker().threads(2).spawn_bfs().join();
    (checker.discovery(P1).is_none(), checker.unique_state_count())
}

#[test]
fn what_a_process_keeps_is_right_at_rest_and_every_mutant_is_caught() {
    let (is_right, states) = holds(Mutation::None);
    assert!(is_right && states > 500, "{states} states");
    for mutation in [
        Mutation::KeepsWithoutLook,
        Mutation::StampsLate,
        Mutation::KeepsOverLoss,
        Mutation::KeepsUntold,
    ] {
        assert!(!holds(mutation).0, "{mutation:?} is not caught");
    }
}
