//! One entry per message whose reply is owed: what the reply will be, who gets it, what it confirms.

use std::rc::Rc;

use crate::session::marks::{Effect, Marks, Touched};
use crate::session::prepared::Statement;
use crate::session::settings::Settings;
use crate::workload::Run;

#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) kind: Kind,
    /// The message was ours: the client gets no reply.
    pub(crate) hidden: bool,
    /// What of it is measured.
    pub(crate) run: Run,
}

#[derive(Debug)]
pub(crate) enum Kind {
    /// A simple Query: everything up to ReadyForQuery.
    Query(Option<Box<After>>),
    Function,
    /// `name`: the client's; the statement is the client's own only then.
    Parse {
        statement: Rc<Statement>,
        name: Option<Box<[u8]>>,
    },
    /// A Parse that fails for sure: the client used a name twice.
    Twice,
    Bind,
    Describe,
    Execute(Option<Box<After>>),
    /// `surplus`: a statement of ours that makes room for another.
    Close {
        surplus: Option<Box<str>>,
    },
    Sync,
    /// The end of COPY data: no reply. It says which Sync came after it.
    CopyEnd,
    /// Not sent: answered by us when its turn comes.
    Parsed {
        statement: Rc<Statement>,
        name: Box<[u8]>,
    },
    Closed {
        name: Box<[u8]>,
    },
    /// A simple Query of ours.
    Ours(Ours),
}

/// What a success of the client's statement means.
#[derive(Debug, Default)]
pub(crate) struct After {
    pub(crate) effects: Vec<Effect>,
}

#[derive(Debug)]
pub(crate) enum Ours {
    /// The session's settings are brought to these.
    Settings(Rc<Settings>),
    /// All others are reset, known or not.
    Anew(Rc<Settings>),
    /// What is the session now?
    Truth { marks: Marks, names: Vec<Touched> },
    /// ROLLBACK or DISCARD ALL before the backend goes to another client.
    Clean,
    /// BEGIN of ours, so that the client's statement does not commit by itself.
    Begin,
    /// The number of the open transaction.
    Number,
    /// The end of what our BEGIN began.
    Commit,
    /// What became of a transaction.
    Outcome,
    /// DISCARD SEQUENCES: when it fails, the client's own statement will, too.
    Forget,
}

impl After {
    /// A statement of a text has succeeded: what that means.
    pub(super) fn next(&mut self, command: &[u8]) -> Option<Effect> {
        let at = self
            .effects
            .iter()
            .position(|effect| effect.command() == command)?;
        Some(self.effects.remove(at))
    }
}

impl Kind {
    /// ReadyForQuery answers it.
    pub(crate) fn ends_unit(&self) -> bool {
        matches!(self, Self::Query(_) | Self::Function | Self::Sync | Self::Ours(_))
    }

    /// The server says nothing to it.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self, Self::CopyEnd | Self::Parsed { .. } | Self::Closed { .. })
    }
}
