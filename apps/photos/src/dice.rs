//! Numbers that look random and are the same everywhere: SplitMix64, for pictures and for seeding. Not for secrets.

#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Each `(seed, stream)` gives its own sequence.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut dice = Self(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        dice.next();
        dice
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, not including, `end`; 0 if `end` is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u128::try_from(end).unwrap_or(0);
        // The high half of the product is evenly spread, and always below `end`.
        usize::try_from((u128::from(self.next()) * end) >> 64).unwrap_or(0)
    }

    /// From 0 to 1, not including 1.
    pub(crate) fn unit(&mut self) -> f64 {
        let bits = u32::try_from(self.next() >> 32).unwrap_or(0);
        f64::from(bits) / 4_294_967_296.0
    }

    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub(crate) fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_rolls_the_same_and_stays_in_range() {
        let roll = |seed, stream| {
            let mut dice = Dice::new(seed, stream);
            (0..100).map(|_| dice.below(10)).collect::<Vec<_>>()
        };
        assert_eq!(roll(1, 2), roll(1, 2));
        assert_ne!(roll(1, 2), roll(1, 3));
        assert_ne!(roll(1, 2), roll(2, 2));
        assert!((0..10).all(|number| roll(1, 2).contains(&number)));
        let mut dice = Dice::new(1, 1);
        assert!((0..1000).all(|_| (2.0..3.0).contains(&dice.between(2.0, 3.0))));
    }
}
