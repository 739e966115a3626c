//! Pictures in other sizes and formats: what `banyan_pictures` makes of stored ones, stored beside them.
//!
//! A request is answered by the source, which goes through the cache as any other (without the parameters of the picture, and
//! without what the client has or wants of it), and by what was made of it: objects under the source's URI and another side, with
//! its times and its marks, so that a purge reaches them with it. Their tag is the source's with the recipe behind it: of
//! another source they are not found. What could not be made is remembered as long (an object without content), and
//! the original answers. AVIF is made behind the client's back, the next format answers meanwhile.
//!
//! Bounds: half of the cores work, 64 wait, a client 10 s; 32 objects a URI. The rest is the crate's.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    LAST_MODIFIED, RANGE, VARY,
};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use banyan_httpcache::{Extent, Head, Lookup, Refresh, lookup};
use banyan_pictures::{Format, Recipe, is_picture, make};
use banyan_runtime::{Clock, cores};
use banyan_upstream::retry::Effect;

use super::collapse::{Entered, Lead, Waiter};
use super::kept::Kept;
use super::object::Object;
use super::picture_counts::Counts;
use super::reader::Reader;
use super::serve::{self, Reply};
use super::{Asked, Name, answer, fetch, origin, pass, presented};
use crate::core::Core;
use crate::exchange::Exchange;
use crate::respond::Refusal;
use crate::route::path::with_query;

/// In the side of what is made.
pub(super) const SIDE: &str = "\nimage ";
/// Pictures that wait for a thread.
const QUEUE: usize = 64;
/// Between the end of a source and its place in the store.
const MOMENT: Duration = Duration::from_millis(5);
const MOMENTS: usize = 20;
/// Of another body they would be wrong.
const OF_BYTES: [&str; 5] = [
    "content-md5",
    "digest",
    "content-digest",
    "repr-digest",
    "accept-ranges",
];

/// Who may work, over all cores.
pub(super) struct Pool {
    threads: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    pub counts: Counts,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            threads: Arc::new(Semaphore::new((cores::available().get() / 2).max(1))),
            queue: Arc::new(Semaphore::new(QUEUE)),
            counts: Counts::default(),
        }
    }
}

/// A request for a picture.
pub(super) struct Wanted {
    recipe: Recipe,
    /// Its address without the recipe.
    asked: Asked,
    name: Rc<Name>,
    /// For the source, whoever asks.
    head: Parts,
}

/// What there is of one format.
enum Made {
    Yes(Arc<Object>),
    /// It cannot be made of this source.
    Never,
    NotYet,
}

impl Wanted {
    /// `None`: its rule has no pictures.
    pub(super) fn of(exchange: &Exchange, asked: &Asked, head: &Parts) -> Option<Self> {
        let rules = &asked.cache.rules;
        // A shield gives the source: what is made of it, the client's edge makes.
        if !rules.have_pictures() || exchange.relayed.is_some() {
            return None;
        }
        let rule = rules.of(asked.uri.path()).filter(|rule| rule.store)?;
        let recipe = Recipe::of(rule.pictures.as_ref()?, asked.uri.query(), &head.headers);
        let plain = |uri: &http::Uri| {
            let rest = uri.query().and_then(Recipe::rest_of).unwrap_or_default();
            with_query(uri, &rest)
        };
        let asked = Asked {
            cache: Rc::clone(&asked.cache),
            uri: plain(&asked.uri)?,
            untrue: false,
        };
        let mut headers = head.headers.clone();
        for own in [RANGE, IF_RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE, ACCEPT] {
            headers.remove(own);
        }
        let mut source = origin::parts(head, Method::GET, headers);
        source.uri = plain(&head.uri)?;
        Some(Self {
            name: Rc::new(Name::of(&asked, exchange, head)?),
            recipe,
            asked,
            head: source,
        })
    }

