use proptest::prelude::*;

use super::*;

/// Endpoints as numbers.
#[derive(Clone, Debug)]
struct Plain {
    eligible: Vec<usize>,
    weights: Vec<f64>,
    outstanding: Vec<u32>,
    latency: Vec<Option<f64>>,
}

impl Field for Plain {
    fn eligible(&self) -> &[usize] {
        &self.eligible
    }

    fn weight(&self, slot: usize) -> f64 {
        self.weights[slot]
    }

    fn warmth(&self, _slot: usize) -> f64 {
        1.0
    }

    fn outstanding(&self, slot: usize) -> u32 {
        self.outstanding[slot]
    }

    fn latency(&self, slot: usize) -> Option<f64> {
        self.latency[slot]
    }
}

impl Plain {
    fn of(weights: &[u32]) -> Self {
        Self {
            eligible: (0..weights.len()).collect(),
            weights: weights.iter().map(|w| f64::from(*w)).collect(),
            outstanding: vec![0; weights.len()],
            latency: vec![None; weights.len()],
        }
    }

    fn named(&self) -> Vec<Named> {
        let named = |(slot, weight): (usize, &f64)| Named {
            name: hash::bytes(format!("web.{slot}").as_bytes()),
            weight: *weight,
        };
        self.weights.iter().enumerate().map(named).collect()
    }

    fn policy(&self, balance: Balance) -> Policy {
        Policy::new(balance, 0, &self.named())
    }

    fn without(&self, slot: usize) -> Self {
        let mut less = self.clone();
        less.eligible.retain(|s| *s != slot);
        less
    }
}

#[expect(clippy::disallowed_methods, reason = "policies do not look at the time")]
fn demand(number: u64) -> Demand {
    Demand {
        now: Instant::now(),
        key: hash::mix(number),
        random: hash::mix(!number),
    }
}

fn weights() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(1_u32..6, 1..12)
}

