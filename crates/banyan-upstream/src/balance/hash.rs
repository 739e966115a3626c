//! Hashes that mean the same in every core, process and version: keys keep their endpoints over restarts.

/// FNV-1a, finished so that close inputs lie far apart.
pub fn bytes(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// Two hashes as one.
pub fn both(a: u64, b: u64) -> u64 {
    mix(a ^ b.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// SplitMix64's last step: every output bit depends on every input bit.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Numbers for picks: not secret, never equal runs on two cores that start differently.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}
