//! Places where a process may stop for a while or for ever; tests make it do so, elsewhere they are nothing.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// The lease is taken, the loader not yet asked.
    Leased,
    /// The value is loaded, not yet stored.
    Loaded,
    /// The transaction has committed, the cache has not been told.
    Committed,
    /// A window of increments is in the database, and still in Redis.
    Counted,
}

#[cfg(not(test))]
pub(crate) async fn point(_: Point) {}

#[cfg(test)]
pub(crate) use crate::tests::point;