    /// From what is stored, if all is there.
    pub(super) fn at_once(&self, exchange: &Exchange, head: &Parts) -> Option<Response<Box<Reader>>> {
        let (source, Refresh::None) = self.usable(exchange)? else {
            return None;
        };
        if !can_be_made(&source) {
            return Some(self.original(exchange, head, &source, false));
        }
        for format in &self.recipe.formats {
            match self.find(&source, *format) {
                Made::Yes(made) => return Some(answer::made(exchange, &self.name, head, &made, false)),
                Made::Never => {}
                Made::NotYet => return None,
            }
        }
        Some(self.original(exchange, head, &source, false))
    }

    pub(super) async fn serve(&self, exchange: &mut Exchange, head: &Parts) -> Result<Reply, Refusal> {
        if let Some((source, refresh)) = self.usable(exchange) {
            if refresh == Refresh::Background {
                self.renew(exchange);
            }
            let response = self.answer(exchange, head, &source, false).await;
            return Ok(Reply::Stored(response));
        }
        if head.method == Method::HEAD {
            let mut plain = origin::parts(head, Method::HEAD, head.headers.clone());
            plain.uri = self.head.uri.clone();
            return pass::ask_head(exchange, &self.name, &plain).await;
        }
        let reply = serve::source(exchange, Rc::clone(&self.name), &self.head).await?;
        let response = match reply {
            Reply::Stored(response) if is_waited_for(&response) => response,
            // It passes as it is; once it is stored there will be others.
            other => return Ok(other),
        };
        let (parts, body) = read(response).await?;
        let response = match self.just_stored(exchange).await {
            Some(source) => self.answer(exchange, head, &source, true).await,
            None => whole(parts, body),
        };
        Ok(Reply::Stored(response))
    }

    /// The source, if it may be used without asking anybody first.
    fn usable(&self, exchange: &Exchange) -> Option<(Arc<Object>, Refresh)> {
        let found = self.name.find();
        let stored: Vec<_> = found
            .objects
            .iter()
            .map(|(one, standing)| one.stored(*standing))
            .collect();
        let asks = presented(&self.head.method, &self.head.headers);
        let verdict = lookup(asks, &stored, self.name.rule.policy(), self.name.now(exchange));
        let (index, refresh) = match verdict {
            Lookup::Hit { index, .. } => (index, Refresh::None),
            Lookup::Stale { index, refresh, .. } => (index, refresh),
            _ => return None,
        };
        Some((Arc::clone(&found.objects[index].0), refresh))
    }

    /// Whoever reads along on another core may see the end of it a moment before it is stored.
    async fn just_stored(&self, exchange: &Exchange) -> Option<Arc<Object>> {
        for _ in 0..MOMENTS {
            if let Some((source, _)) = self.usable(exchange) {
                return Some(source);
            }
            tokio::time::sleep(MOMENT).await;
        }
        None
    }

    fn renew(&self, exchange: &Exchange) {
        let found = self.name.find();
        let Some(name) = Name::of(&self.asked, exchange, &self.head) else {
            return;
        };
        let (source, _) = match self.usable(exchange) {
            Some(usable) => usable,
            None => return,
        };
        let index = found
            .objects
            .iter()
            .position(|(one, _)| Arc::ptr_eq(one, &source));
        if let Some(index) = index {
            fetch::refresh(exchange, Rc::new(name), &self.head, &found, index);
        }
    }

    async fn answer(
        &self,
        exchange: &Exchange,
        head: &Parts,
        source: &Arc<Object>,
        asked: bool,
    ) -> Response<Box<Reader>> {
        let formats = if can_be_made(source) {
            self.recipe.formats.as_slice()
        } else {
            &[]
        };
        for (n, format) in formats.iter().enumerate() {
            let mut made = self.find(source, *format);
            if matches!(made, Made::NotYet) {
                let begun = self.begin(&exchange.core, source, *format);
                // Others are there sooner.
                if *format == Format::Avif && n + 1 < formats.len() {
                    continue;
                }
                if let Some(waiter) = begun {
                    waiter.news().await;
                }
                made = self.find(source, *format);
            }
            if let Made::Yes(made) = made {
                return answer::made(exchange, &self.name, head, &made, asked);
            }
        }
        self.original(exchange, head, source, asked)
    }

