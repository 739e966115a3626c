//! The edge as a shared HTTP cache, between filters and instances. What may be stored and reused is decided by
//! `banyan_httpcache`; here are the memory, the waiting and the moving of bytes.
//!
//! Order for one request: [`Asked`] (its URI, before a route rewrites it) → [`at_once`] (a hit ends here, without a wait) →
//! [`serve`] (validate, collapse, ask the origin). `store` is the memory tier and `collapse` the table of who asks; both are
//! shared by the cores. `origin` asks and judges, `pump` brings bodies home, `reader` gives them out, `answer` words it.
//! Off (no `cache` in the configuration) it costs a branch.
//!
//! A fill is a task of its own: a client that leaves ends nobody else's. Limits: 32 variants a URI, an eighth of the memory
//! a response, 5,000 waiters a key; see the modules.

mod answer;
mod collapse;
pub(crate) mod disk;
mod elsewhere;
pub(crate) mod explain;
mod fetch;
mod flow;
mod followed;
pub(crate) mod hop;
mod kept;
mod object;
mod origin;
pub(crate) mod owner;
mod pass;
pub(crate) mod picture_counts;
mod pictures;
mod pump;
pub(crate) mod purge;
pub(crate) mod push;
mod reader;
mod rollout;
mod rules;
mod serve;
mod steady;
mod store;
mod told;
mod tops;
mod weigh;

use std::hash::Hash;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use http::header::{AUTHORIZATION, HOST, HeaderMap};
use http::request::Parts;
use http::{HeaderValue, Method, Response, Uri};

use banyan_config::{Cache as Settings, FIRST_PLACE};
use banyan_httpcache::{Asked as Presented, Key, Lookup, Query, Refresh, Standing, Time, Times, Why, lookup};

use banyan_topology::{AppName, PlaceName};

use crate::core::groups::Groups;
use crate::exchange::Exchange;
use crate::forward;
use crate::headers::came_by_https;
use crate::respond::Refusal;
use crate::route::serving::Routed;
use crate::secret::secret;
use collapse::Fills;
use hop::{Hop, Relayed, Wish};
pub(crate) use reader::Reader;
use rules::{Rule, Rules};
pub(crate) use serve::{Reply, serve};
use steady::Moment;
use store::{Found, Store};
use tops::Tops;

/// What edges know each other by.
const SECRET: &str = "edge-places.key";

/// Over all cores.
pub(crate) struct Shared {
    pub store: Arc<Store>,
    fills: Arc<Fills>,
    pictures: Arc<pictures::Pool>,
    pub tops: Arc<Tops>,
    /// As `Cache-Status` calls this cache.
    name: String,
    at: String,
    /// As `CDN-Loop` calls it: by the installation and the place.
    place: HeaderValue,
    /// There once edges ask each other.
    secret: OnceLock<HeaderValue>,
}

