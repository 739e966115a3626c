//! One input from a corpus, a dictionary and a seed.

/// Longer ones are cut: what matters happens early, and short inputs run fast.
const LONGEST: usize = 64 * 1024;
/// Changes of one input, at most.
const CHANGES: usize = 12;

struct Random(u64);

impl Random {
    /// SplitMix64.
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.number() % limit.max(1) as u64) as usize
    }

    fn of<'a, T: ?Sized>(&mut self, list: &'a [&'a T]) -> Option<&'a T> {
        (!list.is_empty()).then(|| list[self.below(list.len())])
    }
}

pub(crate) fn input(corpus: &[Vec<u8>], words: &[&str], seed: u64) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0xd134_2543_de82_ef95));
    let mut bytes = pick(&mut random, corpus).to_vec();
    if random.below(4) == 0 {
        bytes.extend_from_slice(pick(&mut random, corpus));
    }
    for _ in 0..random.below(CHANGES) {
        change(&mut random, &mut bytes, corpus, words);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn pick<'a>(random: &mut Random, corpus: &'a [Vec<u8>]) -> &'a [u8] {
    corpus.get(random.below(corpus.len())).map_or(&[], Vec::as_slice)
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&str]) {
    let at = random.below(bytes.len() + 1);
    let end = (at + random.below(32)).min(bytes.len());
    match random.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = random.below(256) as u8,
        2 => bytes.insert(at, random.below(256) as u8),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let piece = bytes[at..end].to_vec();
            let times = 1 + random.below(4);
            for _ in 0..times {
                bytes.splice(at..at, piece.iter().copied());
            }
        }
        5 | 6 => {
            if let Some(word) = random.of(words) {
                bytes.splice(at..at, word.bytes());
            }
        }
        7 => {
            let other = pick(random, corpus);
            let from = random.below(other.len() + 1);
            let to = (from + random.below(64)).min(other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        _ => bytes.truncate(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_makes_the_same_input_and_seeds_make_different_ones() {
        let corpus = [b"GET / HTTP/1.1\r\n\r\n".to_vec(), b"other".to_vec()];
        let inputs: std::collections::HashSet<_> =
            (0..500).map(|seed| input(&corpus, &["\r\n"], seed)).collect();
        assert!(inputs.len() > 300, "{}", inputs.len());
        assert_eq!(input(&corpus, &[], 7), input(&corpus, &[], 7));
    }
}
