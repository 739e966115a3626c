//! What is known of positions: the primary's by epoch, the replicas' by observation; and what follows for a read.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use banyan_topology::NodeId;

use super::lsn::Lsn;
use super::marks::Epoch;

/// Positions kept. A table whose last write is older than all of them needs the oldest: later than needed, never earlier.
const SAMPLES: usize = 256;

/// Immutable for readers; the sampler's owner makes a new one with every answer.
#[derive(Clone, Debug, Default)]
pub struct View {
    samples: VecDeque<Sample>,
    /// None: it does not answer, or is no primary.
    pub primary: Option<Seen>,
    pub replicas: Vec<Replica>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    epoch: Epoch,
    at: Instant,
    lsn: Lsn,
}

/// One replica as last observed.
#[derive(Clone, Debug)]
pub struct Replica {
    pub id: NodeId,
    pub weight: u32,
    /// None: not eligible, for the reason given.
    pub observed: Result<Observed, Ineligible>,
    /// Its last answer, also if it is not eligible; None: it does not answer.
    pub seen: Option<Seen>,
}

/// What a server says of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Seen {
    pub in_recovery: bool,
    /// Replayed, or inserted on a primary.
    pub position: Lsn,
    /// `pg_postmaster_start_time`, in microseconds since 1970.
    pub incarnation: i64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Observed {
    pub replayed: Lsn,
    /// When it was asked. A backend connected later may be of a server that has restarted since, and went back.
    pub asked: Instant,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Ineligible {
    #[error("not asked yet")]
    Unknown,
    #[error("not reachable")]
    Unreachable,
    #[error("not in recovery: it is no replica")]
    NotReplica,
    #[error("another system identifier: a copy of another database")]
    OtherSystem,
    #[error("another timeline than the primary")]
    OtherTimeline,
    #[error("it receives no WAL from the primary")]
    NotStreaming,
}

/// Of one read, now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Indexes into [`View::replicas`].
    Fresh(Vec<usize>),
    /// The epoch has no position yet: the sampler must be asked.
    Unsampled,
    /// No replica is there yet.
    Behind,
    /// No replica is eligible: waiting would not help.
    Nobody,
}

impl View {
    /// The position that covers `epoch`.
    pub fn position(&self, epoch: Epoch) -> Option<Lsn> {
        if epoch == Epoch(0) {
            return Some(Lsn(0));
        }
        let at = self.samples.partition_point(|sample| sample.epoch < epoch);
        self.samples.get(at).map(|sample| sample.lsn)
    }

    /// Who may serve a read that needs `epoch` covered (None: nothing).
    pub fn verdict(&self, epoch: Option<Epoch>) -> Verdict {
        if !self
            .replicas
            .iter()
            .any(|replica| replica.weight > 0 && replica.observed.is_ok())
        {
            return Verdict::Nobody;
        }
        let Some(needed) = self.position(epoch.unwrap_or(Epoch(0))) else {
            return Verdict::Unsampled;
        };
        self.reached(needed)
    }

    /// Who had, at `now`, everything that the primary had `lag` earlier.
    pub fn within(&self, lag: Duration, now: Instant) -> Verdict {
        // The oldest that is young enough: its position is at least that of `lag` ago.
        match self
            .samples
            .iter()
            .find(|sample| now.saturating_duration_since(sample.at) <= lag)
        {
            Some(sample) => self.reached(sample.lsn),
            None => Verdict::Unsampled,
        }
    }

    /// The sampler's answer for a closed epoch; `at` is when it was asked for.
    pub fn add_sample(&mut self, epoch: Epoch, lsn: Lsn, at: Instant) {
        if self.samples.back().is_some_and(|last| last.epoch >= epoch) {
            return;
        }
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { epoch, at, lsn });
    }

    /// How far behind the primary's last known position a replica is, in bytes and in time since the primary was there; None: not known.
    /// A receiver that is dead, or a primary that is idle, cannot feign 0: positions are compared, not clocks.
    pub fn lag(&self, replayed: Lsn, now: Instant) -> Option<(u64, Duration)> {
        let last = self.samples.back()?;
        let reached = self.samples.iter().rev().find(|sample| sample.lsn <= replayed);
        let since = match reached {
            _ if replayed >= last.lsn => Duration::ZERO,
            Some(sample) => now.saturating_duration_since(sample.at),
            None => now.saturating_duration_since(self.samples.front()?.at),
        };
        Some((replayed.behind(last.lsn), since))
    }

    /// Another primary: positions of the old one's timeline do not compare.
    pub fn reset(&mut self) {
        self.samples.clear();
        self.primary = None;
        for replica in &mut self.replicas {
            replica.observed = Err(Ineligible::Unknown);
        }
    }

    fn reached(&self, needed: Lsn) -> Verdict {
        let fresh = |replica: &Replica| {
            replica.weight > 0 && replica.observed.is_ok_and(|observed| observed.replayed >= needed)
        };
        let candidates: Vec<usize> = (0..self.replicas.len())
            .filter(|at| fresh(&self.replicas[*at]))
            .collect();
        if !candidates.is_empty() {
            return Verdict::Fresh(candidates);
        }
        let eligible = self
            .replicas
            .iter()
            .any(|replica| replica.weight > 0 && replica.observed.is_ok());
        if eligible {
            Verdict::Behind
        } else {
            Verdict::Nobody
        }
    }
}

impl Replica {
    /// Whether a backend may serve what the last observation promises; `connected` and `replayed` are the end of its log-in and the
    /// position that it reported itself then. Either it was there before the replica was asked, so both are the same run of the server,
    /// or it has reached the position by itself. (A restarted standby was seen to serve far below its earlier position.)
    pub fn vouches_for(&self, connected: Instant, replayed: Lsn) -> bool {
        self.observed
            .is_ok_and(|observed| observed.asked > connected || replayed >= observed.replayed)
    }
}
