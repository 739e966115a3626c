//! A body on its way from the origin, into the store and to whoever reads it meanwhile, on any core.
//!
//! One task pushes, any number read, each at its own place. A body that turns out too large to be stored spills: from then
//! on only what the slowest reader still needs is held, and whoever pushes waits for it, unless it holds up others for too long. One that is written to a file is read
//! from there, by those who come late, too; nobody waits for a slow reader then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;

use super::disk::body::{Body, Reading};
use super::kept::Kept;

/// Of a body that spills.
const WINDOW: u64 = 1 << 20;

pub(crate) struct Flow {
    state: Mutex<State>,
    /// Where it goes, if not into the memory.
    file: Option<Arc<Body>>,
}

#[derive(Default)]
struct State {
    pieces: Vec<(u64, Bytes)>,
    /// Behind the last byte that came.
    next: u64,
    end: Option<End>,
    /// Where each one is.
    readers: Vec<Standing>,
    /// Of readers that wait for more.
    wakers: Vec<Waker>,
    spills: bool,
    /// Of whoever pushes.
    pusher: Option<Waker>,
}

/// Where somebody is who reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Nobody.
    Free,
    At(u64),
    /// It held up others: it gets no more.
    LeftBehind,
}

/// How a body ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Whole(Option<HeaderMap>),
    /// The rest never comes.
    Broken,
}

/// What there is for a reader.
pub(crate) enum Read {
    Data(Bytes),
    End(End),
}

impl Flow {
    /// `first`: the place of the first byte in the whole.
    pub(crate) fn new(first: u64) -> Arc<Self> {
        let state = State {
            next: first,
            ..State::default()
        };
        Arc::new(Self {
            state: Mutex::new(state),
            file: None,
        })
    }

    /// Somebody writes it there.
    pub(crate) fn in_file(body: Arc<Body>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            file: Some(body),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.state();
        let at = state.next;
        state.next += bytes.len() as u64;
        state.pieces.push((at, bytes));
        state.wake();
    }

    /// `None`: it spilled, or broke off.
    pub(crate) fn finish(&self, end: End) -> Option<Kept> {
        let mut state = self.state();
        let trailers = match &end {
            End::Whole(trailers) => trailers.clone(),
            End::Broken => None,
        };
        let whole = matches!(end, End::Whole(_)) && !state.spills;
        state.end = Some(end);
        state.wake();
        whole.then(|| Kept::new(state.pieces.clone(), trailers))
    }

    /// What came of a body that broke off.
    pub(crate) fn so_far(&self) -> Option<Kept> {
        let state = self.state();
        (!state.spills && !state.pieces.is_empty()).then(|| Kept::new(state.pieces.clone(), None))
    }

    /// It will not be stored.
    pub(crate) fn spill(&self) {
        self.state().spills = true;
    }

    pub(crate) fn is_over(&self) -> bool {
        match &self.file {
            Some(file) => file.is_over(),
            None => self.state().end.is_some(),
        }
    }

    pub(crate) fn is_read(&self) -> bool {
        self.state().places().next().is_some()
    }

    /// Ready when more may be pushed; `false`: nobody wants it.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<bool> {
        let mut state = self.state();
        if !state.spills {
            return Poll::Ready(true);
        }
        let Some(slowest) = state.places().min() else {
            return Poll::Ready(false);
        };
        state
            .pieces
            .retain(|(at, bytes)| at + bytes.len() as u64 > slowest);
        if state.next.saturating_sub(slowest) < WINDOW {
            return Poll::Ready(true);
        }
        state.pusher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Gives up those who hold up others: who is waited for while somebody has read all that came. `false`: nobody waits.
    pub(crate) fn leave_behind(&self) -> bool {
        let mut state = self.state();
        let next = state.next;
        if !state.places().any(|at| at == next) {
            return false;
        }
        for reader in &mut state.readers {
            if matches!(reader, Standing::At(at) if next - *at >= WINDOW) {
                *reader = Standing::LeftBehind;
            }
        }
        true
    }

    /// Somebody who reads from the first byte on; `None`: it is gone.
    pub(crate) fn reader(self: &Arc<Self>, at: u64) -> Option<Place> {
        let mut state = self.state();
        if state.spills {
            return None;
        }
        let free = state.readers.iter().position(|reader| *reader == Standing::Free);
        let index = free.unwrap_or_else(|| {
            state.readers.push(Standing::Free);
            state.readers.len() - 1
        });
        state.readers[index] = Standing::At(at);
        drop(state);
        Some(Place {
            flow: Arc::clone(self),
            index,
            reading: self.file.as_ref().map(Body::reader),
        })
    }
}