    fn original(
        &self,
        exchange: &Exchange,
        head: &Parts,
        source: &Arc<Object>,
        asked: bool,
    ) -> Response<Box<Reader>> {
        let mut response = answer::made(exchange, &self.name, head, source, asked);
        if is_picture(&source.head.headers) {
            varies(response.headers_mut(), self.recipe.vary);
        }
        response
    }

    fn side(&self, format: Format) -> String {
        format!("{}{SIDE}{}", self.name.side, self.recipe.name(format))
    }

    fn find(&self, source: &Arc<Object>, format: Format) -> Made {
        let tag = tag_of(&source.head, source.body.length(), &self.recipe.name(format));
        let store = &self.name.cache.store;
        let found = store.find(&self.name.uri, &self.side(format)).objects;
        let mut same = found.into_iter().map(|(object, _)| object);
        let Some(made) = same.find(|object| object.head.headers.get(ETAG) == Some(&tag)) else {
            return Made::NotYet;
        };
        if made.head.status == StatusCode::NO_CONTENT {
            return Made::Never;
        }
        // The source was validated or purged since, and is the same.
        if made.head.received != source.head.received {
            let kind = made.head.headers.get(CONTENT_TYPE).cloned();
            let head = head_of(source, &self.recipe, tag, kind);
            let renewed = Arc::new(made.renewed(head, source.marks()));
            store.insert(&self.name.uri, Arc::clone(&renewed), Some(&made));
            return Made::Yes(renewed);
        }
        Made::Yes(made)
    }

    /// Somebody makes it, once for all who want it. `None`: nobody can now.
    fn begin(&self, core: &Rc<Core>, source: &Arc<Object>, format: Format) -> Option<Waiter> {
        let (fills, pool) = (&self.name.cache.fills, &self.name.cache.pictures);
        let tag = tag_of(&source.head, source.body.length(), &self.recipe.name(format));
        let key = fills.key(&(&self.name.uri, &self.side(format), tag.as_bytes()));
        let now = fetch::since_start(core);
        let lead = match fills.enter(key, now) {
            Entered::Lead(lead) => lead,
            Entered::Wait(waiter) => return Some(waiter),
            Entered::Join(_) | Entered::Alone | Entered::Shed | Entered::Failed(_) => return None,
        };
        let Ok(place) = Arc::clone(&pool.queue).try_acquire_owned() else {
            pool.counts.busy();
            lead.needless();
            return None;
        };
        let work = Work {
            name: Rc::clone(&self.name),
            recipe: self.recipe.clone(),
            side: self.side(format),
            source: Arc::clone(source),
            format,
            tag,
        };
        core.spawn("picture", work.run(lead, place));
        match fills.enter(key, now) {
            Entered::Wait(waiter) => Some(waiter),
            _ => None,
        }
    }
}

/// One picture to be made; whoever wanted it may have left.
struct Work {
    name: Rc<Name>,
    recipe: Recipe,
    side: String,
    source: Arc<Object>,
    format: Format,
    tag: HeaderValue,
}

impl Work {
    async fn run(self, lead: Lead, place: OwnedSemaphorePermit) {
        let threads = Arc::clone(&self.name.cache.pictures.threads);
        let Ok(thread) = threads.acquire_owned().await else {
            return lead.needless();
        };
        drop(place);
        let (source, format) = (Arc::clone(&self.source), self.format);
        let (width, quality) = (self.recipe.width, self.recipe.quality);
        let (pool, begun) = (Arc::clone(&self.name.cache.pictures), Clock.now());
        let work = move || {
            // Until it is done, whoever waits for it.
            let _thread = thread;
            make(&bytes_of(&source), width, format, quality)
        };
        let (kind, bytes) = match banyan_runtime::task::blocking(work).await {
            Ok(Ok(made)) => (Some(HeaderValue::from_static(made.content_type)), made.bytes),
            Ok(Err(why)) => {
                tracing::debug!(uri = self.name.uri, format = format.name(), %why, "a picture stays as it is");
                (None, Vec::new())
            }
            Err(_panicked) => {
                tracing::warn!(
                    uri = self.name.uri,
                    format = format.name(),
                    "a codec gave up on a picture"
                );
                (None, Vec::new())
            }
        };
        let sizes = kind
            .is_some()
            .then_some((self.source.body.length(), bytes.len() as u64));
        pool.counts
            .made(format, Clock.now().saturating_duration_since(begun), sizes);
        let mut head = head_of(&self.source, &self.recipe, self.tag, kind.clone());
        if kind.is_none() {
            head.status = StatusCode::NO_CONTENT;
        }
        let pieces = (!bytes.is_empty()).then(|| (0, Bytes::from(bytes)));
        let body = Arc::new(Kept::new(pieces.into_iter().collect(), None));
        let object = Object::new(head, self.side.into(), body, self.source.marks());
        self.name
            .cache
            .store
            .insert(&self.name.uri, Arc::new(object), None);
        lead.done();
    }
}

