//! How one of several eligible endpoints is chosen: one file per policy, all behind `Policy`.
//!
//! A policy sees endpoints as slots of a `Field` and only ever returns an eligible one. Time and randomness come with
//! the [`Demand`]; loads are those of one core.

pub mod hash;
mod ip_hash;
mod least_connections;
mod p2c_ewma;
mod ring;
mod round_robin;
mod weighted;

use std::time::Instant;

use banyan_config::Balance;

pub use ring::Owners;
use ring::Ring;
use round_robin::RoundRobin;
use weighted::Weighted;

/// The request that an endpoint is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    pub now: Instant,
    /// What `ip_hash` and `ring` go by; see [`hash`].
    pub key: u64,
    /// Fresh for each pick.
    pub random: u64,
}

/// The endpoints as a policy sees them, by slot: their place in the list.
trait Field {
    /// Slots that may be picked, ascending.
    fn eligible(&self) -> &[usize];
    /// As configured; more than 0.
    fn weight(&self, slot: usize) -> f64;
    /// How far its slow start has come, relative to the others: more than 0, at most 1.
    fn warmth(&self, slot: usize) -> f64;
    fn outstanding(&self, slot: usize) -> u32;
    /// Expected seconds; `None`: not known yet.
    fn latency(&self, slot: usize) -> Option<f64>;

    fn share(&self, slot: usize) -> f64 {
        self.weight(slot) * self.warmth(slot)
    }

    fn is_eligible(&self, slot: usize) -> bool {
        self.eligible().binary_search(&slot).is_ok()
    }
}

/// What does not change from pick to pick: a slot's name as a number, and its weight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    pub name: u64,
    pub weight: f64,
}

/// A policy with what it remembers.
#[derive(Debug)]
pub(crate) enum Policy {
    RoundRobin(RoundRobin),
    Weighted(Weighted),
    LeastConnections,
    IpHash(Vec<u64>),
    Ring(Ring),
    P2cEwma,
}

impl Policy {
    /// `start`: cores that begin at different places do not send their first requests to the same endpoint.
    pub(crate) fn new(balance: Balance, start: usize, slots: &[Named]) -> Self {
        match balance {
            Balance::RoundRobin => Self::RoundRobin(RoundRobin::starting_at(start)),
            Balance::Weighted => Self::Weighted(Weighted::new(slots.len(), start)),
            Balance::LeastConnections => Self::LeastConnections,
            Balance::IpHash => Self::IpHash(slots.iter().map(|s| s.name).collect()),
            Balance::Ring => Self::Ring(Ring::new(slots)),
            Balance::P2cEwma => Self::P2cEwma,
        }
    }

    fn pick(&mut self, field: &impl Field, demand: &Demand) -> Option<usize> {
        match self {
            Self::RoundRobin(robin) => robin.pick(field, demand.random),
            Self::Weighted(weighted) => weighted.pick(field),
            Self::LeastConnections => least_connections::pick(field, demand.random),
            Self::IpHash(names) => ip_hash::pick(field, names, demand.key),
            Self::Ring(ring) => ring.pick(field, demand.key),
            Self::P2cEwma => p2c_ewma::pick(field, demand.random),
        }
    }
}

mod view;
pub(crate) use view::pick;

/// A number in [0, 1) from random bits.
pub(crate) fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
