//! Moves a body from the origin into a [`Flow`](super::flow::Flow), and what has come whole into the store.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::{Body as _, Frame};
use tokio::time::{Instant, timeout};

use banyan_httpcache::range::{Span, joined};
use banyan_httpcache::{Extent, Head, Standing};

use super::Name;
use super::collapse::Lead;
use super::disk::body::Writing;
use super::flow::End;
use super::kept::Kept;
use super::object::{Coming, Object};
use super::store::Asking;
use crate::exchange::Exchange;
use crate::forward::answer::InstanceBody;
use crate::forward::http1::Broke;

/// So long in all those who read all of it wait for one who does not.
const HELD_UP: Duration = Duration::from_secs(3);
/// With no more than this to come, a body is fetched to its end though nobody reads it any more.
const WORTH_IT: u64 = 8 << 20;

pub(super) struct Pump {
    name: Rc<Name>,
    body: InstanceBody,
    coming: Arc<Coming>,
    asking: Asking,
    /// It goes into a file.
    writing: Option<Writing>,
    /// The body may have so many bytes.
    most: Option<u64>,
    got: u64,
    /// Counted as under way.
    taken: u64,
}

impl Pump {
    pub(super) fn new(
        name: Rc<Name>,
        body: InstanceBody,
        coming: Arc<Coming>,
        asking: Asking,
        (writing, most): (Option<Writing>, Option<u64>),
    ) -> Self {
        Self {
            name,
            body,
            coming,
            asking,
            writing,
            most,
            got: 0,
            taken: 0,
        }
    }

    /// To the end, whatever that is. `pause`: nothing comes for longer, and it has broken off.
    pub(super) async fn run(mut self, lead: Option<Lead>, pause: Duration) {
        let end = self.pump(pause).await;
        match self.writing.take() {
            Some(writing) => {
                if let Some(body) = writing.finish(matches!(end, End::Whole(None))).await {
                    self.keep(Kept::in_file(body));
                }
            }
            None => self.finish(end),
        }
        if let Some(lead) = lead {
            lead.done();
        }
    }

    fn finish(&self, end: End) {
        let broken = matches!(end, End::Broken);
        match self.coming.flow.finish(end) {
            Some(kept) => self.keep(kept),
            None if broken => self.keep_beginning(),
            None => {}
        }
    }

