//! What the edge does with the route of a request: whose endpoints, which rewrite, which answer of its own.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Response, StatusCode, Uri};

use banyan_config::{EdgeSettings, Forward, HeaderEdit, PathMatch, RouteAction, RouteMatch, SplitBy};
use banyan_transcode::Api;

use super::matcher::{Asked, Decision, Table, cookie, name_of};
use super::{path, split};
use crate::answer_limits::AnswerLimits;
use crate::core::groups::{Group, Groups};
use crate::exchange::Exchange;
use crate::files::Wanted;
use crate::filter::{self, Filters};
use crate::forward::mirror::{self, Mirror};
use crate::forward::origin::{Detour, Origins};
use crate::gateway::{self, Call, Gather};
use crate::headers::client_address;
use crate::metrics::RouteCells;
use crate::plain;
use crate::respond::Refusal;

/// What a browser is told to wait while there is maintenance.
const MAINTENANCE: HeaderValue = HeaderValue::from_static("60");
/// A mark that somebody else made may be this long.
const MARK: usize = 64;

/// One core's routes with the groups that they lead to.
pub(crate) struct Routes {
    table: Table,
    /// By route.
    ready: Vec<Ready>,
    /// Some route copies requests.
    mirrors: bool,
}

struct Ready {
    cells: Arc<RouteCells>,
    groups: Vec<Rc<Group>>,
    weights: Vec<u32>,
    filters: Option<Rc<Filters>>,
    mirror: Option<Mirror>,
    request: Edits,
    response: Edits,
    /// To servers elsewhere.
    detour: Option<Detour>,
    /// Of an aggregate.
    gather: Option<Rc<Gather>>,
    /// Of JSON to gRPC.
    call: Option<Rc<Call>>,
    /// Heads of answers pass as they are.
    plain: bool,
    /// Heads of requests, too, and no copy is made of them.
    plain_requests: bool,
}

struct Edits {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
}

/// The route of a request, until its answer is on its way.
pub(crate) struct Routed {
    routes: Rc<Routes>,
    route: usize,
    cookie: Option<HeaderValue>,
}

/// What follows from a route.
pub(crate) enum Next {
    Forward,
    Answer(Response<Bytes>),
    Files(Box<Wanted>),
    /// The edge asks processes itself.
    Gateway(Box<gateway::Wanted>),
}

impl Routes {
    /// `cells`: this core's counters of each route, by name.
    pub(crate) fn new(
        table: Table,
        (groups, origins): (&Groups, &Origins),
        settings: &EdgeSettings,
        cells: &BTreeMap<String, Arc<RouteCells>>,
        apis: &BTreeMap<String, Arc<Api>>,
    ) -> Self {
        let ready = (0..table.len()).map(|index| {
            let route = table.route(index);
            let (shares, mirror) = match &route.action {
                RouteAction::Process(forward) => (forward.shares.as_slice(), forward.mirror.as_ref()),
                RouteAction::Origin(_)
                | RouteAction::Aggregate(_)
                | RouteAction::Grpc(_)
                | RouteAction::Static(_)
                | RouteAction::Redirect { .. }
                | RouteAction::Respond { .. }
                | RouteAction::Maintenance { .. } => (&[][..], None),
            };
            let cells = cells.get(&route.name).cloned().unwrap_or_default();
            Ready {
                mirror: mirror.and_then(|rule| Mirror::compile(rule, &route.name, groups, &cells)),
                cells,
                groups: shares
                    .iter()
                    .map(|share| groups.of(&share.process).unwrap_or_else(|| groups.default()))
                    .collect(),
                weights: shares.iter().map(|share| share.weight).collect(),
                filters: Filters::compile(&route.bounds.filters, settings),
                request: Edits::new(&route.request_headers),
                response: Edits::new(&route.response_headers),
                detour: match &route.action {
                    RouteAction::Origin(to) => origins.of(&to.origin).map(Detour::Origin),
                    RouteAction::Process(Forward {
                        backup: Some(backup), ..
                    }) => origins.of(backup).map(Detour::Backup),
                    _ => None,
                },
                gather: match &route.action {
                    RouteAction::Aggregate(config) => {
                        Some(Rc::new(Gather::new(config, &route.when.path, groups)))
                    }
                    _ => None,
                },
                call: match (&route.action, apis.get(&route.name)) {
                    (RouteAction::Grpc(config), Some(api)) => Some(Rc::new(Call {
                        api: Arc::clone(api),
                        group: groups.of(&config.process).unwrap_or_else(|| groups.default()),
                        most: config.max,
                    })),
                    _ => None,
                },
                plain: plain::route_passes_heads(route),
                plain_requests: plain::route_passes_requests(route),
            }
        });
        let ready: Vec<Ready> = ready.collect();
        Self {
            mirrors: ready.iter().any(|ready| ready.mirror.is_some()),
            ready,
            table,
        }
    }
}

impl Edits {
    fn new(edit: &HeaderEdit) -> Self {
        let pair = |(name, value): (&String, &String)| Some((name.parse().ok()?, value.parse().ok()?));
        Self {
            remove: edit.remove.iter().filter_map(|name| name.parse().ok()).collect(),
            set: edit.set.iter().filter_map(pair).collect(),
        }
    }

    fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
    }
}

impl Routed {
    /// The route that another edge has followed; `None`: it is not known here.
    pub(crate) fn named(routes: Rc<Routes>, name: &str) -> Option<Self> {
        let route = (0..routes.table.len()).find(|index| routes.table.route(*index).name == name)?;
        routes.ready[route].cells.active.increment();
        Some(Self {
            routes,
            route,
            cookie: None,
        })
    }

    /// For another request the same way; what the client is told is told once.
    pub(crate) fn again(&self) -> Self {
        Self {
            routes: Rc::clone(&self.routes),
            route: self.route,
            cookie: None,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.routes.table.route(self.route).name
    }

    pub(crate) fn cells(&self) -> &RouteCells {
        &self.routes.ready[self.route].cells
    }

    /// Who gets copies.
    pub(crate) fn mirror(&self) -> Option<&Mirror> {
        self.routes.ready[self.route].mirror.as_ref()
    }

    /// Where its requests go, if not to instances alone.
    pub(crate) fn detour(&self) -> Option<Detour> {
        self.routes.ready[self.route].detour.clone()
    }

    /// The limit of a request's body, where it has its own.
    pub(crate) fn body(&self) -> Option<u64> {
        self.routes.table.route(self.route).bounds.body
    }

    /// For the app to begin its answer, where it has its own.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.routes.table.route(self.route).bounds.timeout
    }

    /// In place of the edge's.
    pub(crate) fn answer_limits(&self, edge: AnswerLimits) -> AnswerLimits {
        let bounds = &self.routes.table.route(self.route).bounds;
        AnswerLimits {
            header: bounds.response_header.or(edge.header),
            body: bounds.response_body.or(edge.body),
        }
    }

    /// Behind everything else that is set: a client's `Connection:` cannot take it out again.
    pub(crate) fn request(&self, headers: &mut HeaderMap) {
        self.routes.ready[self.route].request.apply(headers);
    }

    /// Whether this route leaves heads of answers alone.
    pub(crate) fn passes_heads(&self) -> bool {
        self.routes.ready[self.route].plain
    }

    /// Whether this route leaves heads of requests alone, and copies none.
    pub(crate) fn passes_requests(&self) -> bool {
        self.routes.ready[self.route].plain_requests
    }

