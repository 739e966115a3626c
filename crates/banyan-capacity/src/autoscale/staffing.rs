//! How many instances a rate of requests needs, so that few of them wait: the staffing table.
//!
//! `n` instances of `W` slots serve one queue, `c = nW`. The probability that a request waits longer than `x` is
//! approximately `rho^(sqrt(2(c+1)) - 1) * exp(-(c/s)(1 - rho) x * 2/(1 + v))`: Erlang C by Sakasegawa's exponent, with
//! the tail scaled for service times whose squared variation is `v` (Kingman).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one instance is, and when its requests wait too long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Staffing {
    /// Requests that an instance works on at once.
    pub slots: u32,
    /// Mean time of a request, in seconds; above 0.
    pub service: f64,
    /// Squared coefficient of variation of that time; 1 is exponential.
    pub variation: f64,
    /// Requests per second that an instance has been seen to stand; `None`: as many as its slots allow.
    pub knee: Option<f64>,
    /// A wait that people notice.
    pub wait: Duration,
}

/// How sure a number of instances must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Margin {
    /// Share of requests that may wait longer.
    pub(super) late: f64,
    pub(super) busiest: f64,
}

/// For load that is there.
pub(super) const PRESENT: Margin = Margin {
    late: 0.01,
    busiest: 0.95,
};
/// For load that is foreseen.
pub(super) const FORESEEN: Margin = Margin {
    late: 0.005,
    busiest: 0.90,
};

/// Halvings of the interval in which the largest rate lies: below a thousandth of a request.
const HALVINGS: u32 = 40;

impl Staffing {
    /// Requests per second that one instance serves when it is never idle.
    pub fn one(&self) -> f64 {
        let by_slots = f64::from(self.slots) / self.service;
        self.knee.map_or(by_slots, |knee| knee.min(by_slots))
    }

    /// Probability that a request waits longer than [`Self::wait`] at so many requests per second.
    pub fn late(&self, instances: u32, rate: f64) -> f64 {
        let capacity = self.one() * f64::from(instances);
        if rate >= capacity {
            return 1.0;
        }
        let rho = rate / capacity;
        let servers = (capacity * self.service).max(1.0);
        let any = rho.powf((2.0 * (servers + 1.0)).sqrt() - 1.0);
        let decay = servers / self.service * (1.0 - rho) * self.wait.as_secs_f64();
        any * (-decay * 2.0 / (1.0 + self.variation)).exp()
    }

    /// The largest rate that so many instances serve within the margin.
    pub(super) fn largest(&self, instances: u32, margin: Margin) -> f64 {
        let mut within = 0.0;
        let mut beyond = self.one() * f64::from(instances) * margin.busiest;
        if self.late(instances, beyond) <= margin.late {
            return beyond;
        }
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(within, beyond);
            if self.late(instances, middle) <= margin.late {
                within = middle;
            } else {
                beyond = middle;
            }
        }
        within
    }

    /// The fewest instances that serve `rate` within the margin, at most `most`.
    pub(super) fn instances(&self, rate: f64, margin: Margin, most: u32) -> u32 {
        if rate <= 0.0 {
            return 0;
        }
        // The largest rate grows with the instances: what is below this cannot do.
        let least = (rate / (self.one() * margin.busiest))
            .ceil()
            .clamp(1.0, f64::from(most)) as u32;
        let enough = |instances: &u32| self.largest(*instances, margin) >= rate;
        (least..=most).find(enough).unwrap_or(most)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn sample() -> Staffing {
        Staffing {
            slots: 8,
            service: 0.040,
            variation: 1.0,
            knee: None,
            wait: Duration::from_millis(100),
        }
    }

    /// Exact Erlang C at 1 %: 161.4, 359.3, 558.4 for one to three instances.
    #[test]
    fn the_largest_rates_are_those_of_erlang_c() {
        let rates = |margin| [1, 2, 3, 6].map(|n| format!("{:.1}", sample().largest(n, margin)));
        expect![[r#"["161.0", "359.2", "558.3", "1140.0"]"#]].assert_eq(&format!("{:?}", rates(PRESENT)));
        expect![[r#"["155.2", "353.0", "540.0", "1080.0"]"#]].assert_eq(&format!("{:?}", rates(FORESEEN)));
    }

    #[test]
    fn instances_are_the_inverse_of_the_largest_rate() {
        let staffing = sample();
        for n in 1..60 {
            let rate = staffing.largest(n, PRESENT);
            assert_eq!(staffing.instances(rate - 0.01, PRESENT, 100), n);
            assert_eq!(staffing.instances(rate + 0.01, PRESENT, 100), n + 1);
        }
        assert_eq!(staffing.instances(0.0, PRESENT, 100), 0);
        assert_eq!(staffing.instances(1e9, PRESENT, 100), 100);
    }

    #[test]
    fn a_knee_below_what_the_slots_allow_needs_more_instances() {
        let slow = Staffing {
            knee: Some(50.0),
            ..sample()
        };
        assert_eq!(sample().instances(140.0, PRESENT, 100), 1);
        assert_eq!(slow.instances(140.0, PRESENT, 100), 4);
    }
}
