//! The freshness rules against a simulated primary and lagging, restarting replicas, every step in random order.
//!
//! Commits go through inserted → visible → acknowledged; positions are captured at one moment and delivered at a later one; replicas replay,
//! stand still, and restart at an earlier position. A reader's answer is judged by what it must contain. Each rule is also broken on
//! purpose, and the judge must notice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use banyan_topology::NodeId;
use proptest::test_runner::{RngAlgorithm, TestRng};
use rand::RngExt as _;

use super::sampler::{Action, Event, PrimaryAnswer, ReplicaAnswer, Sampler};
use super::{ClientFreshness, Commits, Epoch, Lsn, Marks, Ticket, Verdict};
use crate::catalog::{TableId, Tables};
use crate::route::Freshness;

const TABLES: u32 = 3;
const REPLICAS: u32 = 2;
const CLIENTS: usize = 3;

/// A rule that can be left out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Broken {
    Nothing,
    /// Mark after the acknowledgement instead of before it.
    MarkLate,
    /// Read from any replica.
    NoNeed,
    /// A replica's first byte does not wait.
    NoGate,
    /// A primary read does not raise the floor.
    NoFloor,
    /// Any backend may serve what an observation promises.
    NoVouching,
    /// Ask for the position first, and close the epoch then.
    CloseLate,
}

#[derive(Clone)]
struct Commit {
    tables: Vec<u32>,
    lsn: u64,
    visible: bool,
    acknowledged: bool,
}

struct Server {
    replayed: u64,
    /// Rises with each restart: older backends are gone.
    run: u32,
    backend: Option<Backend>,
}

#[derive(Clone, Copy)]
struct Backend {
    run: u32,
    connected: Instant,
    replayed: Lsn,
}

enum Write {
    Begun {
        commit: usize,
        ticket: Ticket,
    },
    /// The ack is out, but the mark is not (only when broken).
    Unmarked {
        tables: Tables,
    },
}

enum Read {
    Waiting {
        must: Vec<BTreeSet<usize>>,
    },
    AtReplica {
        must: Vec<BTreeSet<usize>>,
        seen: Vec<BTreeSet<usize>>,
        gate: Vec<Ticket>,
    },
    AtPrimary {
        must: Vec<BTreeSet<usize>>,
        seen: Vec<BTreeSet<usize>>,
    },
}

struct Client {
    freshness: ClientFreshness,
    table: u32,
    write: Option<Write>,
    read: Option<Read>,
    /// Per table, what its reads have shown.
    shown: Vec<BTreeSet<usize>>,
}

struct Probe {
    id: NodeId,
    asked: Instant,
    captured: Option<u64>,
}

struct World {
    broken: Broken,
    random: TestRng,
    start: Instant,
    now: u64,
    marks: Marks,
    commits: Commits,
    sampler: Sampler,
    inserted: u64,
    log: Vec<Commit>,
    servers: Vec<Server>,
    clients: Vec<Client>,
    /// Questions under way; `true`: the answer is captured.
    samples: Vec<(Epoch, Instant, Option<u64>)>,
    probes: Vec<Probe>,
    from_replicas: u32,
    from_primary: u32,
}

impl World {
    fn new(seed: [u8; 32], broken: Broken) -> Self {
        let mut world = Self {
            broken,
            random: TestRng::from_seed(RngAlgorithm::ChaCha, &seed),
            #[expect(clippy::disallowed_methods, reason = "only a base to count from")]
            start: Instant::now(),
            now: 0,
            marks: Marks::default(),
            commits: Commits::default(),
            sampler: Sampler::default(),
            inserted: 100,
            log: Vec::new(),
            servers: (0..REPLICAS)
                .map(|_| Server {
                    replayed: 100,
                    run: 0,
                    backend: None,
                })
                .collect(),
            clients: Vec::new(),
            samples: Vec::new(),
            probes: Vec::new(),
            from_replicas: 0,
            from_primary: 0,
        };
        for _ in 0..CLIENTS {
            world.clients.push(Client {
                freshness: ClientFreshness::default(),
                table: 0,
                write: None,
                read: None,
                shown: vec![BTreeSet::new(); TABLES as usize],
            });
        }
        world.sampler_event(Event::Replicas(
            (1..=REPLICAS).map(|id| (NodeId(id), 1)).collect(),
        ));
        world
    }

    fn time(&self) -> Instant {
        self.start + Duration::from_micros(self.now * 200)
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.random.random_range(0..bound)
    }

    fn sampler_event(&mut self, event: Event) {
        let now = self.time();
        for action in self.sampler.step(now, event) {
            match action {
                Action::Sample if self.broken == Broken::CloseLate => {
                    let inserted = self.inserted;
                    self.samples.push((Epoch(0), now, Some(inserted)));
                }
                Action::Sample => {
                    let epoch = self.marks.close();
                    self.samples.push((epoch, now, None));
                }
                Action::Probe(id) => self.probes.push(Probe {
                    id,
                    asked: now,
                    captured: None,
                }),
                Action::Publish | Action::Nudge => {}
            }
        }
    }

