//! What a statement may have changed of its session, and what its success means.

/// What may have changed, or why a backend stays with its client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks(pub(super) u32);

impl Marks {
    pub(crate) const NONE: Self = Self(0);
    /// Settings: their names are listed beside.
    pub(crate) const SETTINGS: Self = Self(1);
    /// Temporary tables, views, functions.
    pub(crate) const TEMPORARY: Self = Self(1 << 1);
    pub(crate) const ADVISORY: Self = Self(1 << 2);
    /// Cursors WITH HOLD.
    pub(crate) const CURSOR: Self = Self(1 << 3);
    /// PREPARE in SQL.
    pub(crate) const PREPARED: Self = Self(1 << 4);
    pub(crate) const LISTEN: Self = Self(1 << 5);
    /// LOAD: cannot be undone.
    pub(crate) const LOAD: Self = Self(1 << 6);
    /// Something that cannot be named.
    pub(crate) const UNKNOWN: Self = Self(1 << 7);
    /// Reads what nextval left in the session.
    pub(crate) const SEQUENCE_READ: Self = Self(1 << 8);
    /// May advance a sequence.
    pub(crate) const SEQUENCE_WRITE: Self = Self(1 << 9);
    /// The pool is in session mode.
    pub(crate) const SESSION_MODE: Self = Self(1 << 10);
    /// The server did not answer what the session is (a `statement_timeout` of the client's, a cancel): it is asked again.
    pub(crate) const DOUBT: Self = Self(1 << 11);
    /// Code that cannot be looked into has run: the server is asked for all that it can tell, and what it cannot tell
    /// (settings that nobody has defined) is reset before another client gets the backend.
    pub(crate) const HIDDEN: Self = Self(1 << 12);
    /// Definitions may have changed: what a name stands for is to be read anew.
    pub(crate) const DEFINITIONS: Self = Self(1 << 13);
    /// Of a statement: definitions had not been read when it was looked at, so all that is known is its text.
    pub(crate) const UNREAD: Self = Self(1 << 14);
    /// To the end of the transaction, names may stand for something else (`SET LOCAL search_path`).
    pub(crate) const LOCAL: Self = Self(1 << 15);
    /// What sessions begin with may be other (`ALTER ROLE ... SET`).
    pub(crate) const DEFAULTS: Self = Self(1 << 16);
    /// Needs no question to the server.
    pub(crate) const FREE: Self = Self(
        Self::SEQUENCE_READ.0
            | Self::SEQUENCE_WRITE.0
            | Self::DEFINITIONS.0
            | Self::LOCAL.0
            | Self::DEFAULTS.0,
    );

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    #[must_use]
    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub(crate) fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// For people: the first reason.
    pub(crate) fn reason(self) -> &'static str {
        const NAMES: [(Marks, &str); 11] = [
            (Marks::SESSION_MODE, "session mode"),
            (Marks::TEMPORARY, "temporary objects"),
            (Marks::ADVISORY, "advisory locks"),
            (Marks::CURSOR, "cursor WITH HOLD"),
            (Marks::PREPARED, "PREPARE in SQL"),
            (Marks::LISTEN, "LISTEN"),
            (Marks::LOAD, "LOAD"),
            (Marks::UNKNOWN, "unknown settings"),
            (Marks::DOUBT, "session not known yet"),
            (Marks::HIDDEN, "code that cannot be looked into"),
            (Marks::SEQUENCE_WRITE, "sequence state"),
        ];
        let found = NAMES.iter().find(|(mark, _)| self.has(*mark));
        found.map_or("", |(_, name)| name)
    }
}

/// What the server's success means for what we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// `DEALLOCATE name`, lower case unless quoted.
    Deallocate(Box<[u8]>),
    DeallocateAll,
    DiscardAll,
    ResetAll,
}

impl Effect {
    /// What the server says of its success (CommandComplete).
    pub(crate) fn command(&self) -> &'static [u8] {
        match self {
            Self::Deallocate(_) => b"DEALLOCATE\0",
            Self::DeallocateAll => b"DEALLOCATE ALL\0",
            Self::DiscardAll => b"DISCARD ALL\0",
            Self::ResetAll => b"RESET\0",
        }
    }
}

/// A setting that is touched; its name in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Touched {
    pub(crate) name: Box<str>,
    /// By RESET: it goes back to what the client asked for at its start.
    pub(crate) reset: bool,
}

/// A name of a prepared statement in the text: EXECUTE, DEALLOCATE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) name: Box<[u8]>,
}
