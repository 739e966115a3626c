//! Who posts, follows, likes and comments: few get most of it, by a power law, as on real sites.

use std::collections::HashSet;

use super::rows::{User, post_id};
use crate::dice::Dice;
use crate::slug::PostKey;

/// One stream of dice per kind, so that more of one kind does not change another.
pub(super) const USERS: u64 = 10;
pub(super) const WORDS: u64 = 1 << 40;
const FOLLOWS: u64 = 11;
const POSTS: u64 = 12;
const LIKES: u64 = 13;
const COMMENTS: u64 = 14;

/// Ranks from 0; rank r is chosen with weight 1 / (r + 1)^exponent.
struct Ranks {
    cumulative: Vec<f64>,
}

impl Ranks {
    fn new(count: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let cumulative = (0..count)
            .map(|rank| {
                sum += 1.0 / (rank as f64 + 1.0).powf(exponent);
                sum
            })
            .collect();
        Self { cumulative }
    }

    fn pick(&self, dice: &mut Dice) -> usize {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let target = dice.unit() * total;
        let found = self.cumulative.partition_point(|sum| *sum <= target);
        found.min(self.cumulative.len().saturating_sub(1))
    }
}

/// Different pairs; gives up near the point where every pair is taken.
fn pairs(
    dice: &mut Dice,
    wanted: usize,
    mut roll: impl FnMut(&mut Dice) -> Option<(usize, usize)>,
) -> Vec<(usize, usize)> {
    let mut seen = HashSet::with_capacity(wanted);
    let mut found = Vec::with_capacity(wanted);
    for _ in 0..wanted.saturating_mul(50) {
        if found.len() == wanted {
            break;
        }
        if let Some(pair) = roll(dice).filter(|pair| seen.insert(*pair)) {
            found.push(pair);
        }
    }
    found
}

/// (follower, followee), by rank.
pub(super) fn follows(seed: u64, users: usize, wanted: usize) -> Vec<(usize, usize)> {
    let mut dice = Dice::new(seed, FOLLOWS);
    let famous = Ranks::new(users, 0.8);
    let wanted = wanted.min(users * users.saturating_sub(1));
    // The demo user follows a few, so that its feed is alive.
    let first = (1..users.min(9)).map(|followee| (0, followee)).take(wanted);
    let mut found: Vec<(usize, usize)> = first.collect();
    let mut seen: HashSet<(usize, usize)> = found.iter().copied().collect();
    let rest = pairs(&mut dice, wanted - found.len(), |dice| {
        let pair = (dice.below(users), famous.pick(dice));
        (pair.0 != pair.1 && seen.insert(pair)).then_some(pair)
    });
    found.extend(rest);
    found
}

/// The authors of the posts, in the order of time.
pub(super) fn posts(seed: u64, users: &[User], wanted: usize) -> Vec<PostKey> {
    let mut dice = Dice::new(seed, POSTS);
    let busy = Ranks::new(users.len(), 0.6);
    let key = |(at, author): (usize, usize)| PostKey {
        author_id: users[author].id,
        id: post_id(seed, at),
    };
    let authors: Vec<usize> = (0..wanted).map(|_| busy.pick(&mut dice)).collect();
    authors.into_iter().enumerate().map(key).collect()
}

/// (post, user)
pub(super) fn likes(seed: u64, users: usize, posts: usize, wanted: usize) -> Vec<(usize, usize)> {
    if posts == 0 {
        return Vec::new();
    }
    let mut dice = Dice::new(seed, LIKES);
    let loved = Ranks::new(posts, 0.5);
    pairs(&mut dice, wanted.min(users * posts), |dice| {
        // Spread the loved ones over time: neighbouring ranks are far apart.
        let post = loved.pick(dice) * 7919 % posts;
        Some((post, dice.below(users)))
    })
}

/// (post, user); repetitions are fine.
pub(super) fn comments(seed: u64, users: usize, posts: usize, wanted: usize) -> Vec<(usize, usize)> {
    if posts == 0 {
        return Vec::new();
    }
    let mut dice = Dice::new(seed, COMMENTS);
    (0..wanted)
        .map(|_| (dice.below(posts), dice.below(users)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_are_different_never_of_oneself_and_favour_few() {
        let found = follows(1, 1000, 18_000);
        assert_eq!(found.len(), 18_000);
        assert_eq!(found.iter().collect::<HashSet<_>>().len(), 18_000);
        assert!(found.iter().all(|(follower, followee)| follower != followee));
        let of = |user| found.iter().filter(|(_, followee)| *followee == user).count();
        assert!(of(0) > 10 * of(900), "{} and {}", of(0), of(900));
        assert_eq!(found, follows(1, 1000, 18_000));
        assert_ne!(found, follows(2, 1000, 18_000));
    }

    #[test]
    fn small_and_full_graphs_end() {
        assert_eq!(follows(1, 1, 10), []);
        assert!(follows(1, 3, 100).len() <= 6);
        assert_eq!(likes(1, 3, 0, 10), []);
        assert!(likes(1, 2, 2, 100).len() <= 4);
    }
}
