//! One key in the database, its replica and Redis, with two readers and two writers; every step that may happen next.
//!
//! Steps of one process that only weaken what is asked of it when they come apart are one step: a read begins with its GET,
//! a write is acknowledged with its last call. Who waits for a lease is a reader whose GET comes later.

use stateright::{Model, Property};

use crate::protocol::{Fill, Mutation, Protocol, Source, Write};

pub(crate) type Version = u8;
type Token = u8;

/// How often each may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Faults {
    pub(crate) evictions: u8,
    pub(crate) lease_expiries: u8,
    pub(crate) crashes: u8,
    pub(crate) failovers: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
struct Entry {
    value: Option<Version>,
    past_soft: bool,
    lease: Option<Token>,
    floor: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
struct Redis {
    entry: Entry,
    /// Of `Mutation::CounterTokens`.
    counter: Token,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Reader {
    Idle,
    /// Has what mutants take too early.
    Early(Version),
    Asked(Load),
    /// Has its value; the cache does not have it yet.
    Loaded(Option<Token>, Version),
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Load {
    /// What was acknowledged when the read began. `None`: it was answered (STALE) and only refreshes.
    since: Option<Version>,
    /// `None`: may not store.
    token: Option<Token>,
    /// The primary's position that the replica must have reached. `None`: not sampled yet.
    gate: Option<Version>,
    snapshot: Option<Version>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Writer {
    Idle,
    Deleted,
    Committed(Version),
    Again,
    Done,
    Crashed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Row {
    Absent,
    Pending,
    Marked,
    Applied,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct World {
    primary: Version,
    replica: Version,
    redis: Redis,
    /// What a failover brings back: Redis as it was at any one moment.
    older: Option<Redis>,
    acknowledged: Version,
    /// Of the versions 1 and 2.
    rows: [Row; 2],
    readers: [Reader; 2],
    writers: [Writer; 2],
    left: Faults,
    /// A read was answered with less than was acknowledged when it began.
    read_stale: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Replicate,
    PassSoftTtl,
    Evict,
    ExpireLease,
    CopyToReplicaOfRedis,
    FailOver,
    Read(usize),
    Write(usize),
    Crash(usize),
    Apply(usize),
    LoseMark(usize),
    Retire(usize),
}

pub(crate) struct Cache {
    pub(crate) protocol: Protocol,
    pub(crate) faults: Faults,
}

pub(crate) const P1: &str = "at rest the cache has no stale value";
pub(crate) const P2: &str = "no read is older than what was acknowledged before it";

impl Model for Cache {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        [None, Some(0)]
            .map(|value| World {
                primary: 0,
                replica: 0,
                redis: Redis {
                    entry: Entry {
                        value,
                        ..Entry::default()
                    },
                    counter: 0,
                },
                older: None,
                acknowledged: 0,
                rows: [Row::Absent; 2],
                readers: [Reader::Idle; 2],
                writers: [Writer::Idle; 2],
                left: self.faults,
                read_stale: false,
            })
            .to_vec()
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        let entry = &world.redis.entry;
        let mut may = |condition: bool, step: Step| {
            if condition {
                steps.push(step);
            }
        };
        may(
            self.protocol.source != Source::Primary && world.replica < world.primary,
            Step::Replicate,
        );
        may(
            self.protocol.fill == Fill::Lease && entry.value.is_some() && !entry.past_soft,
            Step::PassSoftTtl,
        );
        may(
            world.left.evictions > 0 && *entry != Entry::default(),
            Step::Evict,
        );
        may(
            world.left.lease_expiries > 0 && entry.lease.is_some(),
            Step::ExpireLease,
        );
        may(
            world.left.failovers > 0 && world.older.is_none(),
            Step::CopyToReplicaOfRedis,
        );
        may(
            world.older.is_some_and(|older| older != world.redis),
            Step::FailOver,
        );
        for (index, reader) in world.readers.iter().enumerate() {
            may(self.can_go_on(world, reader), Step::Read(index));
        }
        for (index, writer) in world.writers.iter().enumerate() {
            may(
                !matches!(writer, Writer::Done | Writer::Crashed),
                Step::Write(index),
            );
            may(
                world.left.crashes > 0 && matches!(writer, Writer::Committed(_)),
                Step::Crash(index),
            );
        }
        let mutation = self.protocol.mutation;
        for (index, row) in world.rows.iter().enumerate() {
            may(matches!(row, Row::Pending | Row::Marked), Step::Apply(index));
            may(
                *row == Row::Marked && world.left.crashes > 0,
                Step::LoseMark(index),
            );
            may(
                *row == Row::Pending && mutation == Mutation::RetiresByAge,
                Step::Retire(index),
            );
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = *world;
        let entry = &mut next.redis.entry;
        match step {
            Step::Replicate => next.replica += 1,
            Step::PassSoftTtl => entry.past_soft = true,
            Step::Evict => {
                next.left.evictions -= 1;
                *entry = Entry::default();
            }
            Step::ExpireLease => {
                next.left.lease_expiries -= 1;
                entry.lease = None;
            }
            Step::CopyToReplicaOfRedis => next.older = Some(next.redis),
            Step::FailOver => self.fail_over(&mut next),
            Step::Read(index) => self.read(&mut next, index),
            Step::Write(index) => self.write(&mut next, index),
            Step::Crash(index) => {
                next.left.crashes -= 1;
                next.writers[index] = Writer::Crashed;
            }
            Step::Apply(index) => self.apply(&mut next, index),
            Step::LoseMark(index) => {
                next.left.crashes -= 1;
                next.rows[index] = Row::Gone;
            }
            Step::Retire(index) => next.rows[index] = Row::Gone,
        }
        Some(self.one_of_its_kind(next))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(P1, |_, world: &World| !world.at_rest() || world.is_right()),
            Property::always(P2, |_, world: &World| !world.read_stale),
        ]
    }
}

impl World {
    fn at_rest(&self) -> bool {
        let rows = self
            .rows
            .iter()
            .all(|row| !matches!(row, Row::Pending | Row::Marked));
        let readers = self
            .readers
            .iter()
            .all(|reader| matches!(reader, Reader::Idle | Reader::Done));
        let writers = self
            .writers
            .iter()
            .all(|writer| matches!(writer, Writer::Idle | Writer::Done | Writer::Crashed));
        rows && readers && writers
    }

    fn is_right(&self) -> bool {
        self.redis.entry.value.is_none_or(|value| value == self.primary)
    }

    fn answer(&mut self, value: Version, since: Version) {
        self.read_stale |= value < since;
    }
}

impl Cache {
    fn can_go_on(&self, world: &World, reader: &Reader) -> bool {
        match reader {
            Reader::Done => false,
            Reader::Asked(load) => {
                load.snapshot.is_some()
                    || self.protocol.source != Source::GatedReplica
                    || load.gate.is_none_or(|gate| world.replica >= gate)
            }
            Reader::Idle | Reader::Early(_) | Reader::Loaded(..) => true,
        }
    }

    fn read(&self, world: &mut World, index: usize) {
        let early = matches!(
            self.protocol.mutation,
            Mutation::EarlyGate | Mutation::EarlySnapshot
        );
        world.readers[index] = match world.readers[index] {
            Reader::Idle if early => Reader::Early(world.primary),
            Reader::Idle => self.get(world, index, None),
            Reader::Early(taken) => self.get(world, index, Some(taken)),
            Reader::Asked(load) => self.load(world, load),
            Reader::Loaded(token, value) => {
                self.fill(&mut world.redis.entry, token, value);
                Reader::Done
            }
            Reader::Done => Reader::Done,
        };
    }

    fn get(&self, world: &mut World, index: usize, early: Option<Version>) -> Reader {
        let since = world.acknowledged;
        let entry = world.redis.entry;
        if let Some(value) = entry.value {
            world.answer(value, since);
            if !entry.past_soft || entry.lease.is_some() {
                return Reader::Done;
            }
        }
        let token = self.token(world, index);
        let mutation = self.protocol.mutation;
        Reader::Asked(Load {
            since: entry.value.is_none().then_some(since),
            token,
            gate: early.filter(|_| mutation == Mutation::EarlyGate),
            snapshot: early.filter(|_| mutation == Mutation::EarlySnapshot),
        })
    }

    /// What allows to store: the lease if it is free.
    fn token(&self, world: &mut World, index: usize) -> Option<Token> {
        let own = u8::try_from(index).expect("two readers") + 1;
        if self.protocol.fill != Fill::Lease {
            return Some(own);
        }
        if world.redis.entry.lease.is_some() {
            return (self.protocol.mutation == Mutation::BusyFills).then_some(0);
        }
        let token = if self.protocol.mutation == Mutation::CounterTokens {
            world.redis.counter += 1;
            world.redis.counter
        } else {
            own
        };
        world.redis.entry.lease = Some(token);
        Some(token)
    }

    fn load(&self, world: &mut World, load: Load) -> Reader {
        let value = match (load.snapshot, self.protocol.source) {
            (Some(snapshot), _) => snapshot,
            (None, Source::Primary) => world.primary,
            (None, Source::Replica) => world.replica,
            (None, Source::GatedReplica) if load.gate.is_none() => {
                let gate = Some(world.primary);
                return Reader::Asked(Load { gate, ..load });
            }
            (None, Source::GatedReplica) => world.replica,
        };
        if let Some(since) = load.since {
            world.answer(value, since);
        }
        match load.token {
            Some(_) => Reader::Loaded(load.token, value),
            None => Reader::Done,
        }
    }

    fn fill(&self, entry: &mut Entry, token: Option<Token>, value: Version) {
        let mutation = self.protocol.mutation;
        let allowed = match self.protocol.fill {
            Fill::Always => true,
            Fill::Newer => entry.value.is_none_or(|stored| stored <= value),
            Fill::Lease => entry.lease == token || mutation == Mutation::IgnoresToken || token == Some(0),
        };
        if allowed && value >= entry.floor {
            entry.value = Some(value);
            entry.past_soft = false;
            entry.lease = None;
        } else if entry.lease == token {
            entry.lease = None;
        }
    }

    fn write(&self, world: &mut World, index: usize) {
        let kind = self.protocol.write;
        world.writers[index] = match world.writers[index] {
            Writer::Idle if kind == Write::DelBefore => {
                self.invalidate(&mut world.redis.entry, 0);
                Writer::Deleted
            }
            Writer::Idle | Writer::Deleted => self.commit(world),
            Writer::Committed(version) => {
                self.call(&mut world.redis.entry, version);
                world.acknowledged = world.acknowledged.max(version);
                if kind == Write::InvalidateTwice {
                    Writer::Again
                } else {
                    Writer::Done
                }
            }
            Writer::Again => {
                self.invalidate(&mut world.redis.entry, 0);
                Writer::Done
            }
            ended @ (Writer::Done | Writer::Crashed) => ended,
        };
    }

    fn commit(&self, world: &mut World) -> Writer {
        world.primary += 1;
        let version = world.primary;
        if self.protocol.durable {
            world.rows[usize::from(version) - 1] = Row::Pending;
        }
        match self.protocol.write {
            Write::DelBefore | Write::Nothing => {
                world.acknowledged = world.acknowledged.max(version);
                Writer::Done
            }
            _ => Writer::Committed(version),
        }
    }

    fn call(&self, entry: &mut Entry, version: Version) {
        match self.protocol.write {
            Write::Set => entry.value = Some(version),
            Write::SetNewer => {
                if version >= entry.floor && entry.value.is_none_or(|stored| stored <= version) {
                    *entry = Entry {
                        value: Some(version),
                        floor: version,
                        ..Entry::default()
                    };
                }
            }
            _ => self.invalidate(entry, version),
        }
    }

    fn invalidate(&self, entry: &mut Entry, version: Version) {
        if !self.protocol.floor || entry.value.is_some_and(|value| value < version) {
            entry.value = None;
            entry.past_soft = false;
        }
        if self.protocol.floor {
            entry.floor = entry.floor.max(version);
        }
        if self.protocol.mutation != Mutation::KeepsLease {
            entry.lease = None;
        }
    }

    fn apply(&self, world: &mut World, index: usize) {
        if world.rows[index] == Row::Pending && self.protocol.mutation == Mutation::MarksFirst {
            world.rows[index] = Row::Marked;
            return;
        }
        let version = u8::try_from(index).expect("two rows") + 1;
        self.invalidate(&mut world.redis.entry, version);
        world.rows[index] = Row::Applied;
    }

    fn fail_over(&self, world: &mut World) {
        if let Some(older) = world.older.take() {
            world.redis = older;
        }
        world.left.failovers -= 1;
        if self.protocol.replay {
            for row in &mut world.rows {
                if *row == Row::Applied {
                    *row = Row::Pending;
                }
            }
        }
    }

    /// Readers are alike, and so are writers: of two worlds that differ by who is who, one is enough.
    fn one_of_its_kind(&self, mut world: World) -> World {
        if world.writers[0] > world.writers[1] {
            world.writers.swap(0, 1);
        }
        if self.protocol.mutation == Mutation::CounterTokens {
            return world;
        }
        world.min(world.with_readers_swapped())
    }
}

impl World {
    fn with_readers_swapped(mut self) -> Self {
        let other = |token: Option<Token>| match token {
            Some(1) => Some(2),
            Some(2) => Some(1),
            same => same,
        };
        self.redis.entry.lease = other(self.redis.entry.lease);
        if let Some(older) = &mut self.older {
            older.entry.lease = other(older.entry.lease);
        }
        self.readers.swap(0, 1);
        for reader in &mut self.readers {
            match reader {
                Reader::Asked(load) => load.token = other(load.token),
                Reader::Loaded(token, _) => *token = other(*token),
                Reader::Idle | Reader::Early(_) | Reader::Done => {}
            }
        }
        self
    }
}
