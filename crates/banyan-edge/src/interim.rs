//! Interim answers (1xx) on their way from an instance to the client, while the final one is awaited.
//!
//! Whoever polls the request puts them here, whoever polled that takes them; both are one task.

use std::cell::{Cell, RefCell};

use http::{Response, StatusCode};

use crate::headers;

/// Of one request; more are dropped, as they may be (RFC 9110 §15.2).
const MOST: u8 = 16;

#[derive(Default)]
pub(crate) struct Interim {
    waiting: RefCell<Vec<Response<()>>>,
    passed: Cell<u8>,
}

impl Interim {
    /// Of the next request.
    pub(crate) fn begin(&self) {
        self.waiting.borrow_mut().clear();
        self.passed.set(0);
    }

    pub(crate) fn put(&self, mut answer: Response<()>) {
        if self.passed.get() < MOST {
            self.passed.set(self.passed.get() + 1);
            headers::strip_hop_by_hop(answer.headers_mut());
            answer.headers_mut().remove(http::header::CONTENT_LENGTH);
            self.waiting.borrow_mut().push(answer);
        }
    }

    /// The client may send its body.
    pub(crate) fn go_ahead(&self) {
        let mut answer = Response::new(());
        *answer.status_mut() = StatusCode::CONTINUE;
        self.put(answer);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    pub(crate) fn take(&self) -> Vec<Response<()>> {
        self.waiting.take()
    }
}
