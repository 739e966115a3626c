//! How far the end of this core has come, for connections that look at it whenever they are polled.
//!
//! A watch channel would take a lock each time; here a connection pays for it once, and then a comparison.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use super::Stage;

pub(crate) struct Stages {
    now: Cell<Stage>,
    places: RefCell<Places>,
}

#[derive(Default)]
struct Places {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// One connection's; given up when dropped.
pub(crate) struct Place {
    stages: Rc<Stages>,
    index: usize,
}

impl Stages {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(Stage::Serving),
            places: RefCell::default(),
        })
    }

    pub(crate) fn now(&self) -> Stage {
        self.now.get()
    }

    pub(super) fn set(&self, stage: Stage) {
        self.now.set(stage);
        for waker in self.places.borrow().wakers.iter().flatten() {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn enter(self: &Rc<Self>) -> Place {
        let mut places = self.places.borrow_mut();
        let index = places.free.pop().unwrap_or_else(|| {
            places.wakers.push(None);
            places.wakers.len() - 1
        });
        drop(places);
        Place {
            stages: Rc::clone(self),
            index,
        }
    }
}

impl Place {
    /// The stage now; the task is woken when that changes.
    pub(crate) fn stage(&self, cx: &Context<'_>) -> Stage {
        let mut places = self.stages.places.borrow_mut();
        let waker = &mut places.wakers[self.index];
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        self.stages.now()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.stages.places.borrow_mut();
        places.wakers[self.index] = None;
        places.free.push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_and_see_every_change() {
        let stages = Stages::new();
        let cx = Context::from_waker(Waker::noop());
        let (first, second) = (stages.enter(), stages.enter());
        drop(first);
        let third = stages.enter();
        assert_eq!((third.index, second.index), (0, 1));
        assert_eq!(second.stage(&cx), Stage::Serving);
        stages.set(Stage::Ended);
        assert_eq!(third.stage(&cx), Stage::Ended);
    }
}
