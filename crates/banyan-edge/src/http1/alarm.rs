//! A time that is moved on and on without telling the runtime: it asks for the earliest one and looks again then.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

pub(crate) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// `usual`: how far away the times will mostly be.
    pub(crate) fn new(usual: Duration) -> Self {
        Self(Box::pin(sleep(usual)))
    }

    /// Ready when `due` is over; else the task is woken then, or before.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        if self.0.deadline() > due {
            self.0.as_mut().reset(due);
        }
        loop {
            ready!(self.0.as_mut().poll(cx));
            if self.0.deadline() >= due {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(due);
        }
    }
}