    /// Once, on whatever answer goes out.
    pub(crate) fn answer(&mut self, headers: &mut HeaderMap) {
        self.routes.ready[self.route].response.apply(headers);
        if let Some(cookie) = self.cookie.take() {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
}

/// Finds the route of a request and notes it in the exchange. The head is as received but for an absolute target.
pub(crate) fn follow(exchange: &mut Exchange, routes: Rc<Routes>, head: &mut Parts) -> Result<Next, Refusal> {
    if routes.mirrors {
        head.headers.remove(mirror::MARK);
    }
    let decision = routes.table.decide(&Asked {
        method: head.method.as_str(),
        host: host_of(&head.headers),
        path: head.uri.path(),
        query: head.uri.query(),
        headers: &head.headers,
    });
    let index = match decision {
        Decision::Default => return filter::enter(exchange, exchange.core.filters(), head),
        Decision::Ambiguous => {
            return Err(Refusal::BadRequest(
                "the path can be read in two ways (encoded slash, dot segment or empty segment)",
            ));
        }
        Decision::Route(index) => index,
    };
    let bounds = &routes.table.route(index).bounds;
    if !(bounds.allow.is_empty() && bounds.deny.is_empty()) {
        let settings = exchange.core.settings();
        let client = client_address(&head.headers, exchange.peer.address, &settings.trusted_proxies);
        if !bounds.admits(client) {
            return Err(Refusal::Forbidden);
        }
    }
    let (group, cookie) = choose(exchange, &routes, index, head);
    if let Some(group) = group {
        exchange.group = group;
    }
    routes.ready[index].cells.active.increment();
    exchange.routed = Some(Routed {
        routes: Rc::clone(&routes),
        route: index,
        cookie,
    });
    let filters = routes.ready[index].filters.clone();
    if let Next::Answer(response) = filter::enter(exchange, filters, head)? {
        return Ok(Next::Answer(response));
    }
    let route = routes.table.route(index);
    match &route.action {
        RouteAction::Process(forward) => {
            rewrite(forward.rewrite.as_ref(), &route.when, head)?;
            Ok(Next::Forward)
        }
        RouteAction::Origin(to) => {
            rewrite(to.rewrite.as_ref(), &route.when, head)?;
            Ok(Next::Forward)
        }
        RouteAction::Aggregate(_) => {
            let Some(gather) = &routes.ready[index].gather else {
                return Ok(Next::Forward);
            };
            let raw = head.uri.path().to_owned();
            let decoded = path::decode(&raw).unwrap_or_default();
            let rest = match &route.when.path {
                PathMatch::Prefix(prefix) => path::rewrite(&raw, prefix.len(), false, ""),
                PathMatch::Any | PathMatch::Exact(_) | PathMatch::Regex(_) => String::new(),
            };
            let wanted = gather.wanted(&exchange.core, head, &decoded, &rest)?;
            Ok(Next::Gateway(Box::new(gateway::Wanted::Gather(wanted))))
        }
        RouteAction::Grpc(_) => {
            let Some(call) = &routes.ready[index].call else {
                return Ok(Next::Forward);
            };
            // Who speaks gRPC already needs no help.
            if exchange.is_grpc() {
                exchange.group = Rc::clone(&call.group);
                return Ok(Next::Forward);
            }
            let decoded = path::decode(head.uri.path()).unwrap_or_default();
            Ok(call.wanted(exchange, head, &decoded))
        }
        RouteAction::Static(files) => {
            let rest = below(&route.when.path, head.uri.path());
            Ok(Next::Files(Box::new(Wanted::new(files, &rest, head))))
        }
        RouteAction::Redirect { to, status } => {
            redirect(to, *status, host_of(&head.headers), &head.uri).map(Next::Answer)
        }
        RouteAction::Respond {
            status,
            body,
            content_type,
        } => Ok(Next::Answer(fixed(*status, body, content_type))),
        RouteAction::Maintenance { message } => {
            let mut page = exchange.notice(StatusCode::SERVICE_UNAVAILABLE, message);
            page.headers_mut().insert(header::RETRY_AFTER, MAINTENANCE);
            Ok(Next::Answer(page))
        }
    }
}

fn host_of(headers: &HeaderMap) -> &str {
    let host = headers.get(header::HOST);
    host.and_then(|host| host.to_str().ok()).unwrap_or_default()
}

/// The decoded path without the prefix that matched.
fn below(matched: &PathMatch, raw: &str) -> String {
    // Ambiguous paths match no such route.
    let path = path::decode(raw).unwrap_or_default();
    match matched {
        PathMatch::Prefix(prefix) => path.strip_prefix(prefix.as_str()).unwrap_or(&path).to_owned(),
        PathMatch::Any | PathMatch::Exact(_) | PathMatch::Regex(_) => path.into_owned(),
    }
}

/// The group of a share, and the cookie that keeps the user there.
fn choose(
    exchange: &Exchange,
    routes: &Routes,
    index: usize,
    head: &Parts,
) -> (Option<Rc<Group>>, Option<HeaderValue>) {
    let ready = &routes.ready[index];
    let route = routes.table.route(index);
    let (RouteAction::Process(forward), [_, _, ..]) = (&route.action, ready.groups.as_slice()) else {
        return (ready.groups.first().cloned(), None);
    };
    let by = |mark: &[u8]| {
        let picked = split::pick(&ready.weights, &route.name, mark);
        ready.groups.get(picked).cloned()
    };
    match forward.sticky {
        SplitBy::None => (by(exchange.core.next_id().as_bytes()), None),
        SplitBy::Address => {
            let settings = exchange.core.settings();
            let client = client_address(&head.headers, exchange.peer.address, &settings.trusted_proxies);
            (by(client.to_string().as_bytes()), None)
        }
        SplitBy::Cookie => {
            let mut mark = "";
            let is_mark = |value: &str| !value.is_empty() && value.len() <= MARK;
            let known = cookie(&head.headers, split::COOKIE, |value| {
                mark = value;
                is_mark(value)
            });
            if known {
                return (by(mark.as_bytes()), None);
            }
            let id = exchange.core.next_id();
            let cookie = split::set_cookie(id.to_str().unwrap_or_default());
            (by(id.as_bytes()), HeaderValue::from_str(&cookie).ok())
        }
    }
}

fn rewrite(to: Option<&String>, when: &RouteMatch, head: &mut Parts) -> Result<(), Refusal> {
    let Some(to) = to else { return Ok(()) };
    let length = match &when.path {
        PathMatch::Exact(text) | PathMatch::Prefix(text) => text.len(),
        PathMatch::Any | PathMatch::Regex(_) => return Ok(()),
    };
    let mut target = path::rewrite(head.uri.path(), length, when.as_received, to);
    if let Some(query) = head.uri.query() {
        target.push('?');
        target.push_str(query);
    }
    head.uri = target
        .parse()
        .map_err(|_| Refusal::BadRequest("the rewritten path is not valid"))?;
    Ok(())
}

fn redirect(to: &str, status: u16, host: &str, uri: &Uri) -> Result<Response<Bytes>, Refusal> {
    let name = name_of(host);
    let sound = |b: u8| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b);
    if to.contains("{host}") && (name.is_empty() || !name.bytes().all(sound)) {
        return Err(Refusal::BadRequest("the Host header is not a name"));
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = to
        .replace("{host}", &name)
        .replace("{query}", &query)
        .replace("{path}", uri.path());
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
    let location = HeaderValue::from_str(&location)
        .map_err(|_| Refusal::BadRequest("the target cannot be redirected"))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

fn fixed(status: u16, body: &str, content_type: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::copy_from_slice(body.as_bytes()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    if let (false, Ok(kind)) = (body.is_empty(), HeaderValue::from_str(content_type)) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}