    /// One random thing happens. The error is a violation.
    fn step(&mut self) -> Result<(), String> {
        self.now += 1;
        match self.below(16) {
            0..=2 => self.write(),
            3..=6 => self.read()?,
            7 => self.make_visible(),
            8..=9 => self.answer_sample(),
            10..=12 => self.answer_probe(),
            13 => self.replay(),
            14 if self.below(12) == 0 => self.restart(),
            _ => self.sampler_event(Event::Tick),
        }
        Ok(())
    }

    fn write(&mut self) {
        let at = self.below(CLIENTS as u32) as usize;
        if self.clients[at].read.is_some() {
            return;
        }
        match self.clients[at].write.take() {
            None => {
                let table = self.below(TABLES);
                let commit = self.log.len();
                let tables: Tables = [TableId::new(table)].into_iter().collect();
                let ticket = self.commits.begin(tables, self.time());
                // The record is in the log from now on: replicas may show it at once.
                self.inserted += 10;
                self.log.push(Commit {
                    tables: vec![table],
                    lsn: self.inserted,
                    visible: false,
                    acknowledged: false,
                });
                self.clients[at].write = Some(Write::Begun { commit, ticket });
            }
            Some(Write::Begun { commit, ticket }) if self.log[commit].visible => {
                let tables: Tables = self.log[commit]
                    .tables
                    .iter()
                    .map(|table| TableId::new(*table))
                    .collect();
                self.log[commit].acknowledged = true;
                if self.broken == Broken::MarkLate {
                    self.clients[at].write = Some(Write::Unmarked { tables });
                } else {
                    let epoch = self.marks.mark(&tables);
                    self.clients[at].freshness.wrote(epoch);
                }
                self.commits.end(ticket);
            }
            Some(Write::Unmarked { tables }) => {
                self.marks.mark(&tables);
            }
            Some(write) => self.clients[at].write = Some(write),
        }
    }

    fn make_visible(&mut self) {
        let hidden: Vec<usize> = (0..self.log.len()).filter(|at| !self.log[*at].visible).collect();
        if !hidden.is_empty() {
            let at = hidden[self.below(hidden.len() as u32) as usize];
            self.log[at].visible = true;
        }
    }

    /// Per table, the commits that pass.
    fn contents(&self, pass: impl Fn(&Commit) -> bool) -> Vec<BTreeSet<usize>> {
        let of = |table: u32| {
            (0..self.log.len())
                .filter(|at| self.log[*at].tables.contains(&table) && pass(&self.log[*at]))
                .collect()
        };
        (0..TABLES).map(of).collect()
    }

    fn read(&mut self) -> Result<(), String> {
        let at = self.below(CLIENTS as u32) as usize;
        if self.clients[at].write.is_some() {
            return Ok(());
        }
        match self.clients[at].read.take() {
            None => {
                self.clients[at].table = self.below(TABLES);
                let must = self.contents(|commit| commit.acknowledged);
                self.clients[at].read = Some(Read::Waiting { must });
            }
            Some(Read::Waiting { must }) => self.choose(at, must),
            Some(Read::AtReplica { must, seen, gate }) => {
                if self.commits.any_of(&gate) && self.broken != Broken::NoGate {
                    self.clients[at].read = Some(Read::AtReplica { must, seen, gate });
                } else {
                    self.from_replicas += 1;
                    self.judge(at, &must, &seen)?;
                }
            }
            Some(Read::AtPrimary { must, seen }) => {
                if self.broken != Broken::NoFloor {
                    self.clients[at]
                        .freshness
                        .primary_read(&self.marks, &self.commits);
                }
                self.from_primary += 1;
                self.judge(at, &must, &seen)?;
            }
        }
        Ok(())
    }

    fn choose(&mut self, at: usize, must: Vec<BTreeSet<usize>>) {
        let tables: Tables = [TableId::new(self.clients[at].table)].into_iter().collect();
        let needed = self.clients[at]
            .freshness
            .needs(&self.marks, &tables, Freshness::Tables)
            .unwrap_or_default();
        let needed = if self.broken == Broken::NoNeed {
            Epoch(0)
        } else {
            needed
        };
        let verdict = self.sampler.view().verdict(Some(needed));
        let Verdict::Fresh(fresh) = verdict else {
            self.sampler_event(Event::Wanted(needed));
            if self.below(4) == 0 {
                let seen = self.contents(|commit| commit.visible);
                self.clients[at].read = Some(Read::AtPrimary { must, seen });
            } else {
                self.clients[at].read = Some(Read::Waiting { must });
            }
            return;
        };
        let chosen = fresh[self.below(fresh.len() as u32) as usize];
        match self.backend(chosen) {
            Some(()) => {
                let replayed = self.servers[chosen].replayed;
                let seen = self.contents(|commit| commit.lsn <= replayed);
                let gate = self.commits.before(&tables);
                self.clients[at].read = Some(Read::AtReplica { must, seen, gate });
            }
            None => self.clients[at].read = Some(Read::Waiting { must }),
        }
    }

