//! A connection to a PostgreSQL server: how it logs in, what its session holds, which replies it owes.
//!
//! Nothing here waits: bytes come in and go out by the task that has borrowed the backend (`frontend`, or the pool's
//! own while it connects, cleans and watches).

pub(crate) mod connect;
pub(crate) mod expected;
pub(crate) mod guard;
pub(crate) mod inject;
pub(crate) mod known;
mod local;
mod meaning;
pub(crate) mod replies;
pub(crate) mod stream;

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use banyan_topology::NodeId;

use expected::{Expected, Kind};
use guard::Guard;
use known::Known;
use stream::{Address, Stream};

use crate::session::prepared::Statement;
use crate::session::settings::{Parameters, Settings};
use crate::wire::message;
use crate::wire::startup::CancelKey;
use crate::workload::Run;

/// Where a running COPY's data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copying {
    No,
    /// To the server: it ignores Sync and Flush until the end.
    In,
}

/// What was sent that no Sync follows yet, answered or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unsynced {
    Nothing,
    /// Statements were prepared and described: nothing that could be lost.
    Prepared,
    /// Something was bound, and has perhaps run: it is not committed.
    Bound,
}

/// The unnamed statement of the server's session.
#[derive(Clone, Debug)]
pub(crate) enum Unnamed {
    Nothing,
    Unknown,
    /// Of the client with this number.
    Of(u32, Rc<Statement>),
}

/// What the server said of something of our own.
#[derive(Debug)]
pub(crate) struct Failure {
    /// SQLSTATE (PostgreSQL documentation, appendix A).
    code: Vec<u8>,
    pub(crate) words: String,
}

impl Failure {
    /// A time limit or a cancel, most often meant for the client before: it says nothing of what was asked.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.code == b"57014"
    }
}

pub(crate) struct Backend {
    /// Unique in the worker.
    pub(crate) id: u64,
    pub(crate) stream: Stream,
    pub(crate) address: Address,
    pub(crate) key: CancelKey,
    pub(crate) born: Instant,
    pub(crate) since: Instant,
    pub(crate) parameters: Rc<Parameters>,
    pub(crate) settings: Rc<Settings>,
    pub(crate) known: Known,
    pub(crate) unnamed: Unnamed,
    /// The client that had it last, and how often that changed.
    pub(crate) tenant: u32,
    pub(crate) tenure: u64,
    /// What has been sent and not been answered, in order.
    pub(crate) expected: VecDeque<Expected>,
    unsynced: Unsynced,
    /// Of the last ReadyForQuery: I, T or E.
    pub(crate) status: u8,
    /// The server ignores everything up to the next Sync, and so do we.
    pub(crate) skipping: bool,
    pub(crate) copying: Copying,
    /// The simple query at the head has failed.
    failed: bool,
    /// Why the simple query that is next fails has been told: a statement that it names could not be prepared anew.
    told: bool,
    /// Why something of our own failed.
    pub(crate) failure: Option<Failure>,
    /// The row of a question of our own.
    row: Option<Vec<Option<String>>>,
    inbox: Vec<u8>,
    /// Bytes of a long message that are still to come, and whether the client gets them.
    passing: usize,
    pass_hidden: bool,
    pub(crate) outbox: Vec<u8>,
    /// A plan of a shared statement no longer fits its tables: all are to be parsed anew.
    pub(crate) stale: bool,
    /// Not to be given to another client.
    pub(crate) spent: bool,
    /// How many failovers there had been when it was connected.
    pub(crate) failovers: u64,
    /// What is to be known of a transaction before it commits.
    pub(crate) guard: Option<Box<Guard>>,
    /// What the server said when it ended the connection; the client has not been told.
    pub(crate) farewell: Option<Vec<u8>>,
    /// Code that cannot be looked into has run in its session.
    pub(crate) unclean: bool,
    /// Its session has advanced sequences.
    pub(crate) sequences: bool,
    /// Cancel requests on their way to it.
    pub(crate) cancels: Rc<Cell<u32>>,
    /// When the last statement that was measured had ended, by the worker's clock.
    free_us: u64,
    /// What the console shows of it.
    pub(crate) info: Rc<Info>,
}

/// What others in the worker see of a backend that a client has.
pub(crate) struct Info {
    pub(crate) id: u64,
    pub(crate) node: NodeId,
    pub(crate) user: Box<str>,
    /// The server's process.
    pub(crate) process: u32,
    pub(crate) born: Instant,
    /// Who has it; 0: nobody.
    pub(crate) client: Cell<u32>,
    /// Served.
    pub(crate) units: Cell<u64>,
    pub(crate) statements: Cell<usize>,
}

impl Backend {
    /// Nothing is owed, no transaction is open (nor one that waits for its Sync), no message is half.
    pub(crate) fn is_idle(&self) -> bool {
        self.status == b'I' && !self.is_open() && self.is_quiet()
    }

    /// Nothing is owed and no message is half; a transaction may be open.
    pub(crate) fn is_quiet(&self) -> bool {
        self.expected.is_empty()
            && !self.skipping
            && self.copying == Copying::No
            && self.passing == 0
            && self.inbox.is_empty()
            && self.outbox.is_empty()
    }

    /// Nothing more comes before the client goes on. Behind an error that is its Sync, which is not to be waited for here.
    pub(crate) fn has_answered(&self) -> bool {
        self.is_quiet() || self.skipping && self.expected.is_empty() && self.passing == 0
    }

    /// Part of a message has been passed on.
    pub(crate) fn is_half(&self) -> bool {
        self.passing > 0 && !self.pass_hidden
    }

    pub(crate) fn expect(&mut self, kind: Kind, hidden: bool) {
        self.push(Expected {
            kind,
            hidden,
            run: Run::default(),
        });
    }

    /// A statement of the client's, which is measured.
    pub(crate) fn expect_run(&mut self, kind: Kind, run: Run) {
        let hidden = false;
        self.push(Expected { kind, hidden, run });
    }

    fn push(&mut self, expected: Expected) {
        self.unsynced = match (&expected.kind, self.unsynced) {
            (Kind::CopyEnd, before) => before,
            (kind, _) if kind.ends_unit() => Unsynced::Nothing,
            (Kind::Bind | Kind::Execute(_), _) | (_, Unsynced::Bound) => Unsynced::Bound,
            _ => Unsynced::Prepared,
        };
        self.expected.push_back(expected);
    }

    /// Messages were sent that no Sync follows yet.
    pub(crate) fn is_open(&self) -> bool {
        self.unsynced != Unsynced::Nothing
    }

    /// Who has only prepared something so far (asyncpg, postgres.js, with a Flush) needs no backend until it goes on.
    pub(crate) fn sync_prepared(&mut self) -> bool {
        let over = self.unsynced == Unsynced::Prepared && self.status == b'I' && self.is_quiet();
        if over {
            message::sync(&mut self.outbox);
            self.expect(Kind::Sync, true);
        }
        over
    }
}
