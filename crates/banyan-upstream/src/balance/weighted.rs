//! Smooth weighted round robin: each gets its share, spread out instead of in bursts (nginx's algorithm).

use super::Field;

#[derive(Clone, Debug)]
pub(crate) struct Weighted {
    /// What each slot is owed.
    owed: Vec<f64>,
}

impl Weighted {
    pub(crate) fn new(slots: usize, start: usize) -> Self {
        let mut owed = vec![0.0; slots];
        // Cores begin with different slots; too little to change any share.
        if let Some(first) = start.checked_rem(slots) {
            owed[first] = 1e-9;
        }
        Self { owed }
    }

    pub(super) fn pick(&mut self, field: &impl Field) -> Option<usize> {
        let mut total = 0.0;
        let mut best: Option<usize> = None;
        for &slot in field.eligible() {
            let share = field.share(slot);
            total += share;
            self.owed[slot] += share;
            if best.is_none_or(|best| self.owed[slot] > self.owed[best]) {
                best = Some(slot);
            }
        }
        self.owed[best?] -= total;
        best
    }
}