proptest! {
    #[test]
    fn round_robin_gives_every_eligible_one_the_same(
        eligible in prop::collection::vec(any::<bool>(), 1..20), rounds in 1_usize..10, start in 0_usize..50,
    ) {
        let mut field = Plain::of(&vec![1; eligible.len()]);
        field.eligible.retain(|slot| eligible[*slot]);
        let mut robin = RoundRobin::starting_at(start);
        let mut got = vec![0; eligible.len()];
        for _ in 0..rounds * field.eligible.len() {
            got[robin.pick(&field, 0).unwrap()] += 1;
        }
        for (count, eligible) in got.iter().zip(&eligible) {
            prop_assert_eq!(*count, if *eligible { rounds } else { 0 });
        }
    }

    #[test]
    fn weighted_gives_exact_shares_over_a_round_and_is_never_far_from_them(weights in weights()) {
        let field = Plain::of(&weights);
        let total: u32 = weights.iter().sum();
        let mut policy = field.policy(Balance::Weighted);
        let mut got = vec![0_u32; weights.len()];
        for number in 1..=total * 3 {
            got[policy.pick(&field, &demand(0)).unwrap()] += 1;
            for (slot, weight) in weights.iter().enumerate() {
                let due = f64::from(number * weight) / f64::from(total);
                prop_assert!((f64::from(got[slot]) - due).abs() <= weights.len() as f64, "bursts");
            }
        }
        for (slot, weight) in weights.iter().enumerate() {
            prop_assert_eq!(got[slot], weight * 3);
        }
    }

    #[test]
    fn least_connections_never_burdens_one_more_than_another_by_over_one_request(
        weights in weights(), requests in 1_u64..200,
    ) {
        let mut field = Plain::of(&weights);
        let mut policy = field.policy(Balance::LeastConnections);
        for number in 0..requests {
            let slot = policy.pick(&field, &demand(number)).unwrap();
            field.outstanding[slot] += 1;
        }
        for a in 0..weights.len() {
            for b in 0..weights.len() {
                // Giving a's last request to b would not have been better.
                let held = f64::from(field.outstanding[a]) / field.weights[a];
                prop_assert!(field.outstanding[a] == 0
                    || held <= f64::from(field.outstanding[b] + 1) / field.weights[b] + 1e-9);
            }
        }
    }

    #[test]
    fn hashes_move_only_the_keys_of_the_one_that_leaves(
        weights in weights(), leaves in any::<prop::sample::Index>(), ring: bool,
    ) {
        let field = Plain::of(&weights);
        let leaves = leaves.index(weights.len());
        let fewer = field.without(leaves);
        let mut policy = field.policy(if ring { Balance::Ring } else { Balance::IpHash });
        for number in 0..300 {
            let before = policy.pick(&field, &demand(number));
            let after = policy.pick(&fewer, &demand(number));
            if before == Some(leaves) {
                prop_assert_ne!(after, Some(leaves));
            } else {
                prop_assert_eq!(before, after);
            }
        }
    }

    #[test]
    fn a_new_endpoint_takes_keys_from_others_and_moves_no_other(weights in weights(), ring: bool) {
        let all = Plain::of(&weights);
        let fewer = Plain::of(&weights[..weights.len() - 1]);
        let balance = if ring { Balance::Ring } else { Balance::IpHash };
        let (mut before, mut after) = (fewer.policy(balance), all.policy(balance));
        for number in 0..300 {
            let (old, new) = (before.pick(&fewer, &demand(number)), after.pick(&all, &demand(number)));
            prop_assert!(new == old || new == Some(weights.len() - 1));
        }
    }

    #[test]
    fn the_ring_never_gives_one_more_than_a_quarter_above_its_share(
        weights in weights(), keys in prop::collection::vec(0_u64..20, 1..400),
    ) {
        let mut field = Plain::of(&weights);
        let mut policy = field.policy(Balance::Ring);
        let total: f64 = field.weights.iter().sum();
        for (done, key) in keys.iter().enumerate() {
            let slot = policy.pick(&field, &demand(*key)).unwrap();
            field.outstanding[slot] += 1;
            let room = (1.25 * (done + 1) as f64 * field.weights[slot] / total).ceil();
            prop_assert!(f64::from(field.outstanding[slot]) <= room);
        }
    }

    #[test]
    fn no_policy_picks_an_excluded_one_and_every_policy_picks_when_it_can(
        weights in weights(), excluded in prop::collection::vec(any::<bool>(), 12),
        outstanding in prop::collection::vec(0_u32..50, 12), requests in 1_u64..60,
    ) {
        let mut field = Plain::of(&weights);
        field.eligible.retain(|slot| !excluded[*slot]);
        field.outstanding.copy_from_slice(&outstanding[..weights.len()]);
        for balance in Balance::ALL {
            let mut policy = field.policy(balance);
            for number in 0..requests {
                match policy.pick(&field, &demand(number)) {
                    Some(slot) => prop_assert!(!excluded[slot]),
                    None => prop_assert!(field.eligible.is_empty()),
                }
            }
        }
    }

    #[test]
    fn of_two_the_one_expected_sooner_is_picked(
        a in (0_u32..20, 1_u32..100), b in (0_u32..20, 1_u32..100), number: u64,
    ) {
        let mut field = Plain::of(&[1, 1]);
        field.outstanding = vec![a.0, b.0];
        field.latency = vec![Some(f64::from(a.1)), Some(f64::from(b.1))];
        let expected = |x: (u32, u32), y: (u32, u32)| (x.0 + 1) * x.1.min(y.1 * 4);
        let picked = field.policy(Balance::P2cEwma).pick(&field, &demand(number)).unwrap();
        let (cost_a, cost_b) = (expected(a, b), expected(b, a));
        prop_assert!(cost_a == cost_b || (picked == 0) == (cost_a < cost_b));
    }
}

#[test]
fn p2c_spreads_equal_endpoints_evenly() {
    let field = Plain::of(&[1; 5]);
    let mut policy = field.policy(Balance::P2cEwma);
    let mut got = [0; 5];
    for number in 0..10_000 {
        got[policy.pick(&field, &demand(number)).unwrap()] += 1;
    }
    assert!(got.iter().all(|count| (1800..2200).contains(count)), "{got:?}");
}

#[test]
fn hashes_spread_keys_by_weight() {
    for balance in [Balance::Ring, Balance::IpHash] {
        let mut field = Plain::of(&[1; 5]);
        field.outstanding = vec![1000; 5];
        let mut policy = field.policy(balance);
        let mut got = [0; 5];
        for number in 0..10_000 {
            got[policy.pick(&field, &demand(number)).unwrap()] += 1;
        }
        assert!(
            got.iter().all(|count| (1500..2500).contains(count)),
            "{balance:?} {got:?}"
        );
    }
}
