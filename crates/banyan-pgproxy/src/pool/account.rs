//! A user of a database: how it logs in to servers, its pools, what new clients are greeted with.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use banyan_topology::NodeId;
use banyan_topology::snapshot::pgproxy::{PgNode, PgproxySnapshot};

use super::Pool;
use crate::backend::connect::Credentials;
use crate::backend::stream::Address;
use crate::session::settings::{Parameters, Settings};
use crate::worker::Worker;

pub(crate) struct Account {
    pub(crate) user: Box<str>,
    pub(crate) database: Box<str>,
    pub(crate) credentials: RefCell<Credentials>,
    pools: RefCell<Vec<Rc<Pool>>>,
    /// The primary's, and the snapshot that says so.
    primary: RefCell<Option<(Arc<PgproxySnapshot>, Rc<Pool>)>>,
    /// By what clients ask for at their start: the parameters that a server then reports.
    greetings: RefCell<HashMap<Rc<Settings>, Rc<Parameters>>>,
    base: RefCell<Option<Rc<Parameters>>>,
    /// Its clients read what sequences left in their session: those that write are kept on their backend.
    pub(crate) reads_sequences: Cell<bool>,
}

/// Different startups whose greeting is kept.
const GREETINGS: usize = 256;

impl Account {
    pub(crate) fn new(user: &str, database: &str, credentials: Credentials) -> Rc<Self> {
        Rc::new(Self {
            user: user.into(),
            database: database.into(),
            credentials: RefCell::new(credentials),
            pools: RefCell::default(),
            primary: RefCell::default(),
            greetings: RefCell::default(),
            base: RefCell::default(),
            reads_sequences: Cell::new(false),
        })
    }

    /// The pool on `node`, made when first asked for.
    pub(crate) fn pool(self: &Rc<Self>, node: &PgNode, worker: &Rc<Worker>) -> Rc<Pool> {
        let address = address(node);
        let mut pools = self.pools.borrow_mut();
        let fits = |pool: &&Rc<Pool>| pool.node == node.id && pool.address == address && !pool.retired.get();
        if let Some(pool) = pools.iter().find(fits) {
            return Rc::clone(pool);
        }
        let pool = Pool::new(node.id, address, self, worker);
        pools.push(Rc::clone(&pool));
        pool
    }

    /// Where `snapshot` sends writes; found once per snapshot.
    pub(crate) fn primary(
        self: &Rc<Self>,
        snapshot: &Arc<PgproxySnapshot>,
        worker: &Rc<Worker>,
    ) -> Option<Rc<Pool>> {
        if let Some((of, pool)) = &*self.primary.borrow()
            && Arc::ptr_eq(of, snapshot)
            && !pool.retired.get()
        {
            return Some(Rc::clone(pool));
        }
        let pool = self.pool(snapshot.database.primary()?, worker);
        *self.primary.borrow_mut() = Some((Arc::clone(snapshot), Rc::clone(&pool)));
        Some(pool)
    }

    pub(crate) fn pools(&self) -> Vec<Rc<Pool>> {
        self.pools.borrow().clone()
    }

    /// Pools of nodes that are to serve no more are closed as they come back.
    pub(crate) fn keep(&self, serves: impl Fn(NodeId, &Address) -> bool) {
        self.primary.take();
        let mut pools = self.pools.borrow_mut();
        pools.retain(|pool| {
            if serves(pool.node, &pool.address) {
                return true;
            }
            pool.retired.set(true);
            pool.close_idle();
            pool.total() > 0
        });
    }

    /// What new sessions begin with may be other, or everybody is to connect anew.
    pub(crate) fn renew(&self) {
        self.greetings.borrow_mut().clear();
        for pool in self.pools() {
            pool.renew();
        }
    }

    pub(crate) fn greeting(&self, settings: &Rc<Settings>) -> Option<Rc<Parameters>> {
        self.greetings.borrow().get(settings).cloned()
    }

    pub(crate) fn remember_greeting(&self, settings: &Rc<Settings>, parameters: &Rc<Parameters>) {
        let mut greetings = self.greetings.borrow_mut();
        if greetings.len() >= GREETINGS {
            greetings.clear();
        }
        greetings.insert(Rc::clone(settings), Rc::clone(parameters));
    }

    /// What a new connection reports before anything is set: other defaults than before make greetings stale.
    pub(crate) fn reported(&self, parameters: &Rc<Parameters>) {
        let before = self.base.replace(Some(Rc::clone(parameters)));
        if before.is_some_and(|before| !Rc::ptr_eq(&before, parameters)) {
            self.greetings.borrow_mut().clear();
        }
    }
}

/// The Unix socket where there is one, else TLS where it is asked for.
pub(crate) fn address(node: &PgNode) -> Address {
    match (&node.socket, &node.tls) {
        (Some(folder), _) => Address::Unix(folder.join(format!(".s.PGSQL.{}", node.address.port()))),
        (None, Some(tls)) => Address::Tls(node.address, tls.clone()),
        (None, None) => Address::Tcp(node.address),
    }
}
