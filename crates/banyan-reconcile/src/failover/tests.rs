//! Seeded histories: whatever the world does, the promises hold.

use std::collections::BTreeSet;

use banyan_topology::Node;
use proptest::prelude::*;

use super::*;

fn database(replicas: u32, durability: Durability) -> Database {
    let node = |number: u32| {
        let id = NodeId(number);
        let port = 20_000 + u16::try_from(number).unwrap();
        (id, Node { id, port, dir: None })
    };
    Database {
        version: 15,
        nodes: (1..=replicas + 1).map(node).collect(),
        primary: NodeId(1),
        durability,
        memory_bytes: 1 << 30,
        max_connections: 100,
        name: "photos".to_owned(),
        user: "photos".to_owned(),
        backup: None,
        settings: BTreeMap::new(),
    }
}

const BOUND: Bound = Bound { xid: 7, timeline: 2 };

/// Runs a failure to its end, each action answered by `answer`; the actions in order.
fn run(failover: &mut Failover, first: Event, mut answer: impl FnMut(&Action) -> Event) -> Vec<Action> {
    let mut done = Vec::new();
    let mut left: Vec<Action> = failover.step(first);
    while !left.is_empty() {
        let action = left.remove(0);
        done.push(action.clone());
        if action != Action::Hold {
            left.extend(failover.step(answer(&action)));
        }
        assert!(done.len() < 50, "it does not end: {done:?}");
    }
    done
}

fn well(action: &Action) -> Event {
    match action {
        Action::Hold => unreachable!("nobody answers a hold"),
        Action::Fence(_) => Event::Fenced,
        Action::Measure(nodes) => Event::Measured(nodes.iter().map(|node| (*node, 100)).collect()),
        Action::TakeBound(_) => Event::BoundTaken(BOUND),
        Action::Promote(_) => Event::Promoted,
        Action::Restart(_) => Event::Restarted(BOUND),
        Action::Publish { .. } => Event::Published,
        Action::Rejoin(_) => Event::Rejoined,
    }
}

#[test]
fn a_synchronous_replica_takes_over_and_the_old_primary_comes_back() {
    let mut failover = Failover::new(&database(1, Durability::Sync));
    let actions = run(&mut failover, Event::Exited, well);
    let (old, new) = (NodeId(1), NodeId(2));
    let expected = [
        Action::Hold,
        Action::Fence(old),
        Action::Measure(vec![new]),
        Action::TakeBound(new),
        Action::Promote(new),
        Action::Publish {
            primary: new,
            bound: BOUND,
        },
        Action::Rejoin(old),
    ];
    assert_eq!(actions, expected);
    assert_eq!(failover.state(), &State::Healthy);
}

#[test]
fn without_a_replica_or_without_synchronous_writes_it_is_started_in_place() {
    let cases = [
        (database(0, Durability::Async), InPlace::Alone),
        (database(2, Durability::Async), InPlace::Asynchronous),
    ];
    for (database, why) in cases {
        let mut failover = Failover::new(&database);
        let actions = run(&mut failover, Event::Exited, well);
        let primary = NodeId(1);
        let expected = [
            Action::Hold,
            Action::Fence(primary),
            Action::Restart(primary),
            Action::Publish {
                primary,
                bound: BOUND,
            },
        ];
        assert_eq!(actions, expected);
        assert_eq!(failover.in_place(), Some(&why));
    }
}

#[test]
fn a_replica_that_does_not_answer_may_be_the_one_and_is_named() {
    let mut failover = Failover::new(&database(2, Durability::Sync));
    let answer = |action: &Action| match action {
        Action::Measure(_) => Event::Measured([(NodeId(2), 100)].into()),
        action => well(action),
    };
    let actions = run(&mut failover, Event::Exited, answer);
    assert!(actions.contains(&Action::Restart(NodeId(1))), "{actions:?}");
    let why = failover.in_place().unwrap().to_string();
    assert_eq!(
        why,
        "db3 did not answer, and may be the one that has what was acknowledged last"
    );
}

#[test]
fn one_missed_answer_is_no_failure_and_three_are() {
    let mut failover = Failover::new(&database(1, Durability::Sync));
    for _ in 0..2 {
        assert!(failover.step(Event::Missed).is_empty());
    }
    assert!(failover.step(Event::Answered).is_empty());
    assert_eq!(failover.state(), &State::Healthy);
    for _ in 0..2 {
        assert!(failover.step(Event::Missed).is_empty());
    }
    assert_eq!(failover.step(Event::Missed)[0], Action::Hold);
}

/// What the world may do, one byte per action.
fn answer(action: &Action, luck: u8) -> Event {
    let bad = luck.is_multiple_of(4);
    match action {
        Action::Measure(nodes) => {
            let answers = nodes
                .iter()
                .enumerate()
                .filter(|(n, _)| !bad || luck >> (n + 2) & 1 == 1);
            Event::Measured(
                answers
                    .map(|(n, node)| (*node, u64::from(luck.rotate_left(u32::try_from(n).unwrap()))))
                    .collect(),
            )
        }
        Action::TakeBound(_) | Action::Promote(_) if bad => Event::NotPromoted,
        Action::Restart(_) if bad => Event::NotRestarted,
        action => well(action),
    }
}

proptest! {
    #[test]
    fn the_promises_hold_whatever_happens(
        replicas in 0..4u32,
        sync in any::<bool>(),
        lucks in prop::collection::vec(any::<u8>(), 60),
    ) {
        let durability = if sync && replicas > 0 { Durability::Sync } else { Durability::Async };
        let database = database(replicas, durability);
        let mut failover = Failover::new(&database);
        let mut luck = lucks.into_iter();
        let mut measured = BTreeMap::new();
        let mut fenced: BTreeSet<NodeId> = BTreeSet::new();
        let mut promoted = None;
        let mut published = 0;
        let actions = run(&mut failover, Event::Exited, |action| {
            let event = answer(action, luck.next().unwrap());
            match (action, &event) {
                (Action::Fence(node), Event::Fenced) => drop(fenced.insert(*node)),
                (Action::Measure(_), Event::Measured(received)) => measured = received.clone(),
                (Action::Restart(node), _) => {
                    fenced.remove(node);
                    assert_eq!(promoted, None, "the old one is started beside a promoted one");
                }
                (Action::Promote(node), _) => {
                    assert!(fenced.contains(&database.primary), "promoted beside a living primary");
                    assert_eq!(promoted, None, "two are promoted");
                    let furthest = measured.values().max();
                    assert_eq!(measured.get(node), furthest, "not the furthest");
                    if durability == Durability::Sync {
                        assert_eq!(measured.len(), replicas as usize, "one that was not asked may have more");
                    }
                    promoted = Some(*node);
                }
                (Action::Publish { primary, .. }, _) => {
                    published += 1;
                    assert_eq!(*primary, promoted.unwrap_or(database.primary));
                }
                _ => {}
            }
            event
        });
        prop_assert!(failover.is_over(), "{:?} after {:?}", failover.state(), actions);
        prop_assert_eq!(published, u32::from(failover.state() == &State::Healthy));
    }
}