impl Shared {
    /// Of the edge there; `None`: the first.
    pub(crate) fn at(app: &AppName, place: Option<&PlaceName>) -> Self {
        let name = match place {
            Some(place) => format!("banyan-edge-{place}"),
            None => "banyan-edge".to_owned(),
        };
        let at = place.map_or(FIRST_PLACE, PlaceName::as_str);
        let place = HeaderValue::try_from(format!("{app}-{at}.banyan"));
        Self {
            store: Arc::default(),
            fills: Arc::default(),
            pictures: Arc::default(),
            tops: Arc::default(),
            name,
            at: at.to_owned(),
            place: place.unwrap_or(HeaderValue::from_static("banyan")),
            secret: OnceLock::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn pictures(&self) -> picture_counts::Counted {
        self.pictures.counts.now()
    }

    /// The installation's; made if there is none yet.
    pub(crate) fn know_secret(&self, secrets: &Path) -> io::Result<()> {
        if self.secret.get().is_none() {
            let bytes = secret(secrets, SECRET)?;
            let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let mut value = HeaderValue::try_from(text).map_err(io::Error::other)?;
            value.set_sensitive(true);
            self.secret.get_or_init(|| value);
        }
        Ok(())
    }
}

/// One core's.
pub(crate) struct Cache {
    rules: Rules,
    store: Arc<Store>,
    fills: Arc<Fills>,
    pictures: Arc<pictures::Pool>,
    tops: Arc<Tops>,
    /// `None`: edges do not ask each other.
    hop: Option<Hop>,
}

impl Cache {
    /// What an edge says of a request; `None`: a client's. Fields that are for edges alone are gone then.
    pub(crate) fn take(&self, headers: &mut HeaderMap) -> Result<Option<Relayed>, Refusal> {
        match &self.hop {
            Some(hop) => hop.take(headers, &self.store.followed),
            None => Ok(None),
        }
    }

    /// No other edge keeps it for this one.
    fn owns(&self, uri: &str) -> bool {
        self.hop.as_ref().is_none_or(|hop| hop.owns(uri))
    }

    /// `None`: nothing is kept.
    pub(crate) fn compile(settings: Option<&Settings>, shared: &Shared, groups: &Groups) -> Option<Rc<Self>> {
        // Every core says the same.
        shared
            .store
            .resize(settings.map_or(0, |settings| settings.memory));
        let settings = settings?;
        shared.store.order_by(settings.policy);
        let asks = settings.edges_ask();
        Some(Rc::new(Self {
            hop: asks.then(|| Hop::compile(settings, shared, groups)).flatten(),
            rules: Rules::compile(settings),
            store: Arc::clone(&shared.store),
            fills: Arc::clone(&shared.fills),
            pictures: Arc::clone(&shared.pictures),
            tops: Arc::clone(&shared.tops),
        }))
    }
}

/// A request that the cache is asked about: what the client wants, whatever its route makes of it.
pub(crate) struct Asked {
    cache: Rc<Cache>,
    uri: Uri,
    /// Another edge knows that what is stored is true no more.
    untrue: bool,
}

impl Asked {
    /// Before the route is followed.
    pub(crate) fn of(cache: Rc<Cache>, head: &Parts) -> Box<Self> {
        Self::at(cache, head.uri.clone(), false)
    }

    /// Of a request whose route another edge has followed.
    pub(crate) fn at(cache: Rc<Cache>, uri: Uri, untrue: bool) -> Box<Self> {
        Box::new(Self { cache, uri, untrue })
    }

    /// Under which it is stored, or would be.
    fn key(&self, head: &Parts, counts: &Query) -> Option<Key> {
        let host = head.headers.get(HOST)?.to_str().ok()?;
        let scheme = if came_by_https(&head.headers) {
            "https"
        } else {
            "http"
        };
        let (path, query) = (self.uri.path(), self.uri.query());
        Some(Key::new(scheme, host, path, query, counts, &[]))
    }

    /// What only the edge is told in the address makes no other resource.
    pub(crate) fn is_for(&mut self, uri: &Uri) {
        self.uri = uri.clone();
    }
}

/// Under which name something is stored, and by which rule.
struct Name {
    cache: Rc<Cache>,
    rule: Rc<Rule>,
    /// As [`Key::as_str`]: what a purge names.
    uri: String,
    /// Scheme and host: groups of responses are one origin's.
    origin: String,
    /// The route, and whose instances answer: what a client's cookie or header decides beside the URI. Behind it what a trusted
    /// proxy says of the address.
    side: String,
    /// As the client asked; there where edges ask each other.
    asked: Option<Uri>,
}

impl Name {
    /// `None`: nothing may be kept of what the path stands for.
    fn of(asked: &Asked, exchange: &Exchange, head: &Parts) -> Option<Self> {
        let rule = asked.cache.rules.of(asked.uri.path())?;
        if !rule.store {
            return None;
        }
        let key = asked.key(head, &rule.query)?;
        let origin = origin_of(key.as_str()).to_owned();
        let routed = exchange.routed.as_ref().map(Routed::name);
        let side = routed.map(|route| match exchange.group.process() {
            Some(process) => format!("{route}\n{process}"),
            None => route.to_owned(),
        });
        let mut side = side.unwrap_or_default();
        if exchange.relayed.is_some() || exchange.core.settings().trusts(exchange.peer.address) {
            side.push_str(&told::elsewhere(&head.headers));
        }
        Some(Self {
            cache: Rc::clone(&asked.cache),
            rule: Rc::clone(rule),
            uri: key.as_str().to_owned(),
            origin,
            side,
            asked: asked.cache.hop.is_some().then(|| asked.uri.clone()),
        })
    }

    fn now(&self, exchange: &Exchange) -> Time {
        self.moment(exchange).time
    }

    fn moment(&self, exchange: &Exchange) -> Moment {
        self.cache.store.steady.now(exchange.core.clock)
    }

    /// Of an exchange whose head has just come.
    fn times(&self, exchange: &Exchange, sent: Time) -> Times {
        let Moment { time, ahead } = self.moment(exchange);
        Times {
            sent,
            received: time,
            ahead,
        }
    }

    /// It was not answered from the store.
    fn note(&self, why: Why) {
        let route = self.side.lines().next().unwrap_or_default();
        self.cache.tops.note(&self.uri, route, why);
    }

    /// Asks the shield, or the instances.
    async fn send(&self, exchange: &mut Exchange, head: &Parts) -> Result<forward::Answer, Refusal> {
        match &self.asked {
            Some(uri) => {
                let found = self.find().objects;
                let untrue = found.iter().any(|(_, standing)| *standing == Standing::Purged);
                let wish = Wish {
                    uri,
                    key: &self.uri,
                    untrue,
                };
                hop::send(exchange, &self.cache, wish, head, None).await
            }
            None => forward::send(exchange, head, None).await,
        }
    }

    /// From the disk into the memory, if it lies there and the memory has nothing of it.
    async fn bring(&self) {
        if let Some(disk) = self.cache.store.disk()
            && self.find().objects.is_empty()
        {
            disk.bring(&self.cache.store, &self.uri, &self.side).await;
        }
    }

    fn find(&self) -> Found {
        self.cache.store.find(&self.uri, &self.side)
    }

    /// The key of requests that one answer serves. A purge parts them: nobody shares what was asked for before it.
    fn alike(&self, wishes: &impl Hash) -> u128 {
        let purged = self.cache.store.last_purge(&self.uri);
        self.cache.fills.key(&(&self.uri, &self.side, purged, wishes))
    }

    /// Groups are an origin's own, tags everybody's (RFC 9875 §2).
    fn tags(&self, tags: &[String]) -> Vec<String> {
        tags.iter().map(|tag| tag_of(&self.origin, tag)).collect()
    }
}

/// The name that a purge finds a tag by.
fn tag_of(origin: &str, tag: &str) -> String {
    match tag.strip_prefix("group:") {
        Some(group) => format!("group:{origin}{group}"),
        None => tag.to_owned(),
    }
}

/// Of `https://host/path`: `https://host/`.
fn origin_of(uri: &str) -> &str {
    let host = uri.find("://").map_or(0, |at| at + 3);
    let end = uri[host..].find('/').map_or(uri.len(), |at| host + at + 1);
    &uri[..end]
}

/// Whether the cache may answer it or keep its answer at all. `body`: it has one.
fn is_plain(exchange: &Exchange, head: &Parts, body: bool) -> bool {
    let reads = head.method == Method::GET || head.method == Method::HEAD;
    // The app is told who asks, by fields that no response names in Vary.
    let filtered = exchange.filtered.as_ref();
    let known = filtered.is_some_and(|filtered| filtered.who().is_some());
    let otherwise = filtered.is_some_and(|filtered| filtered.is_known_otherwise());
    reads
        && !body
        && !exchange.is_grpc()
        && !head.headers.contains_key(http::header::UPGRADE)
        && !otherwise
        && (!known || head.headers.contains_key(AUTHORIZATION))
}

fn presented<'a>(method: &'a Method, headers: &'a HeaderMap) -> Presented<'a> {
    Presented { method, headers }
}

/// The answer, if something stored gives it without anybody being asked.
pub(crate) fn at_once(exchange: &Exchange, head: &Parts, body: bool) -> Option<Response<Box<Reader>>> {
    let asked = exchange.cached.as_ref()?;
    if asked.untrue || !is_plain(exchange, head, body) {
        return None;
    }
    if let Some(wanted) = pictures::Wanted::of(exchange, asked, head) {
        return wanted.at_once(exchange, head);
    }
    let name = Name::of(asked, exchange, head)?;
    let found = name.find();
    if found.objects.is_empty() {
        return None;
    }
    let now = name.now(exchange);
    let stored: Vec<_> = found
        .objects
        .iter()
        .map(|(one, standing)| one.stored(*standing))
        .collect();
    let asks = presented(&head.method, &head.headers);
    let verdict = lookup(asks, &stored, name.rule.policy(), now);
    let (index, how, refresh) = match verdict {
        Lookup::Hit { index, answer } => (index, answer, Refresh::None),
        Lookup::Stale {
            index,
            answer,
            refresh,
        } => (index, answer, refresh),
        Lookup::Validate { .. }
        | Lookup::Fill { .. }
        | Lookup::Miss(_)
        | Lookup::Bypass(_)
        | Lookup::GatewayTimeout => return None,
    };
    let object = &found.objects[index].0;
    let response = answer::hit(exchange, &name, head, object, &how, now);
    if refresh == Refresh::Background {
        fetch::refresh(exchange, Rc::new(name), head, &found, index);
    }
    Some(response)
}
