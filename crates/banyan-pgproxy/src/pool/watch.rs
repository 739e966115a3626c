//! Idle backends are watched: what the server says to them meanwhile is taken, and those that broke are closed at once.

use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use banyan_runtime::{Clock, TaskKind};

use super::{Lease, Pool};
use crate::backend::Backend;
use crate::backend::connect::ends;
use crate::wire::{frame, message};
use crate::worker::Worker;

/// Idle for so long: closed, but for one.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// Older than this: replaced, so that defaults changed on the server come into force.
const AGE_LIMIT: Duration = Duration::from_secs(3600);
const LOOK_EVERY: Duration = Duration::from_secs(10);

pub(super) fn start(pool: &Rc<Pool>, worker: &Rc<Worker>) {
    let weak = Rc::downgrade(pool);
    worker
        .tasks
        .spawn_local(TaskKind::Background, "idle backends", async move {
            loop {
                let mut first = true;
                let woken = std::future::poll_fn(|cx| {
                    if !std::mem::take(&mut first) {
                        return Poll::Ready(true);
                    }
                    let Some(pool) = weak.upgrade() else {
                        return Poll::Ready(false);
                    };
                    *pool.watcher.borrow_mut() = Some(cx.waker().clone());
                    look_at_all(&pool);
                    Poll::Pending
                });
                if tokio::time::timeout(LOOK_EVERY, woken).await == Ok(false) {
                    return;
                }
            }
        });
}

fn look_at_all(pool: &Rc<Pool>) {
    let now = Clock.now();
    let idle = std::mem::take(&mut pool.state.borrow_mut().idle);
    let mut left = idle.len();
    for mut backend in idle {
        let rested = now.saturating_duration_since(backend.since) > IDLE_LIMIT && left > 1;
        let old = now.saturating_duration_since(backend.born) > AGE_LIMIT;
        if !rested && !old && look(pool, &mut backend) {
            pool.state.borrow_mut().idle.push(backend);
        } else {
            left -= 1;
            drop(Lease::new(pool, backend));
        }
    }
}

/// Takes what the server has said to an idle backend; `false`: it is not to be used again.
pub(super) fn look(pool: &Pool, backend: &mut Backend) -> bool {
    let watcher = pool.watcher.borrow();
    let waker = watcher.as_ref().unwrap_or(Waker::noop());
    let mut context = Context::from_waker(waker);
    let mut buffer = [0; 512];
    loop {
        match backend.stream.poll_read(&mut context, &mut buffer) {
            Poll::Pending => return true,
            Poll::Ready(Ok(n)) if n > 0 => {
                if !idle_messages(pool, backend, &buffer[..n]) {
                    return false;
                }
            }
            Poll::Ready(_) => {
                if let Some(worker) = pool.worker() {
                    worker.metrics.eof.increment();
                    worker.suspect(pool.node);
                }
                return false;
            }
        }
    }
}

/// Notices and changed parameters are fine; an error or half a message is the end.
fn idle_messages(pool: &Pool, backend: &mut Backend, mut bytes: &[u8]) -> bool {
    while let Ok(Some(head)) = frame::from_server(bytes) {
        let Some(body) = bytes.get(frame::HEADER..head.total()) else {
            return false;
        };
        let worker = pool.worker();
        match head.tag {
            b'N' => {}
            b'S' => {
                let parameter = message::read_parameter(body);
                if let (Some((name, value)), Some(worker)) = (parameter, worker) {
                    let mut parameters = Rc::clone(&backend.parameters);
                    if parameters.set(name, value) {
                        backend.parameters = worker.shop.intern_parameters(Rc::unwrap_or_clone(parameters));
                    }
                }
            }
            b'E' => {
                if let Some(worker) = worker {
                    let code = message::error_field(body, b'C').unwrap_or_default();
                    worker.signal_error(code);
                    if ends(code) {
                        worker.suspect(pool.node);
                    }
                }
                return false;
            }
            _ => return false,
        }
        bytes = &bytes[head.total()..];
    }
    bytes.is_empty()
}