impl State {
    fn places(&self) -> impl Iterator<Item = u64> {
        self.readers.iter().filter_map(|reader| match reader {
            Standing::At(at) => Some(*at),
            Standing::Free | Standing::LeftBehind => None,
        })
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// One reader's; given up when dropped.
pub(crate) struct Place {
    flow: Arc<Flow>,
    index: usize,
    /// Of its file.
    reading: Option<Reading>,
}

impl Place {
    /// What begins at `at`, which never goes back.
    pub(crate) fn poll(&mut self, cx: &Context<'_>, at: u64) -> Poll<Read> {
        if let Some(reading) = &mut self.reading {
            return reading.poll(cx, at);
        }
        let mut state = self.flow.state();
        if state.readers[self.index] == Standing::LeftBehind {
            return Poll::Ready(Read::End(End::Broken));
        }
        state.readers[self.index] = Standing::At(at);
        let behind = state.pieces.partition_point(|(first, _)| *first <= at);
        let piece = behind.checked_sub(1).and_then(|index| {
            let (first, bytes) = &state.pieces[index];
            let skip = usize::try_from(at - first).ok()?;
            (skip < bytes.len()).then(|| bytes.slice(skip..))
        });
        if let Some(pusher) = state.pusher.take() {
            pusher.wake();
        }
        if let Some(bytes) = piece {
            return Poll::Ready(Read::Data(bytes));
        }
        if let Some(end) = &state.end {
            return Poll::Ready(Read::End(end.clone()));
        }
        if !state.wakers.iter().any(|known| known.will_wake(cx.waker())) {
            state.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.flow.state();
        state.readers[self.index] = Standing::Free;
        if let Some(pusher) = state.pusher.take() {
            pusher.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(read: Poll<Read>) -> String {
        match read {
            Poll::Ready(Read::Data(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
            Poll::Ready(Read::End(end)) => format!("{end:?}"),
            Poll::Pending => "pending".to_owned(),
        }
    }

    #[test]
    fn readers_get_all_of_it_each_at_its_own_pace() {
        let cx = Context::from_waker(Waker::noop());
        let flow = Flow::new(0);
        let mut first = flow.reader(0).unwrap();
        assert_eq!(text(first.poll(&cx, 0)), "pending");
        flow.push(Bytes::from("abc"));
        assert_eq!(text(first.poll(&cx, 0)), "abc");
        flow.push(Bytes::from("de"));
        let mut second = flow.reader(0).unwrap();
        assert_eq!(text(second.poll(&cx, 0)), "abc");
        let kept = flow.finish(End::Whole(None)).unwrap();
        assert_eq!((text(first.poll(&cx, 3)), kept.length()), ("de".to_owned(), 5));
        assert_eq!(text(first.poll(&cx, 5)), "Whole(None)");
    }

    #[test]
    fn one_that_spills_holds_a_window_and_ends_with_its_readers() {
        let cx = Context::from_waker(Waker::noop());
        let flow = Flow::new(0);
        let mut reader = flow.reader(0).unwrap();
        flow.push(Bytes::from(vec![0; 2 << 20]));
        assert!(flow.poll_room(&cx).is_ready());
        flow.spill();
        assert!(flow.poll_room(&cx).is_pending());
        assert!(flow.reader(0).is_none());
        assert!(reader.poll(&cx, 2 << 20).is_pending());
        assert_eq!(flow.poll_room(&cx), Poll::Ready(true));
        drop(reader);
        assert_eq!(flow.poll_room(&cx), Poll::Ready(false));
        assert!(flow.finish(End::Whole(None)).is_none());
    }

    #[test]
    fn who_holds_up_others_is_left_behind_and_nobody_else() {
        let cx = Context::from_waker(Waker::noop());
        let flow = Flow::new(0);
        let (mut slow, mut near, mut fast) = (
            flow.reader(0).unwrap(),
            flow.reader(0).unwrap(),
            flow.reader(0).unwrap(),
        );
        flow.push(Bytes::from(vec![0; 1 << 20]));
        flow.push(Bytes::from(vec![1; 1 << 20]));
        flow.spill();
        assert!(flow.poll_room(&cx).is_pending());
        assert!(!flow.leave_behind(), "nobody waits yet");
        assert!(slow.poll(&cx, 0).is_ready() && near.poll(&cx, (1 << 20) + 1).is_ready());
        assert!(fast.poll(&cx, 2 << 20).is_pending());
        assert!(flow.leave_behind());
        assert_eq!(flow.poll_room(&cx), Poll::Ready(true));
        assert_eq!(text(slow.poll(&cx, 0)), "Broken");
        assert!(near.poll(&cx, (1 << 20) + 2).is_ready());
        flow.push(Bytes::from("z"));
        assert_eq!(text(fast.poll(&cx, 2 << 20)), "z");
        drop((slow, near, fast));
        assert!(!flow.is_read());
    }
}
