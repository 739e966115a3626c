//! The clients' side: listener, startup and authentication, the client task, cancel, the admin console.

pub(crate) mod accept;
mod borrow;
pub(crate) mod cancel;
pub(crate) mod client;
pub(crate) mod console;
mod flight;
mod greet;
pub(crate) mod hidden;
mod leave;
mod login;
mod lost;
mod measure;
pub(crate) mod moved;
mod names;
mod reads;
mod tracking;
mod unit;
mod wait;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use tokio::sync::oneshot;

/// What others in the worker know of a client.
pub(crate) struct Shared {
    pub(crate) number: u32,
    pub(crate) secret: u32,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) user: Box<str>,
    pub(crate) since: Instant,
    /// Those that asked for a cancel on other connections; they wait until it has taken effect.
    cancels: RefCell<Vec<oneshot::Sender<()>>>,
    pub(crate) kill: Cell<bool>,
    /// The role ends: the client does, when it has no backend.
    pub(crate) drain: Cell<bool>,
    pub(crate) activity: Cell<Activity>,
    pub(crate) pins: Cell<&'static str>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activity {
    Idle,
    Waiting,
    Active,
}

impl Shared {
    pub(crate) fn new(
        number: u32,
        secret: u32,
        user: &str,
        peer: Option<SocketAddr>,
        since: Instant,
    ) -> Rc<Self> {
        Rc::new(Self {
            number,
            secret,
            peer,
            user: user.into(),
            since,
            cancels: RefCell::default(),
            kill: Cell::new(false),
            drain: Cell::new(false),
            activity: Cell::new(Activity::Idle),
            pins: Cell::new(""),
            waker: RefCell::default(),
        })
    }

    /// The task that is woken by [`Shared::wake`].
    fn register(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    pub(crate) fn cancel(&self, done: oneshot::Sender<()>) {
        self.cancels.borrow_mut().push(done);
        self.wake();
    }

    /// Those that wait for a cancel; dropping them says that it is done.
    fn take_cancels(&self) -> Option<Vec<oneshot::Sender<()>>> {
        let mut cancels = self.cancels.borrow_mut();
        (!cancels.is_empty()).then(|| std::mem::take(&mut *cancels))
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}
