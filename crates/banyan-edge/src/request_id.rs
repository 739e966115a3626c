//! A name for each request, unique over cores and restarts: 32 hexadecimal digits. Not a secret.

use std::hash::{BuildHasher, Hasher};

use http::HeaderValue;

pub(crate) struct RequestIds {
    prefix: u64,
    state: u64,
}

/// The standard library's hasher keys are the operating system's randomness.
pub(crate) fn seed() -> u64 {
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self {
            prefix: seed(),
            state: seed(),
        }
    }

    pub(crate) fn next(&mut self) -> HeaderValue {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0_u8; 32];
        for (half, number) in [self.prefix, self.number()].into_iter().enumerate() {
            for (index, byte) in number.to_be_bytes().into_iter().enumerate() {
                let at = half * 16 + index * 2;
                text[at] = DIGITS[usize::from(byte >> 4)];
                text[at + 1] = DIGITS[usize::from(byte & 15)];
            }
        }
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("none"))
    }

    /// SplitMix64: visits every number once before it repeats.
    fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_32_digits_and_differ_over_cores_too() {
        let (mut a, mut b) = (RequestIds::new(), RequestIds::new());
        let ids: std::collections::HashSet<_> = (0..100).flat_map(|_| [a.next(), b.next()]).collect();
        assert_eq!(ids.len(), 200);
        assert!(ids.iter().all(|id| id.len() == 32));
    }
}
