//! A share of something, from 0 to 1, kept in millionths: equal shares are equal.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fraction(u32);

const WHOLE: u32 = 1_000_000;

impl Fraction {
    pub const ALL: Self = Self(WHOLE);

    /// `None`: below 0, above 1, or no number.
    pub fn new(share: f64) -> Option<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to a million"
        )]
        (0.0..=1.0)
            .contains(&share)
            .then(|| Self((share * f64::from(WHOLE)).round() as u32))
    }

    pub fn of_one(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }

    /// Whether something with this hash is in the share; the same hash is in every larger share.
    pub fn takes(self, hash: u64) -> bool {
        // The upper bits of a product instead of a remainder: no division.
        let place = (u128::from(hash) * u128::from(WHOLE)) >> 64;
        place < u128::from(self.0)
    }
}

impl Serialize for Fraction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.of_one())
    }
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = f64::deserialize(deserializer)?;
        Self::new(number).ok_or_else(|| serde::de::Error::custom(format!("{number} is no share from 0 to 1")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_takes_its_part_of_all_hashes_and_the_larger_one_what_the_smaller_takes() {
        let (tenth, half) = (Fraction::new(0.1).unwrap(), Fraction::new(0.5).unwrap());
        let hashes = (0..10_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let taken: Vec<u64> = hashes.filter(|hash| tenth.takes(*hash)).collect();
        assert!((900..1100).contains(&taken.len()), "{}", taken.len());
        assert!(taken.iter().all(|hash| half.takes(*hash)));
        assert!(Fraction::ALL.takes(u64::MAX) && !Fraction::new(0.0).unwrap().takes(0));
    }

    #[test]
    fn only_shares_are_read() {
        assert_eq!(
            serde_json::from_str::<Fraction>("0.25").unwrap(),
            Fraction::new(0.25).unwrap()
        );
        assert!(serde_json::from_str::<Fraction>("1.5").is_err());
        assert_eq!(Fraction::new(f64::NAN), None);
    }
}
