//! Which content codings a client takes (RFC 9110 §12.5.3). Pure.

use banyan_config::Coding;
use http::header::{self, HeaderMap};

/// In thousandths; 0: not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    brotli: u16,
    zstd: u16,
    gzip: u16,
}

impl Accepted {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let lists = headers.get_all(header::ACCEPT_ENCODING).iter();
        Self::read(lists.filter_map(|value| value.to_str().ok()))
    }

    /// The first word on a coding counts; what is malformed names nothing.
    pub(crate) fn read<'a>(lists: impl Iterator<Item = &'a str>) -> Self {
        let (mut named, mut any) = ([None; 3], None);
        for item in lists.flat_map(|list| list.split(',')) {
            let (name, weight) = item.split_once(';').map_or((item, None), |(n, w)| (n, Some(w)));
            let Some(weight) = weight.map_or(Some(1000), weight_of) else {
                continue;
            };
            let name = name.trim();
            let own = Coding::ALL.iter().position(|coding| {
                name.eq_ignore_ascii_case(coding.name())
                    || (*coding == Coding::Gzip && name.eq_ignore_ascii_case("x-gzip"))
            });
            match own {
                Some(place) => _ = named[place].get_or_insert(weight),
                None if name == "*" => _ = any.get_or_insert(weight),
                None => {}
            }
        }
        let [brotli, zstd, gzip] = named.map(|weight| weight.or(any).unwrap_or(0));
        Self { brotli, zstd, gzip }
    }

    pub(crate) fn weight(self, coding: Coding) -> u16 {
        match coding {
            Coding::Brotli => self.brotli,
            Coding::Zstd => self.zstd,
            Coding::Gzip => self.gzip,
        }
    }

    /// What the client likes best; among equals the first of `ours`.
    pub(crate) fn best(self, ours: &[Coding]) -> Option<Coding> {
        let taken = ours.iter().copied().filter(|coding| self.weight(*coding) > 0);
        // The last of equals wins a `max_by_key`.
        taken.rev().max_by_key(|coding| self.weight(*coding))
    }
}

/// `q=0.5`: at most three decimals.
fn weight_of(text: &str) -> Option<u16> {
    let (name, value) = text.trim().split_once('=')?;
    if !name.eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, rest) = value.split_once('.').unwrap_or((value, ""));
    if rest.len() > 3 || !rest.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{rest:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", part) => Some(part),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_weight_wins_and_our_order_among_equals() {
        let ours = [Coding::Zstd, Coding::Brotli, Coding::Gzip];
        for (text, best) in [
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip, br", Some(Coding::Brotli)),
            ("br;q=0.8, gzip", Some(Coding::Gzip)),
            ("br; q=0.800 , GZIP;Q=0.799", Some(Coding::Brotli)),
            ("x-gzip", Some(Coding::Gzip)),
            ("*", Some(Coding::Zstd)),
            ("*;q=0.1, zstd;q=0", Some(Coding::Brotli)),
            ("zstd;q=0, *;q=0, gzip;q=0.001", Some(Coding::Gzip)),
            ("identity", None),
            ("", None),
            ("gzip;q=0", None),
            ("gzip;q=0.000", None),
            ("gzip;q=1.5", None),
            ("gzip;q=0.1234", None),
            ("gzip;level=9", None),
            ("gzip, gzip;q=0", Some(Coding::Gzip)),
            ("gzipped, brotli", None),
        ] {
            assert_eq!(Accepted::read([text].into_iter()).best(&ours), best, "{text}");
        }
        assert_eq!(Accepted::read(["gzip"].into_iter()).best(&[Coding::Brotli]), None);
    }
}
