//! How many connections each client address has, and how fast it makes new ones: exact, over all cores.
//!
//! One shared structure instead of a share per core: the kernel spreads the connections of one client unevenly over the
//! cores' sockets, so a 256th part per core would refuse honest clients or let several times the limit in. It is touched
//! where a connection begins and where it ends, never by a request: two short locks of one of 64 shards, some 50 ns beside
//! the tens of microseconds that a connection costs. Exempt addresses and switched-off limits do not touch it.
//!
//! IPv6 clients are counted by /64, which is what one customer gets; IPv4 by address. An address is forgotten when it has
//! no connection and may make as many new ones as any other.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use banyan_config::EdgeLimits;

const SHARDS: usize = 64;
/// A shard with fewer addresses is not swept.
const SWEEP_FROM: usize = 256;
const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct Census(Vec<Mutex<Shard>>);

#[derive(Default)]
struct Shard {
    clients: HashMap<Client, Seen>,
    /// Sweep when there are so many.
    sweep_at: usize,
}

/// Whose connections are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    V4(u32),
    V6(u64),
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    open: u32,
    /// When its allowance of new connections is whole again (GCRA's theoretical arrival time).
    whole_at: Duration,
}

/// What becomes of a new connection.
#[derive(Debug)]
pub(crate) enum Arrival {
    Fits(Counted),
    /// More new ones per second than allowed.
    TooFast(Counted),
    /// More at once than allowed; it is not counted.
    TooMany,
}

/// How a connection may go on.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    /// Too fast: it gets 429.
    pub hurried: bool,
    /// `None`: nobody counts.
    pub counted: Option<Counted>,
}

/// A counted connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    census: Arc<Census>,
    client: Client,
}

impl Default for Census {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl std::fmt::Debug for Census {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Census")
    }
}

impl Census {
    /// `now`: since a start that all cores share.
    pub(crate) fn arrive(self: &Arc<Self>, address: IpAddr, now: Duration, limits: &EdgeLimits) -> Arrival {
        let client = Client::from(address);
        let judged = {
            let mut shard = self.shard(client);
            shard.sweep(now);
            shard.clients.entry(client).or_default().judge(now, limits)
        };
        let counted = || Counted {
            census: Arc::clone(self),
            client,
        };
        match judged {
            Judged::Fits => Arrival::Fits(counted()),
            Judged::TooFast => Arrival::TooFast(counted()),
            Judged::TooMany => Arrival::TooMany,
        }
    }

    fn shard(&self, client: Client) -> MutexGuard<'_, Shard> {
        let hash = match client {
            Client::V4(bits) => banyan_upstream::balance::hash::mix(u64::from(bits)),
            Client::V6(bits) => banyan_upstream::balance::hash::mix(bits),
        };
        let shard = &self.0[hash as usize % SHARDS];
        // Nothing under the lock can panic half-way.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut shard = self.census.shard(self.client);
        if let Some(seen) = shard.clients.get_mut(&self.client) {
            seen.open = seen.open.saturating_sub(1);
        }
    }
}

impl Shard {
    /// Forgets who has nothing and owes nothing: memory follows the addresses of the last second.
    fn sweep(&mut self, now: Duration) {
        if self.clients.len() < self.sweep_at.max(SWEEP_FROM) {
            return;
        }
        self.clients
            .retain(|_, seen| seen.open > 0 || seen.whole_at > now);
        self.sweep_at = self.clients.len() * 2;
    }
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    Fits,
    TooFast,
    TooMany,
}

impl Seen {
    /// Counts it unless it is one too many.
    fn judge(&mut self, now: Duration, limits: &EdgeLimits) -> Judged {
        if limits.connections_per_ip > 0 && self.open >= limits.connections_per_ip {
            return Judged::TooMany;
        }
        self.open += 1;
        if limits.new_per_ip == 0 {
            return Judged::Fits;
        }
        let each = SECOND / limits.new_per_ip;
        let whole_at = self.whole_at.max(now) + each;
        if whole_at > now + SECOND {
            return Judged::TooFast;
        }
        self.whole_at = whole_at;
        Judged::Fits
    }
}

#[cfg(test)]
mod tests {
    use banyan_config::EdgeSettings;
    use proptest::prelude::*;

    use super::*;

    fn limits(at_once: u32, per_second: u32) -> EdgeLimits {
        EdgeLimits {
            connections_per_ip: at_once,
            new_per_ip: per_second,
            ..EdgeSettings::default().limits
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_cannot_have_more_than_its_share_and_gets_room_when_one_ends() {
        let census = Arc::new(Census::default());
        let (now, limits) = (Duration::ZERO, limits(2, 0));
        let one = census.arrive(ip("192.0.2.1"), now, &limits);
        let two = census.arrive(ip("192.0.2.1"), now, &limits);
        assert!(matches!(
            census.arrive(ip("192.0.2.1"), now, &limits),
            Arrival::TooMany
        ));
        assert!(matches!(
            census.arrive(ip("192.0.2.2"), now, &limits),
            Arrival::Fits(_)
        ));
        drop(one);
        assert!(matches!(
            census.arrive(ip("192.0.2.1"), now, &limits),
            Arrival::Fits(_)
        ));
        drop(two);
    }

    #[test]
    fn ipv6_is_counted_by_network_and_ipv4_in_ipv6_clothes_is_not_met_here() {
        let census = Arc::new(Census::default());
        let limits = limits(1, 0);
        let _one = census.arrive(ip("2001:db8::1"), Duration::ZERO, &limits);
        let same = census.arrive(ip("2001:db8::ffff:2"), Duration::ZERO, &limits);
        assert!(matches!(same, Arrival::TooMany));
        let other = census.arrive(ip("2001:db8:0:1::1"), Duration::ZERO, &limits);
        assert!(matches!(other, Arrival::Fits(_)));
    }

    proptest! {
        /// In any second no more than twice the rate fit (what was saved and what comes), over long times the rate.
        #[test]
        fn new_connections_keep_to_the_rate(rate in 1_u32..200, gaps in prop::collection::vec(0_u64..30, 1..600)) {
            let mut seen = Seen::default();
            let limits = limits(0, rate);
            let (mut now, mut fits) = (Duration::ZERO, Vec::new());
            for gap in gaps {
                now += Duration::from_millis(gap);
                if seen.judge(now, &limits) == Judged::Fits {
                    fits.push(now);
                }
            }
            let most = u128::from(rate) * (now.as_millis() + 1000) / 1000 + 1;
            prop_assert!(fits.len() as u128 <= most);
            for from in &fits {
                let within = fits.iter().filter(|at| *at >= from && **at < *from + SECOND).count();
                prop_assert!(within <= 2 * rate as usize);
            }
            // Who waits a second may make as many as the rate says.
            now += SECOND;
            let all = (0..rate).all(|_| seen.judge(now, &limits) == Judged::Fits);
            prop_assert!(all && seen.judge(now, &limits) == Judged::TooFast);
        }
    }

    #[test]
    fn addresses_that_left_are_forgotten() {
        let census = Arc::new(Census::default());
        let limits = limits(10, 10);
        for n in 0..100_000_u32 {
            let now = Duration::from_millis(u64::from(n));
            drop(census.arrive(IpAddr::V4(n.into()), now, &limits));
        }
        let known: usize = census
            .0
            .iter()
            .map(|shard| shard.lock().unwrap().clients.len())
            .sum();
        assert!(known <= SHARDS * SWEEP_FROM, "{known} addresses");
    }
}
