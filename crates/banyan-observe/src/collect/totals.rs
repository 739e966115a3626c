//! Numbers of several processes as one: counters never fall, also when a process ends or begins anew.
//!
//! Of each process and counter the last value is known; what is added is how much it has grown since. Gauges are summed.
//! Series that nobody tells any more are forgotten after [`FORGET`] rounds.

use std::collections::{BTreeMap, HashMap};

use banyan_telemetry::families::Number;

use crate::series::Series;

/// An hour of the rounds that are kept, minutes of live ones: longer than a restart takes.
const FORGET: u32 = 360;

#[derive(Default)]
pub(super) struct Totals {
    round: u32,
    /// Small numbers for those who tell.
    tellers: HashMap<String, u32>,
    all: HashMap<Series, Total>,
    /// What counters were before this process, until they are told again.
    before: HashMap<Series, f64>,
}

#[derive(Default)]
struct Total {
    counts: bool,
    sum: f64,
    /// By teller: its last value.
    last: Vec<(u32, f64)>,
    /// The round in which it went on from before this process: what it is by then was counted already, or is not known.
    resumed: Option<u32>,
    /// The round in which somebody told it last.
    told: u32,
}

impl Totals {
    /// Goes on from what was kept: a restart of this process is no growth.
    pub(super) fn resuming(before: Vec<(Series, f64)>) -> Self {
        Self {
            before: before.into_iter().collect(),
            ..Self::default()
        }
    }

    pub(super) fn begin(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    pub(super) fn add(&mut self, who: &str, number: &Number<'_>) {
        let count = u32::try_from(self.tellers.len()).unwrap_or(u32::MAX);
        let teller = match self.tellers.get(who) {
            Some(teller) => *teller,
            None => *self.tellers.entry(who.to_owned()).or_insert(count),
        };
        let round = self.round;
        let series = series(number);
        let total = self.all.entry(series.clone()).or_default();
        if !number.counts {
            let before = if total.told == round { total.sum } else { 0.0 };
            (total.sum, total.told) = (before + number.value, round);
            return;
        }
        (total.counts, total.told) = (true, round);
        if total.last.is_empty()
            && let Some(before) = self.before.remove(&series)
        {
            (total.sum, total.resumed) = (before, Some(round));
        }
        match total.last.iter_mut().find(|(known, _)| *known == teller) {
            Some((_, last)) => {
                // One that fell has begun anew.
                let fell = number.value < *last;
                total.sum += if fell { number.value } else { number.value - *last };
                *last = number.value;
            }
            None => {
                let known = total.resumed == Some(round);
                total.sum += if known { 0.0 } else { number.value };
                total.last.push((teller, number.value));
            }
        }
    }

    /// What was told in this round.
    pub(super) fn end(&mut self) -> BTreeMap<Series, f64> {
        let round = self.round;
        self.all
            .retain(|_, total| round.wrapping_sub(total.told) < FORGET);
        let told = self.all.iter().filter(|(_, total)| total.told == round);
        told.map(|(series, total)| (series.clone(), total.sum)).collect()
    }

    pub(super) fn counts(&self, series: &Series) -> bool {
        self.all.get(series).is_some_and(|total| total.counts)
    }
}

fn series(number: &Number<'_>) -> Series {
    let mut labels = number.labels.to_vec();
    if let Some(bound) = number.below {
        let bound = match bound {
            f64::INFINITY => "+Inf".to_owned(),
            bound => bound.to_string(),
        };
        labels.push(("le".to_owned(), bound));
    }
    labels.sort();
    Series {
        name: format!("{}{}", number.family, number.part),
        labels,
    }
}

#[cfg(test)]
mod tests {
    use banyan_telemetry::Families;
    use banyan_telemetry::families::Kind;

    use super::*;

    /// What a process says.
    fn told(requests: u64, open: u64) -> Families {
        let mut all = Families::default();
        all.family(Kind::Counter, "requests_total", "")
            .count(&[], requests);
        all.family(Kind::Gauge, "open", "").count(&[], open);
        all
    }

    fn round(totals: &mut Totals, all: &[(&str, Families)]) -> (f64, f64) {
        totals.begin();
        for (who, families) in all {
            families.numbers().for_each(|number| totals.add(who, &number));
        }
        let values = totals.end();
        (
            values[&Series::new("requests_total", &[])],
            values[&Series::new("open", &[])],
        )
    }

    #[test]
    fn a_counter_keeps_what_a_process_that_ended_has_counted_and_a_gauge_does_not() {
        let mut totals = Totals::default();
        let both = [("a", told(100, 3)), ("b", told(50, 2))];
        assert_eq!(round(&mut totals, &both), (150.0, 5.0));
        assert_eq!(round(&mut totals, &[("a", told(110, 4))]), (160.0, 4.0));
        // `b` was replaced by `c`, and `a` began anew under its name.
        let others = [("a", told(7, 1)), ("c", told(5, 0))];
        assert_eq!(round(&mut totals, &others), (172.0, 1.0));
    }

    #[test]
    fn a_restart_of_this_process_is_no_growth() {
        let kept = vec![(Series::new("requests_total", &[]), 1000.0)];
        let mut totals = Totals::resuming(kept);
        let both = [("a", told(100, 3)), ("b", told(50, 2))];
        assert_eq!(round(&mut totals, &both), (1000.0, 5.0));
        let both = [("a", told(110, 3)), ("b", told(51, 2))];
        assert_eq!(round(&mut totals, &both), (1011.0, 5.0));
    }
}
