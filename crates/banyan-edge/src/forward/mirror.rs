//! Copies of requests for another process: sent beside the request, their answers read and dropped.
//!
//! Nothing waits for a copy, and no failure of one is anybody's: it waits for no instance, is never tried again once it may
//! have had an effect, says nothing of an instance's health but that nobody listens there, and is in no access log. One
//! with a body begins when the request's own has been taken whole.
//!
//! Tasks: one per copy under way, at most `at_once` per core and route. Memory: the copied bodies.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Response};
use http_body::Body as _;
use tokio::time::timeout;

use super::Answer;
use super::attempt::{self, Party};
use super::body::Source;
use super::choose::{self, Wanted};
use super::time::Time;
use crate::core::Core;
use crate::core::groups::{Group, Groups};
use crate::exchange::Exchange;
use crate::introduction::Introduction;
use crate::metrics::RouteCells;
use crate::proxy_protocol::Ends;
use crate::request_body::ClientBody;

/// What tells a copy; clients cannot say it.
pub(crate) const MARK: HeaderName = HeaderName::from_static("x-banyan-mirror");
/// Of an answer that nobody wants, so much is read to keep the connection.
const UNWANTED: usize = 1 << 20;
/// A kept connection may turn out to be closed.
const ATTEMPTS: usize = 3;

/// A route's rule.
pub(crate) struct Mirror {
    group: Rc<Group>,
    percent: u64,
    unsafe_methods: bool,
    body: usize,
    at_once: u64,
    /// The route's name.
    mark: HeaderValue,
    cells: Arc<RouteCells>,
}

impl Mirror {
    /// `None`: there is no such process.
    pub(crate) fn compile(
        rule: &banyan_config::Mirror,
        route: &str,
        groups: &Groups,
        cells: &Arc<RouteCells>,
    ) -> Option<Self> {
        Some(Self {
            group: groups.of(&rule.process)?,
            percent: rule.percent.into(),
            unsafe_methods: rule.unsafe_methods,
            body: usize::try_from(rule.body).unwrap_or(usize::MAX),
            at_once: rule.at_once.into(),
            mark: HeaderValue::from_str(route).unwrap_or(HeaderValue::from_static("1")),
            cells: Arc::clone(cells),
        })
    }

    /// Copies a request, if it is one to be copied. `head`: as instances get it.
    pub(crate) fn copy(&self, exchange: &Exchange, head: &Parts, source: Option<&Rc<Source>>) {
        let meant = self.unsafe_methods || head.method.is_safe();
        if !meant || exchange.is_grpc() || head.headers.contains_key(header::UPGRADE) {
            return;
        }
        if exchange.core.random.borrow_mut().number() % 100 >= self.percent {
            return;
        }
        if self.cells.mirror.active.get() >= self.at_once {
            return self.cells.mirror.busy.increment();
        }
        let copy = Copy::new(self, exchange, head);
        match source {
            None => copy.begin(),
            Some(source) if source.length().is_some_and(|length| length > self.body as u64) => {
                self.cells.mirror.too_large.increment();
            }
            Some(source) => source.copy_to(copy),
        }
    }
}

/// A request of its own; counted as long as it lives.
pub(crate) struct Copy {
    core: Rc<Core>,
    group: Rc<Group>,
    cells: Arc<RouteCells>,
    ends: Ends,
    wanted: Wanted,
    head: Parts,
    body: Vec<u8>,
    most: usize,
}

impl Copy {
    fn new(rule: &Mirror, exchange: &Exchange, head: &Parts) -> Box<Self> {
        let mut head = head.clone();
        head.headers.remove(header::EXPECT);
        head.headers.insert(MARK, rule.mark.clone());
        rule.cells.mirror.active.increment();
        Box::new(Self {
            core: Rc::clone(&exchange.core),
            group: Rc::clone(&rule.group),
            cells: Arc::clone(&rule.cells),
            ends: exchange.peer.ends,
            wanted: Wanted::of(exchange, &head),
            head,
            body: Vec::new(),
            most: rule.body,
        })
    }

    /// A part of the body. What is too much of it is not kept.
    pub(super) fn add(&mut self, data: &[u8]) {
        if self.body.len() + data.len() > self.most {
            // One byte too many stays: it is not to begin.
            self.body = vec![0; self.most + 1];
        } else {
            self.body.extend_from_slice(data);
        }
    }

    /// With the body that it has.
    pub(super) fn begin(mut self: Box<Self>) {
        if self.body.len() > self.most {
            return self.cells.mirror.too_large.increment();
        }
        let core = Rc::clone(&self.core);
        core.spawn("mirror", async move {
            let limit = self.core.settings().timeouts.response;
            let counts = Arc::clone(&self.cells);
            match timeout(limit, self.send()).await {
                Ok(Fate::Answered) => counts.mirror.answered.increment(),
                Ok(Fate::Nobody) => counts.mirror.nobody.increment(),
                Ok(Fate::Failed) | Err(_) => counts.mirror.failed.increment(),
            }
        });
    }

    async fn send(&mut self) -> Fate {
        let body = Bytes::from(std::mem::take(&mut self.body));
        let settings = self.core.settings();
        let time = Time::of(&settings, None, &HeaderMap::new(), false);
        for _ in 0..ATTEMPTS {
            let Some(in_flight) = choose::at_once(&self.core, &self.group, &self.wanted) else {
                return Fate::Nobody;
            };
            let upstream = Rc::clone(&in_flight.upstream);
            let source =
                (!body.is_empty()).then(|| Source::new(ClientBody::Made(Some(body.clone())), u64::MAX, 0));
            let head = self.head.clone();
            match attempt::attempt(self, in_flight, &head, source.as_ref(), &time).await {
                Ok(answer) if answer.status().is_server_error() => {
                    drain(answer).await;
                    return Fate::Failed;
                }
                Ok(answer) => {
                    drain(answer).await;
                    return Fate::Answered;
                }
                Err(failure) => {
                    if failure.refused {
                        self.core.suspect(&upstream.id, true);
                    }
                    if failure.timeout || failure.failed.sent {
                        return Fate::Failed;
                    }
                }
            }
        }
        Fate::Failed
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.cells.mirror.active.decrement();
    }
}

impl Party for Copy {
    fn core(&self) -> &Rc<Core> {
        &self.core
    }

    fn ends(&self) -> &Ends {
        &self.ends
    }

    fn sent(&mut self) {}

    /// Seldom enough that the one reader will do.
    fn plain(&self) -> bool {
        false
    }

    /// It was copied with all that the instance hears.
    fn introduction(&self) -> Option<Introduction<'_>> {
        None
    }

    fn hint(&self, _answer: Response<()>) {}
}

/// What became of a copy.
enum Fate {
    Answered,
    /// With 5xx, or not at all.
    Failed,
    /// No instance could take it at once.
    Nobody,
}

async fn drain(answer: Answer) {
    let mut body = answer.into_body();
    let mut read = 0;
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > UNWANTED {
            return;
        }
    }
}
