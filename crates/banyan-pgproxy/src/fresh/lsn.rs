//! A position in the write-ahead log (PostgreSQL's type `pg_lsn`).

use std::fmt;
use std::str::FromStr;

/// Bytes since the log began. Positions of different timelines do not compare.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Bytes from `self` to `later`; 0 if it is not later.
    pub fn behind(self, later: Self) -> u64 {
        later.0.saturating_sub(self.0)
    }
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is no WAL position (like 16/B374D848)")]
pub struct InvalidLsn(String);

impl FromStr for Lsn {
    type Err = InvalidLsn;

    fn from_str(text: &str) -> Result<Self, InvalidLsn> {
        let invalid = || InvalidLsn(text.to_owned());
        let (high, low) = text.split_once('/').ok_or_else(invalid)?;
        let part = |digits: &str| u32::from_str_radix(digits, 16).map_err(|_| invalid());
        Ok(Self((u64::from(part(high)?) << 32) | u64::from(part(low)?)))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(text.parse::<Lsn>().expect("valid").to_string(), text);
        }
        for text in ["", "1", "1/", "/1", "g/1", "1/123456789", "1/2/3"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
        assert!(Lsn(1 << 32) > Lsn(0xffff_ffff));
    }
}
