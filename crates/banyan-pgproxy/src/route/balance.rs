//! Which of several replicas: of two drawn by weight, the one with fewer reads under way.

/// One that may serve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// Not 0.
    pub(crate) weight: u32,
    pub(crate) under_way: u32,
}

/// Its index; None if there is none. `random` are two independent draws.
pub(crate) fn choose(candidates: &[Candidate], random: [u32; 2]) -> Option<usize> {
    let [first, second] = random.map(|draw| by_weight(candidates, draw));
    let (first, second) = (first?, second?);
    let load =
        |at: usize| u64::from(candidates[at].under_way) * 1_000 / u64::from(candidates[at].weight.max(1));
    Some(if load(second) < load(first) { second } else { first })
}

fn by_weight(candidates: &[Candidate], draw: u32) -> Option<usize> {
    let total: u64 = candidates
        .iter()
        .map(|candidate| u64::from(candidate.weight))
        .sum();
    let mut left = u64::from(draw) % total.max(1);
    candidates.iter().position(|candidate| {
        let here = u64::from(candidate.weight);
        let found = left < here;
        left = left.saturating_sub(here);
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(weights: &[(u32, u32)]) -> Vec<Candidate> {
        weights
            .iter()
            .map(|(weight, under_way)| Candidate {
                weight: *weight,
                under_way: *under_way,
            })
            .collect()
    }

    #[test]
    fn shares_follow_weights() {
        let candidates = of(&[(1, 0), (3, 0)]);
        let mut hits = [0; 2];
        for draw in 0..400 {
            hits[choose(&candidates, [draw, draw]).expect("one")] += 1;
        }
        assert_eq!(hits, [100, 300]);
    }

    #[test]
    fn the_less_busy_of_two_is_taken() {
        assert_eq!(choose(&of(&[(1, 5), (1, 2)]), [0, 1]), Some(1));
        assert_eq!(choose(&of(&[(1, 2), (1, 5)]), [0, 1]), Some(0));
        assert_eq!(choose(&of(&[]), [0, 1]), None);
    }
}
