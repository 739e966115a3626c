//! Who waits while every endpoint has all that it may have: oldest first, and not without end.

use std::collections::BTreeMap;

/// `W`: how to reach who waits.
#[derive(Debug)]
pub struct Line<W> {
    waiting: BTreeMap<Ticket, W>,
    next: u64,
}

/// A place in the line; older ones are less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// The line is as long as it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl<W> Default for Line<W> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            next: 0,
        }
    }
}

impl<W> Line<W> {
    /// Goes to the end, if fewer than `limit` wait.
    pub fn enter(&mut self, limit: usize, who: W) -> Result<Ticket, Full> {
        if self.waiting.len() >= limit {
            return Err(Full);
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting.insert(ticket, who);
        Ok(ticket)
    }

    /// Goes back to an old place: what was offered could not be used.
    pub fn again(&mut self, ticket: Ticket, who: W) {
        self.waiting.insert(ticket, who);
    }

    /// The oldest leaves: it is its turn.
    pub fn pop(&mut self) -> Option<W> {
        self.waiting.pop_first().map(|(_, who)| who)
    }

    /// Gives up waiting.
    pub fn leave(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_always_the_oldests_turn_and_the_line_is_bounded(
            limit in 0_usize..10, steps in prop::collection::vec((0_u8..5, any::<prop::sample::Index>()), 0..200),
        ) {
            let (mut line, mut model) = (Line::default(), Vec::<(Ticket, u32)>::new());
            let mut popped = None;
            for (number, (what, which)) in steps.into_iter().enumerate() {
                match what {
                    0..=1 => match line.enter(limit, number as u32) {
                        Ok(ticket) => model.push((ticket, number as u32)),
                        Err(Full) => prop_assert!(model.len() >= limit),
                    },
                    2 => {
                        let oldest = (!model.is_empty()).then(|| model.remove(0));
                        prop_assert_eq!(line.pop(), oldest.map(|(_, who)| who));
                        popped = oldest;
                    }
                    3 if !model.is_empty() => line.leave(model.remove(which.index(model.len())).0),
                    // At once, as the edge does it: nobody older has come meanwhile.
                    4 => if let Some((ticket, who)) = popped.take() {
                        line.again(ticket, who);
                        let place = model.partition_point(|(t, _)| *t < ticket);
                        model.insert(place, (ticket, who));
                    },
                    _ => {}
                }
                prop_assert_eq!(line.len(), model.len());
                prop_assert!(line.len() <= limit + 1);
            }
        }
    }
}
