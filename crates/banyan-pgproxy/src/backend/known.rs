//! Which statements a server connection holds under names of ours; the least used ones make room.

use std::collections::HashMap;

/// Statements per connection: each costs the server some 10 to 50 KiB.
const LIMIT: usize = 256;

#[derive(Default)]
pub(crate) struct Known {
    names: HashMap<Box<str>, Entry>,
    clock: u64,
}

struct Entry {
    used: u64,
    /// ParseComplete has come.
    certain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Has {
    No,
    /// Parse was sent.
    Perhaps,
    Yes,
}

impl Known {
    pub(crate) fn has(&mut self, name: &str) -> Has {
        self.clock += 1;
        match self.names.get_mut(name) {
            None => Has::No,
            Some(entry) => {
                entry.used = self.clock;
                if entry.certain { Has::Yes } else { Has::Perhaps }
            }
        }
    }

    /// A Parse is being sent.
    pub(crate) fn sent(&mut self, name: &str) {
        self.clock += 1;
        let entry = Entry {
            used: self.clock,
            certain: false,
        };
        self.names.insert(name.into(), entry);
    }

    pub(crate) fn confirmed(&mut self, name: &str) {
        if let Some(entry) = self.names.get_mut(name) {
            entry.certain = true;
        }
    }

    /// It was to make room, and its Close was not reached.
    pub(crate) fn stays(&mut self, name: &str) {
        self.sent(name);
        self.confirmed(name);
    }

    pub(crate) fn forget(&mut self, name: &str) {
        self.names.remove(name);
    }

    pub(crate) fn clear(&mut self) {
        self.names.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// One that has to go, when there are too many: it is forgotten and to be closed.
    pub(crate) fn surplus(&mut self) -> Option<Box<str>> {
        if self.names.len() <= LIMIT {
            return None;
        }
        let certain = self.names.iter().filter(|(_, entry)| entry.certain);
        let oldest = certain.min_by_key(|(_, entry)| entry.used)?.0.clone();
        self.names.remove(&oldest);
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_used_makes_room_and_one_that_is_not_certain_stays() {
        let mut known = Known::default();
        for number in 0..=LIMIT {
            known.sent(&format!("s{number}"));
            if number != 1 {
                known.confirmed(&format!("s{number}"));
            }
        }
        assert_eq!(known.has("s0"), Has::Yes);
        assert_eq!(known.has("s1"), Has::Perhaps);
        assert_eq!(known.surplus().as_deref(), Some("s2"));
        assert_eq!(known.surplus(), None);
        assert_eq!(known.has("s2"), Has::No);
    }
}
