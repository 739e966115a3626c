//! Exemplars: for each bucket of a histogram a trace whose duration fell into it, so that a point of a picture leads to what
//! happened. OpenMetrics 1.0.0 §exemplars. Pure; bounded in number, and in age where they are shown.

use std::collections::BTreeMap;

use crate::durations::bucket_of;
use crate::span::TraceId;

/// Of all families together; above, new places get none.
const MOST: usize = 4_096;

/// One trace, as the text form shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    pub trace: TraceId,
    pub took_us: u64,
    /// When it ended, Unix microseconds.
    pub at_us: u64,
}

/// The newest one of each bucket of each sample.
#[derive(Clone, Debug, Default)]
pub struct Exemplars(BTreeMap<Place, Exemplar>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    family: String,
    /// As the sample has them, in its order.
    labels: Vec<(String, String)>,
    bucket: usize,
}

impl Exemplars {
    /// Takes the place of an older one.
    pub fn note(&mut self, family: &str, labels: &[(&str, &str)], exemplar: Exemplar) {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let place = Place {
            family: family.to_owned(),
            labels: labels.iter().map(owned).collect(),
            bucket: bucket_of(exemplar.took_us),
        };
        let is_newer = |known: &Exemplar| known.at_us <= exemplar.at_us;
        let takes = match self.0.get(&place) {
            Some(known) => is_newer(known),
            None => self.0.len() < MOST,
        };
        if takes {
            self.0.insert(place, exemplar);
        }
    }

    /// Forgets those that ended before: their traces may be gone soon.
    pub fn forget_before(&mut self, at_us: u64) {
        self.0.retain(|_, exemplar| exemplar.at_us >= at_us);
    }

    /// Of one sample, by bucket.
    pub(crate) fn of(
        &self,
        family: &str,
        labels: &[(String, String)],
    ) -> impl Iterator<Item = (usize, &Exemplar)> + use<'_> {
        let place = |bucket| Place {
            family: family.to_owned(),
            labels: labels.to_vec(),
            bucket,
        };
        let buckets = self.0.range(place(0)..=place(usize::MAX));
        buckets.map(|(place, exemplar)| (place.bucket, exemplar))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILY: &str = "app_duration_seconds";

    fn one(trace: u128, took_us: u64, at_us: u64) -> Exemplar {
        Exemplar {
            trace: TraceId(trace),
            took_us,
            at_us,
        }
    }

    fn labels() -> Vec<(String, String)> {
        vec![("route".to_owned(), "api".to_owned())]
    }

    #[test]
    fn each_bucket_has_the_newest_until_it_is_old() {
        let mut all = Exemplars::default();
        all.note(FAMILY, &[("route", "api")], one(1, 700, 10));
        all.note(FAMILY, &[("route", "api")], one(2, 800, 20));
        all.note(FAMILY, &[("route", "api")], one(3, 900, 15));
        all.note(FAMILY, &[("route", "api")], one(4, 20_000_000, 5));
        let of = |all: &Exemplars| -> Vec<(usize, u128)> {
            let found = all
                .of(FAMILY, &labels())
                .map(|(bucket, one)| (bucket, one.trace.0));
            found.collect()
        };
        assert_eq!(of(&all), [(1, 2), (17, 4)]);
        assert_eq!(all.of("other_seconds", &labels()).count(), 0);
        all.forget_before(6);
        assert_eq!(of(&all), [(1, 2)]);
    }

    #[test]
    fn their_number_is_bounded_and_known_places_still_change() {
        let mut all = Exemplars::default();
        for route in 0..MOST as u64 + 9 {
            all.note(FAMILY, &[("route", &route.to_string())], one(1, 700, 1));
        }
        assert_eq!(all.0.len(), MOST);
        all.note(FAMILY, &[("route", "0")], one(2, 700, 2));
        let route = [("route".to_owned(), "0".to_owned())];
        let newest = all.of(FAMILY, &route).next();
        assert_eq!(newest.map(|(bucket, one)| (bucket, one.trace.0)), Some((1, 2)));
    }
}
