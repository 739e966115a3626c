//! The protocols that are compared: what a writer does to the cache, what a fill is held to, where a loader reads, what
//! repairs the cache later. A row of the table in `docs/decisions/cache-protocol.md` is one value.

/// What a writer does besides its commit. It acknowledges after its last step here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// Commit, SET the new value.
    Set,
    /// Commit, SET the new value unless the cache knows a newer version.
    SetNewer,
    /// DEL, then commit.
    DelBefore,
    /// Commit, then invalidate.
    Invalidate,
    /// The same, and once more at some later time.
    InvalidateTwice,
    /// Commit only.
    Nothing,
}

/// When a loaded value may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    Always,
    /// Not over a newer version.
    Newer,
    /// By the holder of the lease, which an invalidation takes away.
    Lease,
}

/// Where a loader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Primary,
    Replica,
    /// A replica that has reached the primary's position as sampled after the lease was granted.
    GatedReplica,
}

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    None,
    /// Leases are numbered by a counter in Redis.
    CounterTokens,
    /// An invalidation leaves the lease.
    KeepsLease,
    /// A fill does not look whose lease it is.
    IgnoresToken,
    /// Who found the lease taken stores what it loaded all the same.
    BusyFills,
    /// The gate of the replica was sampled before the lease was asked for.
    EarlyGate,
    /// The loader reads by a snapshot from before the lease (REPEATABLE READ).
    EarlySnapshot,
    /// A row is marked as applied before it is.
    MarksFirst,
    /// Rows are deleted by their age, applied or not.
    RetiresByAge,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    pub(crate) write: Write,
    pub(crate) fill: Fill,
    pub(crate) source: Source,
    /// An invalidation leaves its version behind; older fills are refused.
    pub(crate) floor: bool,
    /// The transaction leaves a row, by which somebody else invalidates as well.
    pub(crate) durable: bool,
    /// After a failover of Redis all rows are applied again.
    pub(crate) replay: bool,
    pub(crate) mutation: Mutation,
}

const C: Protocol = Protocol {
    write: Write::Invalidate,
    fill: Fill::Always,
    source: Source::Primary,
    floor: false,
    durable: false,
    replay: false,
    mutation: Mutation::None,
};
const G: Protocol = Protocol {
    fill: Fill::Lease,
    ..C
};
const I: Protocol = Protocol { floor: true, ..G };
const J: Protocol = Protocol {
    source: Source::Replica,
    ..I
};
const K: Protocol = Protocol { durable: true, ..I };
const M: Protocol = Protocol { replay: true, ..K };
/// The SDK's: lease, plain DEL, row in the transaction, replay; loads from the primary.
pub(crate) const Q: Protocol = Protocol { floor: false, ..M };
/// The SDK's with `from_replica`.
pub(crate) const R: Protocol = Protocol {
    source: Source::GatedReplica,
    ..Q
};

/// Every row of the table, by its letter.
pub(crate) const ROWS: [(char, Protocol); 19] = [
    (
        'A',
        Protocol {
            write: Write::Set,
            ..C
        },
    ),
    (
        'B',
        Protocol {
            write: Write::DelBefore,
            ..C
        },
    ),
    ('C', C),
    (
        'D',
        Protocol {
            write: Write::InvalidateTwice,
            ..C
        },
    ),
    (
        'E',
        Protocol {
            fill: Fill::Newer,
            ..C
        },
    ),
    (
        'F',
        Protocol {
            fill: Fill::Newer,
            floor: true,
            ..C
        },
    ),
    ('G', G),
    (
        'H',
        Protocol {
            source: Source::Replica,
            ..G
        },
    ),
    ('I', I),
    ('J', J),
    ('K', K),
    ('L', Protocol { durable: true, ..J }),
    ('M', M),
    (
        'N',
        Protocol {
            write: Write::Nothing,
            ..M
        },
    ),
    (
        'O',
        Protocol {
            write: Write::SetNewer,
            ..M
        },
    ),
    ('Q', Q),
    ('R', R),
    (
        'S',
        Protocol {
            source: Source::Replica,
            ..Q
        },
    ),
    // Beyond the design's table: what an app has that uses the scripts and leaves no row.
    ('T', Protocol { durable: false, ..Q }),
];