fn can_be_made(source: &Object) -> bool {
    let head = &source.head;
    head.status == StatusCode::OK
        && head.extent == Extent::Whole
        && is_picture(&head.headers)
        && source.body.length() <= banyan_pictures::MOST_BYTES
        && source.body.file().is_none()
}

/// Whether all of an answer is read before something is made of it.
fn is_waited_for(response: &Response<Box<Reader>>) -> bool {
    let short = |length: u64| length <= banyan_pictures::MOST_BYTES;
    response.status() == StatusCode::OK
        && is_picture(response.headers())
        && response.body().left().is_some_and(short)
}

async fn read(response: Response<Box<Reader>>) -> Result<(http::response::Parts, Bytes), Refusal> {
    let (parts, mut body) = response.into_parts();
    let mut all = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| body.poll(cx)).await {
        let frame = frame.map_err(|_| Refusal::BadGateway(Effect::Unknown))?;
        if let Ok(data) = frame.into_data() {
            all.extend_from_slice(&data);
        }
    }
    Ok((parts, all.freeze()))
}

fn whole(parts: http::response::Parts, body: Bytes) -> Response<Box<Reader>> {
    let length = body.len() as u64;
    let pieces = (length > 0).then_some((0, body));
    let kept = Arc::new(Kept::new(pieces.into_iter().collect(), None));
    Response::from_parts(parts, Box::new(Reader::whole(&kept, length)))
}

fn bytes_of(source: &Object) -> Vec<u8> {
    let mut all = Vec::with_capacity(usize::try_from(source.body.length()).unwrap_or_default());
    while let Some(piece) = source.body.read(all.len() as u64) {
        all.extend_from_slice(&piece);
    }
    all
}

/// With the times of the source.
fn head_of(source: &Object, recipe: &Recipe, tag: HeaderValue, kind: Option<HeaderValue>) -> Head {
    let mut head = source.head.clone();
    head.headers.remove(CONTENT_LENGTH);
    for name in OF_BYTES {
        head.headers.remove(name);
    }
    if let Some(kind) = kind {
        head.headers.insert(CONTENT_TYPE, kind);
    }
    head.headers.insert(ETAG, tag);
    varies(&mut head.headers, recipe.vary);
    head
}

fn varies(headers: &mut HeaderMap, names: &'static str) {
    if !names.is_empty() {
        headers.append(VARY, HeaderValue::from_static(names));
    }
}

/// The source's tag and the recipe; weak where the source has none, or a weak one.
fn tag_of(source: &Head, length: u64, recipe: &str) -> HeaderValue {
    let own = source.headers.get(ETAG).and_then(|tag| tag.to_str().ok());
    let tag = match own.and_then(|tag| tag.strip_suffix('"')) {
        Some(tag) => format!("{tag}~{recipe}\""),
        None => {
            let modified = source
                .headers
                .get(LAST_MODIFIED)
                .and_then(|time| time.to_str().ok());
            // Without any validator each answer of the app is another one.
            let received = format!("{:?}", source.received);
            let mark: String = modified
                .unwrap_or(&received)
                .chars()
                .filter(char::is_ascii_alphanumeric)
                .collect();
            format!("W/\"{mark}-{length}~{recipe}\"")
        }
    };
    HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("W/\"\""))
}
