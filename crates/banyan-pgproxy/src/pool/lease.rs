//! A borrowed backend: given back it serves the next client, dropped it is closed.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use super::Pool;
use crate::backend::Backend;

/// A borrowed backend.
pub(crate) struct Lease {
    backend: Option<Box<Backend>>,
    pub(crate) pool: Rc<Pool>,
}

impl Lease {
    pub(super) fn new(pool: &Rc<Pool>, backend: Box<Backend>) -> Self {
        Self {
            backend: Some(backend),
            pool: Rc::clone(pool),
        }
    }

    /// To the next in line, or to the idle ones. Only a backend that is idle and not spent is used again; one that a
    /// cancel request is on its way to waits until that has arrived.
    pub(crate) fn give_back(mut self) {
        let old = self.pool.renewed.get().is_some_and(|renewed| self.born < renewed);
        let fit = self.is_idle() && !self.spent && self.failure.is_none();
        let usable = fit && !old && !self.pool.retired.get();
        if !usable {
            return;
        }
        let Some(mut backend) = self.backend.take() else {
            return;
        };
        backend.info.client.set(0);
        backend.info.statements.set(backend.known.len());
        let pool = Rc::clone(&self.pool);
        drop(self);
        if backend.cancels.get() > 0 {
            let lease = Lease::new(&pool, backend);
            crate::frontend::cancel::give_back_later(lease);
            return;
        }
        if pool.open() {
            loop {
                let waiter = pool.state.borrow_mut().waiters.pop_front();
                let Some(waiter) = waiter else { break };
                match waiter.to.send(Ok(Lease::new(&pool, backend))) {
                    Ok(()) => return,
                    Err(Ok(mut lease)) => match lease.backend.take() {
                        Some(back) => backend = back,
                        None => return,
                    },
                    Err(Err(_)) => return,
                }
            }
        } else if let Some(worker) = pool.worker.upgrade()
            && worker.closes_idle()
        {
            drop(Lease::new(&pool, backend));
            return;
        }
        pool.rest(backend);
    }
}

impl Deref for Lease {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        self.backend
            .as_ref()
            .expect("a lease holds its backend until it is consumed")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Backend {
        self.backend
            .as_mut()
            .expect("a lease holds its backend until it is consumed")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.backend.take().is_some() {
            self.pool.closed();
        }
    }
}