    /// The backend that would serve, connected if there is none; None if it may not.
    fn backend(&mut self, at: usize) -> Option<()> {
        let server = &self.servers[at];
        let backend = match server.backend {
            Some(backend) if backend.run == server.run => backend,
            _ => Backend {
                run: server.run,
                connected: self.time(),
                replayed: Lsn(server.replayed),
            },
        };
        self.servers[at].backend = Some(backend);
        let vouched = self.sampler.view().replicas[at].vouches_for(backend.connected, backend.replayed);
        (vouched || self.broken == Broken::NoVouching).then_some(())
    }

    fn judge(&mut self, at: usize, must: &[BTreeSet<usize>], seen: &[BTreeSet<usize>]) -> Result<(), String> {
        let table = self.clients[at].table as usize;
        if !seen[table].is_superset(&must[table]) {
            return Err(format!(
                "stale: misses {:?}",
                must[table].difference(&seen[table])
            ));
        }
        if !seen[table].is_superset(&self.clients[at].shown[table]) {
            return Err(format!(
                "went back: {:?}",
                self.clients[at].shown[table].difference(&seen[table])
            ));
        }
        self.clients[at].shown[table] = seen[table].clone();
        Ok(())
    }

    fn answer_sample(&mut self) {
        if self.samples.is_empty() {
            return;
        }
        let at = self.below(self.samples.len() as u32) as usize;
        if self.samples[at].2.is_none() {
            self.samples[at].2 = Some(self.inserted);
            return;
        }
        let (mut epoch, asked, inserted) = self.samples.remove(at);
        if self.broken == Broken::CloseLate {
            epoch = self.marks.close();
        }
        let answer = inserted.map(|inserted| PrimaryAnswer {
            inserted: Lsn(inserted),
            flushed: Lsn(inserted),
            timeline: 1,
            system: 7,
            incarnation: 1,
        });
        self.sampler_event(Event::Sampled { epoch, asked, answer });
    }

    fn answer_probe(&mut self) {
        if self.probes.is_empty() {
            return;
        }
        let at = self.below(self.probes.len() as u32) as usize;
        let Probe { id, asked, captured } = self.probes[at];
        match captured {
            None => self.probes[at].captured = Some(self.servers[id.0 as usize - 1].replayed),
            Some(replayed) => {
                self.probes.remove(at);
                // An answer that was on its way arrives even if the server has restarted since.
                let answer = Some(ReplicaAnswer {
                    in_recovery: true,
                    replayed: Lsn(replayed),
                    streaming: Some(1),
                    system: 7,
                    incarnation: 1,
                });
                self.sampler_event(Event::Probed { id, asked, answer });
            }
        }
    }

    fn replay(&mut self) {
        let at = self.below(REPLICAS) as usize;
        let ahead = self.inserted - self.servers[at].replayed;
        let step = if ahead == 0 {
            0
        } else {
            u64::from(self.below(u32::try_from(ahead).unwrap_or(u32::MAX) + 1))
        };
        self.servers[at].replayed += step;
    }

    fn restart(&mut self) {
        let at = self.below(REPLICAS) as usize;
        let back = u64::from(self.below(60));
        let server = &mut self.servers[at];
        server.run += 1;
        server.replayed = server.replayed.saturating_sub(back).max(100);
    }
}

fn run(seeds: u32, steps: u32, broken: Broken) -> (Option<String>, u32, u32) {
    let mut totals = (0, 0);
    for number in 0..seeds {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&number.to_le_bytes());
        let mut world = World::new(seed, broken);
        for step in 0..steps {
            if let Err(violation) = world.step() {
                return (
                    Some(format!("seed {number}, step {step}: {violation}")),
                    totals.0,
                    totals.1,
                );
            }
        }
        totals = (totals.0 + world.from_replicas, totals.1 + world.from_primary);
    }
    (None, totals.0, totals.1)
}

#[test]
fn no_read_is_stale_and_none_goes_back() {
    let (violation, replicas, primary) = run(200, 3_000, Broken::Nothing);
    assert_eq!(violation, None);
    // A rule that sends everything to the primary would pass the check above.
    assert!(
        replicas * 2 > primary,
        "only {replicas} reads of {} were served by replicas",
        replicas + primary
    );
}

#[test]
fn the_judge_notices_each_rule_that_is_left_out() {
    for broken in [
        Broken::MarkLate,
        Broken::NoNeed,
        Broken::NoGate,
        Broken::NoFloor,
        Broken::NoVouching,
        Broken::CloseLate,
    ] {
        let (violation, ..) = run(300, 3_000, broken);
        assert!(violation.is_some(), "{broken:?} went unnoticed");
    }
}
