//! What a client waits for: a backend, in line; the end of a hold.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use banyan_runtime::Clock;

use super::Activity;
use super::client::{Client, Ending};
use crate::hold::Parked;
use crate::pool::{Denied, Lease};
use crate::respond::Refusal;

/// Bytes of a client that waits for a backend.
const WAITING_INPUT: usize = 1 << 20;

impl Client {
    /// A backend for the unit that begins: at once, or in line.
    pub(super) async fn acquire(&mut self) -> Result<Lease, Ending> {
        self.shared.activity.set(Activity::Waiting);
        self.worker.metrics.waiting.increment();
        let begun = Clock.now();
        let mut held = Duration::ZERO;
        let result = self.wait_in_line(begun, &mut held).await;
        self.worker.metrics.waiting.decrement();
        self.shared.activity.set(Activity::Idle);
        let now = Clock.now();
        let (metrics, second) = (&self.worker.metrics, self.worker.second(now));
        let waited = now.saturating_duration_since(begun);
        metrics.pool_wait.record(second, waited.saturating_sub(held));
        if !held.is_zero() {
            metrics.hold_wait.record(second, held);
        }
        self.waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        result
    }

    /// `held`: how much of it was in holds.
    async fn wait_in_line(&mut self, begun: Instant, held: &mut Duration) -> Result<Lease, Ending> {
        let wait = self.worker.snapshot.borrow().database.pool.wait;
        loop {
            let pool = self.worker.primary(&self.account);
            let Some(pool) = pool.filter(|_| !self.worker.holding()) else {
                let since = Clock.now();
                self.wait_for_hold().await?;
                *held += Clock.now().saturating_duration_since(since);
                continue;
            };
            if let Some(lease) = pool.try_take() {
                return Ok(lease);
            }
            let line = pool.wait(begun + *held, begun + wait + *held);
            match self.until(line, None).await? {
                Some(Ok(Ok(lease))) => return Ok(lease),
                Some(Ok(Err(Denied::Refused(refusal)))) => return Err(refusal.into()),
                Some(Ok(Err(Denied::Held)) | Err(_)) => {}
                Some(Ok(Err(Denied::Late))) | None => {
                    let waited = Clock.now().saturating_duration_since(begun).saturating_sub(*held);
                    let refusal = match pool.last_failure() {
                        Some(failure) => Refusal::Connect(failure),
                        None => Refusal::PoolWait { waited },
                    };
                    return Err(refusal.into());
                }
            }
        }
    }

    pub(super) async fn wait_for_hold(&mut self) -> Result<(), Ending> {
        let place = self.worker.gate.park().ok_or(Refusal::ParkFull)?;
        let limit = self.worker.gate.refuses_at();
        let mut parked = Parked::new(&self.worker);
        match self.waits(place, limit, &mut parked).await? {
            Some(_) => Ok(()),
            None => Err(Refusal::Held.into()),
        }
    }

    /// What comes from `receiver`; `None` at the deadline. The client may go, cancel or be killed meanwhile.
    pub(super) async fn until<T>(
        &mut self,
        receiver: oneshot::Receiver<T>,
        deadline: Option<Instant>,
    ) -> Result<Option<Result<T, oneshot::error::RecvError>>, Ending> {
        let mut parked = Parked::new(&self.worker);
        self.waits(receiver, deadline, &mut parked).await
    }

    async fn waits<T>(
        &mut self,
        mut receiver: oneshot::Receiver<T>,
        deadline: Option<Instant>,
        parked: &mut Parked,
    ) -> Result<Option<Result<T, oneshot::error::RecvError>>, Ending> {
        let mut sleep = deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline.into())));
        std::future::poll_fn(|cx| {
            self.shared.register(cx.waker());
            if let Poll::Ready(received) = Pin::new(&mut receiver).poll(cx) {
                return Poll::Ready(Ok(Some(received)));
            }
            if self.shared.kill.get() {
                return Poll::Ready(Err(Refusal::Killed.into()));
            }
            if self.shared.take_cancels().is_some() {
                return Poll::Ready(Err(Refusal::Cancelled.into()));
            }
            if sleep
                .as_mut()
                .is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready())
            {
                return Poll::Ready(Ok(None));
            }
            self.write(cx)?;
            while self.inbox.len() < WAITING_INPUT && parked.holds(self.inbox.len()) {
                let mut scratch = self.worker.scratch.borrow_mut();
                match self.stream.poll_read(cx, &mut scratch) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(n)) if n > 0 => self.inbox.extend_from_slice(&scratch[..n]),
                    Poll::Ready(_) => return Poll::Ready(Err(Ending::Left)),
                }
            }
            Poll::Pending
        })
        .await
    }
}
