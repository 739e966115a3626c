//! When to ask the primary and the replicas for their positions, and what the answers mean. Pure: the driver asks, this decides.
//!
//! While readers wait, each server is asked at most once per [`FAST`]; otherwise at [`IDLE`], for lag and eligibility.

use std::time::{Duration, Instant};

use banyan_topology::NodeId;

use super::lsn::Lsn;
use super::marks::Epoch;
use super::view::{Ineligible, Observed, Replica, Seen, View};

pub const FAST: Duration = Duration::from_millis(1);
pub const IDLE: Duration = Duration::from_millis(200);
/// Readers wait this long at most, so asking fast goes on for this long after the last one came.
pub const PATIENCE: Duration = Duration::from_millis(5);
const NUDGE: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub enum Event {
    /// A reader waits until a replica covers this epoch.
    Wanted(Epoch),
    /// The primary's answer; `epoch` was closed, and `asked` taken, before the question was sent.
    Sampled {
        epoch: Epoch,
        asked: Instant,
        answer: Option<PrimaryAnswer>,
    },
    Probed {
        id: NodeId,
        asked: Instant,
        answer: Option<ReplicaAnswer>,
    },
    Tick,
    /// The replicas there are, with their weights (0: draining).
    Replicas(Vec<(NodeId, u32)>),
    /// Another server is primary.
    PrimaryChanged,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PrimaryAnswer {
    pub inserted: Lsn,
    /// Up to here the log is on disk and goes to replicas.
    pub flushed: Lsn,
    pub timeline: u32,
    pub system: u64,
    pub incarnation: i64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReplicaAnswer {
    pub in_recovery: bool,
    pub replayed: Lsn,
    /// Timeline that its receiver streams; None: it receives nothing.
    pub streaming: Option<u32>,
    pub system: u64,
    pub incarnation: i64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Close the epoch, then ask the primary.
    Sample,
    Probe(NodeId),
    /// Commit something small on the primary. Log written without a commit (page pruning, say) stays in its memory, and an idle
    /// primary would keep it there for up to 15 s, while readers wait for replicas to have it.
    Nudge,
    /// The view has changed: show it to the readers.
    Publish,
}

#[derive(Debug, Default)]
pub struct Sampler {
    view: View,
    wanted: Epoch,
    wanted_at: Option<Instant>,
    covered: Epoch,
    flushed: Lsn,
    nudged: Option<Instant>,
    sample: Question,
    probes: Vec<Question>,
    /// Of the primary, once it has answered.
    identity: Option<(u64, u32)>,
    /// Answers to questions of before the last change of primary do not count.
    valid_from: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Question {
    open: bool,
    last: Option<Instant>,
}

impl Question {
    fn due(&self, now: Instant, every: Duration) -> bool {
        !self.open
            && self
                .last
                .is_none_or(|last| now.saturating_duration_since(last) >= every)
    }

    fn ask(&mut self, now: Instant) {
        self.open = true;
        self.last = Some(now);
    }
}

impl Sampler {
    pub fn view(&self) -> &View {
        &self.view
    }

    /// How long until the next [`Event::Tick`] is of use.
    pub fn next_tick(&self, now: Instant) -> Duration {
        if self.is_fast(now) { FAST } else { IDLE / 4 }
    }

    pub fn step(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Wanted(epoch) => {
                self.wanted = self.wanted.max(epoch);
                self.wanted_at = Some(now);
            }
            Event::Sampled { epoch, asked, answer } => {
                self.sample.open = false;
                if self.counts(asked) && self.sampled(epoch, asked, answer) {
                    actions.push(Action::Publish);
                }
            }
            Event::Probed { id, asked, answer } => {
                if self.probed(id, asked, answer) {
                    actions.push(Action::Publish);
                    if self.is_stuck(now, id) {
                        self.nudged = Some(now);
                        actions.push(Action::Nudge);
                    }
                }
            }
            Event::Tick => {}
            Event::Replicas(replicas) => {
                self.replace(replicas);
                actions.push(Action::Publish);
            }
            Event::PrimaryChanged => {
                self.view.reset();
                self.covered = Epoch(0);
                self.identity = None;
                self.valid_from = Some(now);
                actions.push(Action::Publish);
            }
        }
        self.ask(now, &mut actions);
        actions
    }

    fn counts(&self, asked: Instant) -> bool {
        self.valid_from.is_none_or(|from| asked >= from)
    }

    fn is_fast(&self, now: Instant) -> bool {
        self.wanted_at
            .is_some_and(|at| now.saturating_duration_since(at) <= PATIENCE)
    }

    fn sampled(&mut self, epoch: Epoch, asked: Instant, answer: Option<PrimaryAnswer>) -> bool {
        let Some(answer) = answer else {
            return self.view.primary.take().is_some();
        };
        let identity = (answer.system, answer.timeline);
        if self.identity.is_some_and(|known| known != identity) {
            // Promoted or replaced behind our back: positions of before do not compare.
            self.view.reset();
        }
        self.identity = Some(identity);
        self.covered = self.covered.max(epoch);
        self.flushed = answer.flushed;
        self.view.primary = Some(Seen {
            in_recovery: false,
            position: answer.inserted,
            incarnation: answer.incarnation,
        });
        self.view.add_sample(epoch, answer.inserted, asked);
        true
    }

    fn probed(&mut self, id: NodeId, asked: Instant, answer: Option<ReplicaAnswer>) -> bool {
        let Some(at) = self.view.replicas.iter().position(|replica| replica.id == id) else {
            return false;
        };
        self.probes[at].open = false;
        if !self.counts(asked) {
            return false;
        }
        let observed = match answer {
            Some(answer) => self.judge(answer).map(|()| Observed {
                replayed: answer.replayed,
                asked,
            }),
            None => Err(Ineligible::Unreachable),
        };
        self.view.replicas[at].observed = observed;
        self.view.replicas[at].seen = answer.map(|answer| Seen {
            in_recovery: answer.in_recovery,
            position: answer.replayed,
            incarnation: answer.incarnation,
        });
        true
    }

    /// A reader waits for log that the replica cannot have: it has all that is on disk.
    fn is_stuck(&self, now: Instant, id: NodeId) -> bool {
        let rested = self
            .nudged
            .is_none_or(|last| now.saturating_duration_since(last) >= NUDGE);
        let replica = self.view.replicas.iter().find(|replica| replica.id == id);
        let Some(observed) = replica.and_then(|replica| replica.observed.ok()) else {
            return false;
        };
        let needed = self.view.position(self.wanted);
        rested
            && self.is_fast(now)
            && observed.replayed >= self.flushed
            && needed.is_some_and(|needed| needed > observed.replayed)
    }

    fn judge(&self, answer: ReplicaAnswer) -> Result<(), Ineligible> {
        let (system, timeline) = self.identity.ok_or(Ineligible::Unknown)?;
        if !answer.in_recovery {
            return Err(Ineligible::NotReplica);
        }
        if answer.system != system {
            return Err(Ineligible::OtherSystem);
        }
        match answer.streaming {
            None => Err(Ineligible::NotStreaming),
            Some(streaming) if streaming != timeline => Err(Ineligible::OtherTimeline),
            Some(_) => Ok(()),
        }
    }

    fn replace(&mut self, replicas: Vec<(NodeId, u32)>) {
        let known = |id: NodeId| self.view.replicas.iter().position(|replica| replica.id == id);
        let kept: Vec<(Replica, Question)> = replicas
            .into_iter()
            .map(|(id, weight)| match known(id) {
                Some(at) => (
                    Replica {
                        weight,
                        ..self.view.replicas[at].clone()
                    },
                    self.probes[at],
                ),
                None => (
                    Replica {
                        id,
                        weight,
                        observed: Err(Ineligible::Unknown),
                        seen: None,
                    },
                    Question::default(),
                ),
            })
            .collect();
        (self.view.replicas, self.probes) = kept.into_iter().unzip();
    }

    fn ask(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if self.view.replicas.is_empty() {
            return;
        }
        let fast = self.is_fast(now);
        let every = if fast && self.wanted > self.covered {
            FAST
        } else {
            IDLE
        };
        if self.sample.due(now, every) {
            self.sample.ask(now);
            actions.push(Action::Sample);
        }
        let every = if fast { FAST } else { IDLE };
        for (replica, probe) in self.view.replicas.iter().zip(&mut self.probes) {
            if probe.due(now, every) {
                probe.ask(now);
                actions.push(Action::Probe(replica.id));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fresh::Verdict;

    const PRIMARY: PrimaryAnswer = PrimaryAnswer {
        inserted: Lsn(1_000),
        flushed: Lsn(1_000),
        timeline: 3,
        system: 7,
        incarnation: 1,
    };
    const REPLICA: ReplicaAnswer = ReplicaAnswer {
        in_recovery: true,
        replayed: Lsn(1_000),
        streaming: Some(3),
        system: 7,
        incarnation: 1,
    };

    fn start() -> Instant {
        banyan_runtime::Clock.now()
    }

    fn probed(answer: Option<ReplicaAnswer>, asked: Instant) -> Event {
        Event::Probed {
            id: NodeId(2),
            asked,
            answer,
        }
    }

    fn sampled(epoch: u64, answer: PrimaryAnswer, asked: Instant) -> Event {
        Event::Sampled {
            epoch: Epoch(epoch),
            asked,
            answer: Some(answer),
        }
    }

    fn sampler(now: Instant) -> Sampler {
        let mut sampler = Sampler::default();
        sampler.step(now, Event::Replicas(vec![(NodeId(2), 1)]));
        sampler.step(now, sampled(1, PRIMARY, now));
        sampler
    }

    #[test]
    fn only_a_streaming_replica_of_the_same_system_and_timeline_is_eligible() {
        let now = start();
        for (answer, wanted) in [
            (None, Err(Ineligible::Unreachable)),
            (
                Some(ReplicaAnswer {
                    in_recovery: false,
                    ..REPLICA
                }),
                Err(Ineligible::NotReplica),
            ),
            (
                Some(ReplicaAnswer { system: 8, ..REPLICA }),
                Err(Ineligible::OtherSystem),
            ),
            (
                Some(ReplicaAnswer {
                    streaming: Some(2),
                    ..REPLICA
                }),
                Err(Ineligible::OtherTimeline),
            ),
            (
                Some(ReplicaAnswer {
                    streaming: None,
                    ..REPLICA
                }),
                Err(Ineligible::NotStreaming),
            ),
            (Some(REPLICA), Ok(())),
        ] {
            let mut sampler = sampler(now);
            sampler.step(now, probed(answer, now));
            assert_eq!(
                sampler.view().replicas[0].observed.map(|_| ()),
                wanted,
                "{answer:?}"
            );
        }
    }

    #[test]
    fn another_primary_voids_all_positions_and_answers_that_were_on_their_way() {
        let now = start();
        let mut sampler = sampler(now);
        sampler.step(now, probed(Some(REPLICA), now));
        assert_eq!(sampler.view().verdict(Some(Epoch(1))), Verdict::Fresh(vec![0]));
        let later = now + Duration::from_millis(10);
        sampler.step(later, Event::PrimaryChanged);
        sampler.step(later, sampled(9, PRIMARY, now));
        sampler.step(later, probed(Some(REPLICA), now));
        assert_eq!(sampler.view().verdict(Some(Epoch(1))), Verdict::Nobody);
        sampler.step(
            later,
            sampled(
                10,
                PrimaryAnswer {
                    timeline: 4,
                    ..PRIMARY
                },
                later,
            ),
        );
        sampler.step(later, probed(Some(REPLICA), later));
        assert_eq!(
            sampler.view().replicas[0].observed,
            Err(Ineligible::OtherTimeline)
        );
        sampler.step(
            later,
            probed(
                Some(ReplicaAnswer {
                    streaming: Some(4),
                    ..REPLICA
                }),
                later,
            ),
        );
        assert_eq!(sampler.view().verdict(Some(Epoch(10))), Verdict::Fresh(vec![0]));
    }

    #[test]
    fn servers_are_asked_often_only_while_somebody_waits() {
        let now = start();
        let mut sampler = sampler(now);
        sampler.step(now, probed(Some(REPLICA), now));
        let soon = now + FAST * 2;
        assert_eq!(sampler.step(soon, Event::Tick), []);
        assert_eq!(
            sampler.step(soon, Event::Wanted(Epoch(5))),
            [Action::Sample, Action::Probe(NodeId(2))]
        );
        assert_eq!(
            sampler.step(soon, Event::Wanted(Epoch(6))),
            [],
            "one question at a time"
        );
        assert!(sampler.step(now + IDLE * 2, Event::Tick).is_empty(), "still one");
    }

    #[test]
    fn log_that_stays_in_the_primarys_memory_is_pushed_out_once_in_a_while() {
        let now = start();
        let mut sampler = sampler(now);
        sampler.step(now, Event::Wanted(Epoch(5)));
        let unflushed = PrimaryAnswer {
            inserted: Lsn(1_040),
            ..PRIMARY
        };
        sampler.step(now, sampled(5, unflushed, now));
        assert!(
            sampler
                .step(now, probed(Some(REPLICA), now))
                .contains(&Action::Nudge)
        );
        assert!(
            !sampler
                .step(now, probed(Some(REPLICA), now))
                .contains(&Action::Nudge)
        );
    }

    /// A replica whose receiver is dead, or that stands still, is behind by what the primary has written since.
    #[test]
    fn lag_is_judged_against_the_primary() {
        let now = start();
        let mut sampler = sampler(now);
        for second in 1..=10 {
            let at = now + Duration::from_secs(second);
            sampler.step(
                at,
                sampled(
                    1 + second,
                    PrimaryAnswer {
                        inserted: Lsn(1_000 + second * 100),
                        ..PRIMARY
                    },
                    at,
                ),
            );
        }
        let later = now + Duration::from_secs(10);
        assert_eq!(sampler.view().lag(Lsn(2_000), later), Some((0, Duration::ZERO)));
        assert_eq!(
            sampler.view().lag(Lsn(1_350), later),
            Some((650, Duration::from_secs(7)))
        );
    }
}
