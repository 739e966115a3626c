//! Which objects lie on the disk: names and sizes alone, the least recently used first to go. Pure.

use std::collections::{BTreeMap, HashMap};

/// Of one file: the hash of what it is stored under, and a number that no other file has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Id {
    pub key: u64,
    pub number: u64,
}

struct Entry {
    bytes: u64,
    turn: u64,
}

#[derive(Default)]
pub(super) struct Index {
    entries: HashMap<Id, Entry>,
    by_key: HashMap<u64, Vec<u64>>,
    /// In the order of their last use.
    turns: BTreeMap<u64, Id>,
    next: u64,
    bytes: u64,
    /// Of files that are not complete yet.
    reserved: u64,
    limit: u64,
}

impl Index {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// What has to go then.
    pub(super) fn resize(&mut self, limit: u64) -> Vec<Id> {
        self.limit = limit;
        self.too_many()
    }

    /// Bytes are to come; what has to go for them.
    pub(super) fn reserve(&mut self, bytes: u64) -> Vec<Id> {
        self.reserved += bytes;
        self.too_many()
    }

    /// They have come, or never will.
    pub(super) fn release(&mut self, bytes: u64) {
        self.reserved -= bytes;
    }

    /// What has to go for it.
    pub(super) fn add(&mut self, id: Id, bytes: u64) -> Vec<Id> {
        self.remove(id);
        self.next += 1;
        let turn = self.next;
        self.entries.insert(id, Entry { bytes, turn });
        self.by_key.entry(id.key).or_default().push(id.number);
        self.turns.insert(turn, id);
        self.bytes += bytes;
        self.too_many()
    }

    /// `false`: it was not there.
    pub(super) fn remove(&mut self, id: Id) -> bool {
        let Some(entry) = self.entries.remove(&id) else {
            return false;
        };
        self.turns.remove(&entry.turn);
        self.bytes -= entry.bytes;
        if let Some(numbers) = self.by_key.get_mut(&id.key) {
            numbers.retain(|number| *number != id.number);
            if numbers.is_empty() {
                self.by_key.remove(&id.key);
            }
        }
        true
    }

    pub(super) fn has(&self, key: u64) -> bool {
        self.by_key.contains_key(&key)
    }

    /// All of it, used now.
    pub(super) fn take(&mut self, key: u64) -> Vec<Id> {
        let numbers = self.by_key.get(&key).cloned().unwrap_or_default();
        let ids: Vec<Id> = numbers.into_iter().map(|number| Id { key, number }).collect();
        ids.iter().for_each(|id| self.touch(*id));
        ids
    }

    /// Used now.
    pub(super) fn touch(&mut self, id: Id) {
        self.next += 1;
        if let Some(entry) = self.entries.get_mut(&id) {
            self.turns.remove(&entry.turn);
            entry.turn = self.next;
            self.turns.insert(entry.turn, id);
        }
    }

    fn too_many(&mut self) -> Vec<Id> {
        let mut gone = Vec::new();
        while self.bytes + self.reserved > self.limit
            && let Some((_, id)) = self.turns.first_key_value()
        {
            let id = *id;
            self.remove(id);
            gone.push(id);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(key: u64, number: u64) -> Id {
        Id { key, number }
    }

    #[test]
    fn what_was_not_used_longest_goes_first() {
        let mut index = Index::default();
        assert_eq!(index.resize(100), []);
        for number in 1..=3 {
            assert_eq!(index.add(id(number, number), 30), []);
        }
        assert_eq!(index.take(1), [id(1, 1)]);
        assert_eq!(index.add(id(4, 4), 30), [id(2, 2)]);
        assert_eq!((index.bytes(), index.len(), index.has(2)), (90, 3, false));
        assert_eq!(index.resize(30), [id(3, 3), id(1, 1)]);
        // What is larger than all of it does not stay.
        assert_eq!(index.add(id(5, 5), 31), [id(4, 4), id(5, 5)]);
        assert_eq!((index.bytes(), index.len()), (0, 0));
    }

    #[test]
    fn what_is_to_come_has_its_room_before_it_is_there() {
        let mut index = Index::default();
        index.resize(100);
        for number in 1..=3 {
            index.add(id(number, number), 30);
        }
        index.touch(id(1, 1));
        assert_eq!(index.reserve(40), [id(2, 2)]);
        assert_eq!(index.add(id(4, 4), 30), [id(3, 3)]);
        index.release(40);
        assert_eq!((index.add(id(5, 5), 40), index.bytes()), (Vec::new(), 100));
    }

    #[test]
    fn several_lie_under_one_key_and_each_goes_by_itself() {
        let mut index = Index::default();
        index.resize(100);
        index.add(id(7, 1), 10);
        index.add(id(7, 2), 10);
        assert!(index.remove(id(7, 1)) && !index.remove(id(7, 1)));
        assert_eq!(index.take(7), [id(7, 2)]);
    }
}
