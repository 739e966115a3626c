//! Request bodies on their way to an instance: counted, limited, and given back when nothing of them was taken.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::mirror::Copy;
use crate::filter::Form;
use crate::grpc::Messages;
use crate::request_body::{ClientBody, ClientBroke};
use crate::respond::Refusal;

/// A client may pause this long in all before its rate is judged.
const PATIENCE: Duration = Duration::from_secs(10);

/// The client's body with its limits; it outlives attempts.
pub(crate) struct Source {
    incoming: RefCell<ClientBody>,
    limit: u64,
    /// Bytes per second.
    rate: u32,
    /// Shared with the exchange, which counts them at its end.
    taken: Rc<Cell<u64>>,
    /// Time that we waited for the client, not for the instance.
    waited: Cell<Duration>,
    problem: Cell<Option<Refusal>>,
    /// Of what is taken, for somebody else.
    copy: RefCell<Option<Box<Copy>>>,
    /// Looks at what is taken, before it is passed on.
    form: RefCell<Option<Box<Form>>>,
    /// Of a gRPC call: each message has the limit, and there may be any time between two.
    messages: Option<Cell<Messages>>,
}

impl Source {
    pub(crate) fn new(incoming: ClientBody, limit: u64, rate: u32) -> Rc<Self> {
        Rc::new(Self {
            incoming: RefCell::new(incoming),
            limit,
            rate,
            taken: Rc::default(),
            waited: Cell::new(Duration::ZERO),
            problem: Cell::new(None),
            copy: RefCell::default(),
            form: RefCell::default(),
            messages: None,
        })
    }

    /// A stream of messages in place of one body.
    pub(crate) fn of_call(incoming: ClientBody, limit: u64) -> Rc<Self> {
        Rc::new(Self {
            incoming: RefCell::new(incoming),
            limit,
            rate: 0,
            taken: Rc::default(),
            waited: Cell::new(Duration::ZERO),
            problem: Cell::new(None),
            copy: RefCell::default(),
            form: RefCell::default(),
            messages: Some(Cell::default()),
        })
    }

    /// What is taken goes to a copy as well, which begins when all was.
    pub(super) fn copy_to(&self, copy: Box<Copy>) {
        *self.copy.borrow_mut() = Some(copy);
    }

    /// Looks at all of it, from the beginning.
    pub(crate) fn inspect(&self, form: Box<Form>) {
        *self.form.borrow_mut() = Some(form);
    }

    /// What these bytes, which were just taken, are refused for.
    fn objection(&self, data: &[u8]) -> Option<Refusal> {
        let mut form = self.form.borrow_mut();
        let ended = self.incoming.borrow().is_end_stream();
        form.as_mut()?.take(data, ended).err()
    }

    /// Whether these bytes, which were just taken, are too many.
    fn too_many(&self, data: &[u8]) -> bool {
        let Some(messages) = &self.messages else {
            return self.taken.get() > self.limit;
        };
        let mut state = messages.get();
        let longest = state.pass(data);
        messages.set(state);
        longest > self.limit
    }

    /// Bytes that were taken from the client; while 0, all of it can still be sent to somebody.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.get()
    }

    /// How much it is in all, where that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.incoming.borrow().size_hint().exact()
    }

    /// Where they are counted.
    pub(crate) fn counter(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.taken)
    }

    /// Time that we waited for the client so far.
    pub(crate) fn waited(&self) -> Duration {
        self.waited.get()
    }

    /// What was wrong with the client's side, if that ended the attempt.
    pub(crate) fn problem(&self) -> Option<Refusal> {
        self.problem.get()
    }

    fn fail(&self, problem: Refusal) -> Poll<Option<Result<Frame<Bytes>, BodyRefused>>> {
        self.problem.set(Some(problem));
        Poll::Ready(Some(Err(BodyRefused)))
    }

    fn too_slow(&self, waited: Duration) -> bool {
        waited >= PATIENCE && self.taken.get() < waited.as_secs().saturating_mul(u64::from(self.rate))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(copy) = self.copy.get_mut().take()
            && self.problem.get().is_none()
            && self.incoming.get_mut().is_end_stream()
        {
            copy.begin();
        }
    }
}

/// Ends an attempt; why is in its [`Source`].
#[derive(Debug, thiserror::Error)]
#[error("the client's request body was refused")]
pub(crate) struct BodyRefused;

/// The body of one attempt.
pub(crate) struct UpBody {
    source: Option<Rc<Source>>,
    waiting: Option<Waiting>,
}

struct Waiting {
    since: Instant,
    timer: Pin<Box<Sleep>>,
}

impl UpBody {
    /// `None`: the request has no body.
    pub(crate) fn new(source: Option<Rc<Source>>) -> Self {
        Self {
            source,
            waiting: None,
        }
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>, source: &Source) -> Poll<()> {
        let now = Instant::now();
        let waited = source.waited.get();
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            since: now,
            timer: Box::pin(sleep_until(
                now + PATIENCE.saturating_sub(waited).max(Duration::from_secs(1)),
            )),
        });
        while waiting.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if source.too_slow(waited + (now - waiting.since)) {
                return Poll::Ready(());
            }
            waiting.timer.as_mut().reset(now + Duration::from_secs(1));
        }
        Poll::Pending
    }
}

impl Body for UpBody {
    type Data = Bytes;
    type Error = BodyRefused;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyRefused>>> {
        let this = &mut *self;
        let Some(source) = this.source.clone() else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(&mut *source.incoming.borrow_mut()).poll_frame(cx);
        let Poll::Ready(frame) = polled else {
            std::task::ready!(this.poll_patience(cx, &source));
            return source.fail(Refusal::BodyTooSlow);
        };
        if let Some(waiting) = this.waiting.take() {
            source
                .waited
                .set(source.waited.get() + (Instant::now() - waiting.since));
        }
        match frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                source.taken.set(source.taken.get() + length);
                if let (Some(data), Some(copy)) = (frame.data_ref(), &mut *source.copy.borrow_mut()) {
                    copy.add(data);
                }
                if frame.data_ref().is_some_and(|data| source.too_many(data)) {
                    return source.fail(Refusal::BodyTooLarge);
                }
                if let Some(refusal) = frame.data_ref().and_then(|data| source.objection(data)) {
                    return source.fail(refusal);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(ClientBroke::Framing)) => {
                source.fail(Refusal::BadRequest("the body's framing is broken"))
            }
            Some(Err(ClientBroke::Gone)) => source.fail(Refusal::ClientGone),
            None => match source.objection(&[]) {
                Some(refusal) => source.fail(refusal),
                None => Poll::Ready(None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.source
            .as_ref()
            .is_none_or(|s| s.incoming.borrow().is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.source
            .as_ref()
            .map_or(SizeHint::with_exact(0), |s| s.incoming.borrow().size_hint())
    }
}