    async fn pump(&mut self, pause: Duration) -> End {
        let (mut trailers, mut held_up) = (None, Duration::ZERO);
        loop {
            if !self.room(&mut held_up, pause).await {
                return End::Broken;
            }
            let frame = match timeout(pause, self.next()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => return End::Whole(trailers),
                Ok(Some(Err(_))) | Err(_) => return End::Broken,
            };
            match frame.into_data() {
                Ok(data) => {
                    if !self.take(&data) {
                        return End::Broken;
                    }
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
    }

    /// Waits for those who read it. `false`: nobody wants more, or takes anything for longer than `pause`.
    async fn room(&self, held_up: &mut Duration, pause: Duration) -> bool {
        let flow = &self.coming.flow;
        if self.writing.is_some() {
            return true;
        }
        if let Poll::Ready(room) = poll_fn(|cx| Poll::Ready(flow.poll_room(cx))).await {
            return room;
        }
        let since = Instant::now();
        let mut last = since;
        let mut patience = HELD_UP.saturating_sub(*held_up);
        loop {
            if let Ok(room) = timeout(patience, poll_fn(|cx| flow.poll_room(cx))).await {
                *held_up += last.elapsed();
                return room;
            }
            if since.elapsed() >= pause {
                return false;
            }
            (*held_up, last) = (Duration::ZERO, Instant::now());
            flow.leave_behind();
            patience = HELD_UP.min(pause);
        }
    }

    /// The next frame, once there is room for it in its file.
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, Broke>> {
        poll_fn(|cx| {
            if let Some(writing) = &mut self.writing
                && let Err(error) = ready!(writing.poll_room(cx))
            {
                writing.fails(&error);
                return Poll::Ready(Some(Err(Broke::Closed)));
            }
            if self.body.is_end_stream() {
                return Poll::Ready(None);
            }
            Pin::new(&mut self.body).poll_frame(cx)
        })
        .await
    }

    /// `false`: no more of it.
    fn take(&mut self, data: &[u8]) -> bool {
        let (store, flow) = (&self.name.cache.store, &self.coming.flow);
        let count = data.len() as u64;
        self.got += count;
        if self.most.is_some_and(|most| self.got > most) {
            return false;
        }
        let missing = match self.coming.length {
            Some(length) => length.saturating_sub(self.got),
            None => self.got,
        };
        if let Some(writing) = &mut self.writing {
            writing.push(data);
            return missing <= WORTH_IT || flow.is_read();
        }
        self.taken += count;
        if !store.take_room(count) || self.got > store.largest() {
            flow.spill();
        }
        // What was read lies in the core's reading buffer, which others need.
        flow.push(Bytes::copy_from_slice(data));
        missing <= WORTH_IT || flow.is_read()
    }

    fn keep(&self, kept: Kept) {
        let (name, coming) = (&self.name, &self.coming);
        if coming.length.is_some_and(|length| length != kept.length()) {
            return;
        }
        if let Extent::Parts { spans, .. } = &coming.head.extent {
            // Whatever its length says, it is the part that it claims to be, or none.
            if spans.first().map(|span| span.length()) != Some(kept.length()) {
                return;
            }
            keep_part(name, coming.head.clone(), &kept, self.asking.born);
            return;
        }
        keep(name, coming.head.clone(), kept, self.asking.born, None);
    }

    /// What came of a body that broke off is a part of it, if there is a way to know the rest when it comes.
    fn keep_beginning(&self) {
        let coming = &self.coming;
        let whole = coming.head.extent == Extent::Whole && coming.head.status == StatusCode::OK;
        let Some(total) = coming
            .length
            .filter(|_| whole && coming.head.strong_etag().is_some())
        else {
            return;
        };
        if let Some(kept) = coming.flow.so_far().filter(|kept| kept.length() < total) {
            let last = kept.length() - 1;
            let head = Head {
                extent: Extent::Parts {
                    spans: vec![Span { first: 0, last }],
                    total,
                },
                ..coming.head.clone()
            };
            keep_part(&self.name, head, &kept, self.asking.born);
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.name.cache.store.give_room(self.taken);
        // Readers must not wait for a task that is gone.
        if !self.coming.flow.is_over() {
            self.coming.flow.finish(End::Broken);
        }
    }
}

fn keep(name: &Name, head: Head, kept: Kept, born: u64, old: Option<&Arc<Object>>) -> Arc<Object> {
    let store = &name.cache.store;
    let marks = store.marks(&name.uri, &name.tags(&head.tags), born);
    // Purged on its way: what came after the purge must not give way to it.
    let is_purged = store.reached(&marks) == Standing::Purged;
    let object = Object::new(head, name.side.as_str().into(), Arc::new(kept), marks);
    let object = Arc::new(object.with_guest(!name.cache.owns(&name.uri)));
    if !is_purged {
        store.insert(&name.uri, Arc::clone(&object), old);
    }
    object
}

/// A part beside those that are stored of the same body (RFC 9111 §3.4). `None`: what is stored is whole.
pub(super) fn keep_part(name: &Name, mut head: Head, kept: &Kept, born: u64) -> Option<Arc<Object>> {
    let store = &name.cache.store;
    let Some(tag) = head.strong_etag() else {
        // Nothing tells whether others are of the same body.
        return Some(keep(name, head, Kept::default().beside(kept), born, None));
    };
    let stored = store.find(&name.uri, &name.side).objects;
    let same = stored.iter().map(|(object, _)| object).find(|object| {
        let same_body = object
            .head
            .strong_etag()
            .is_some_and(|ours| ours.strongly_matches(tag));
        same_body && object.head.selection == head.selection && same_total(&object.head, &head)
    });
    let Some(old) = same else {
        return Some(keep(name, head, Kept::default().beside(kept), born, None));
    };
    let (Extent::Parts { spans, total }, Extent::Parts { spans: new, .. }) = (&old.head.extent, &head.extent)
    else {
        return None;
    };
    let (mut spans, total) = (spans.clone(), *total);
    for span in new {
        spans = joined(&spans, *span);
    }
    let whole = spans.first().is_some_and(|span| span.length() == total);
    head.extent = if whole {
        Extent::Whole
    } else {
        Extent::Parts { spans, total }
    };
    let both = old.body.beside(kept);
    let old = Arc::clone(old);
    Some(keep(name, head, both, born, Some(&old)))
}

/// Of a whole one nobody says that it is longer.
fn same_total(old: &Head, new: &Head) -> bool {
    match (&old.extent, &new.extent) {
        (Extent::Parts { total, .. }, Extent::Parts { total: other, .. }) => total == other,
        (Extent::Whole, _) | (_, Extent::Whole) => true,
    }
}

/// All of a part, at once; `None`: it is not what it says.
pub(super) async fn read(mut body: InstanceBody, span: Span, exchange: &Exchange) -> Option<Kept> {
    let pause = exchange.core.settings().timeouts.response;
    let mut all = BytesMut::new();
    loop {
        let next = timeout(pause, poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)));
        match next.await.ok()? {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    all.extend_from_slice(&data);
                }
                if all.len() as u64 > span.length() {
                    return None;
                }
            }
            Some(Err(_)) => return None,
            None => break,
        }
    }
    (all.len() as u64 == span.length()).then(|| Kept::new(vec![(span.first, all.freeze())], None))
}
