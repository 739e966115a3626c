//! Sets of tables.

/// A table's oid.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TableId(u32);

impl TableId {
    pub fn new(oid: u32) -> Self {
        Self(oid)
    }

    pub fn oid(self) -> u32 {
        self.0
    }
}

/// Some tables, or all that there are and will be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Tables {
    All,
    /// In order, no table twice.
    Some(Box<[TableId]>),
}

impl Tables {
    pub fn none() -> Self {
        Self::Some(Box::default())
    }

    pub fn is_none(&self) -> bool {
        matches!(self, Self::Some(tables) if tables.is_empty())
    }

    pub fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Some(a), Self::Some(b)) => a.iter().chain(b).copied().collect(),
        }
    }

    pub fn intersects(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, other) | (other, Self::All) => !other.is_none(),
            (Self::Some(a), Self::Some(b)) => a.iter().any(|table| b.binary_search(table).is_ok()),
        }
    }
}

impl FromIterator<TableId> for Tables {
    fn from_iter<I: IntoIterator<Item = TableId>>(tables: I) -> Self {
        let mut tables: Vec<TableId> = tables.into_iter().collect();
        tables.sort_unstable();
        tables.dedup();
        Self::Some(tables.into())
    }
}
