//! One request from its head to its last byte: what is counted and logged of it (`tally`), exactly once, however it ends.

mod body;
mod part;
mod spans;
mod tally;

pub(crate) use body::DownBody;
pub(crate) use spans::Teller;

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;

use banyan_httpcache::Receiver;
use banyan_telemetry::span::SpanId;
use banyan_telemetry::trace::TraceParent;

use crate::answer_limits::AnswerLimits;
use crate::cache;
use crate::cache::hop::FromEdge;
use crate::compress::{self, Verdict};
use crate::core::groups::Group;
use crate::core::{Core, Peer};
use crate::filter::Filtered;
use crate::forward::answer::InstanceBody;
use crate::forward::pool::Upstream;
use crate::grpc;
use crate::headers::REQUEST_ID;
use crate::interim::Interim;
use crate::introduction::Introduction;
use crate::respond::{self, Form, Outcome, Refusal};
use crate::route::serving::Routed;

pub(crate) struct Exchange {
    pub core: Rc<Core>,
    pub peer: Rc<Peer>,
    pub id: HeaderValue,
    /// Whose endpoints it goes to; a route may change it.
    pub group: Rc<Group>,
    /// Of a request that the edge makes for another one: how long its answer may take to begin.
    pub part: Option<Duration>,
    /// The route that matched and what it does to the answer.
    pub routed: Option<Routed>,
    /// What filters have found out; `None`: none were asked.
    pub filtered: Option<Box<Filtered>>,
    /// Its step of a trace.
    pub trace: Option<TraceParent>,
    /// The client's step in it, if it said one that is believed.
    pub continues: Option<SpanId>,
    pub upstream: Option<Rc<Upstream>>,
    /// Not to be asked next, if there is another.
    pub avoided: Vec<Rc<Upstream>>,
    pub retries: u32,
    /// It was to go to an instance of its group, whatever came of it.
    pub forwarded: bool,
    /// How long it waited for an instance in all.
    pub waited: Duration,
    pub outcome: Outcome,
    /// A failed attempt had sent the request: whatever follows, its effect is not known.
    pub may_have_acted: bool,
    /// Where the client is sent instead.
    pub location: Option<HeaderValue>,
    /// Of the answer's body.
    pub bytes: u64,
    /// That it may have.
    most: Option<u64>,
    /// Of the request's, if it has one: it may still come.
    pub received: Option<Rc<Cell<u64>>>,
    status: Option<StatusCode>,
    started: Instant,
    form: Form,
    /// Where interim answers go, where the connection has several requests.
    pub interim: Option<Rc<Interim>>,
    /// The head of the instance's answer may pass as lines.
    pub plain: bool,
    /// The head for the instance does not say who asks: who writes it does ([`Introduction`]).
    pub introduces: bool,
    /// What the instance is to be judged by comes behind the body (gRPC).
    pub end_decides: bool,
    /// What the cache is asked about; `None`: there is none.
    pub cached: Option<Box<cache::Asked>>,
    /// The answer was stored already.
    pub is_hit: bool,
    /// What comes may be for others, too: it binds nobody to an instance.
    pub shares: bool,
    /// Whose request it is, where another edge asks for it: what is done once was done there.
    pub relayed: Option<FromEdge>,
    /// What comes is for nobody else: edges that share what they keep are not asked.
    pub for_itself: bool,
    /// The edge's own: nobody counts or logs it.
    unseen: bool,
    /// What a refusal means, where its form says it in another way than by the status.
    meant: Option<StatusCode>,
    version: Version,
    /// Only when the log is on.
    logged: Option<Asked>,
}

/// What the log says was asked for; nothing of a request that could not be read.
type Asked = Option<(Method, Uri)>;

impl Exchange {
    /// Boxed: it is handed on often, and a connection that waits needs no room for it.
    pub(crate) fn begin<B>(core: &Rc<Core>, peer: &Rc<Peer>, request: &Request<B>) -> Box<Self> {
        peer.activity.begin();
        core.metrics.requests.increment();
        core.metrics.in_flight.increment();
        peer.listener().active.increment();
        let settings = core.settings();
        let kept = || request.headers().get(REQUEST_ID).filter(|id| is_id(id)).cloned();
        let trusted = settings.trusts(peer.address);
        let http2 = request.version() == http::Version::HTTP_2;
        let form = if http2 && grpc::is_call(request.headers()) {
            Form::Grpc
        } else {
            Form::wanted(request.headers())
        };
        let id = trusted.then(kept).flatten().unwrap_or_else(|| core.next_id());
        let mut exchange = Box::new(Self::new(core, peer, id, request.version(), form));
        core.budget.borrow_mut().request(exchange.started);
        if settings.access_log {
            exchange.logged = Some(Some((request.method().clone(), request.uri().clone())));
        }
        exchange
    }

    /// Nothing has happened yet.
    fn new(core: &Rc<Core>, peer: &Rc<Peer>, id: HeaderValue, version: Version, form: Form) -> Self {
        Self {
            id,
            core: Rc::clone(core),
            peer: Rc::clone(peer),
            group: core.default_group(),
            part: None,
            routed: None,
            filtered: None,
            trace: None,
            continues: None,
            upstream: None,
            avoided: Vec::new(),
            retries: 0,
            forwarded: false,
            waited: Duration::ZERO,
            outcome: Outcome::Refused,
            may_have_acted: false,
            location: None,
            bytes: 0,
            most: None,
            received: None,
            status: None,
            started: core.now(),
            form,
            interim: None,
            plain: false,
            introduces: false,
            end_decides: false,
            cached: None,
            is_hit: false,
            shares: false,
            relayed: None,
            for_itself: false,
            unseen: false,
            meant: None,
            version,
            logged: None,
        }
    }

    /// Of a request that could not be read.
    pub(crate) fn unread(core: &Rc<Core>, peer: &Rc<Peer>) -> Box<Self> {
        let mut exchange = Self::begin(core, peer, &Request::new(()));
        if let Some(asked) = &mut exchange.logged {
            *asked = None;
        }
        exchange
    }

    /// A client's, not the edge's own.
    pub(crate) fn is_seen(&self) -> bool {
        !self.unseen
    }

    /// An interim answer of the instance, for the client.
    pub(crate) fn hint(&self, answer: Response<()>) {
        self.interim.as_deref().unwrap_or(&self.peer.interim).put(answer);
    }

    /// The request is a gRPC call.
    pub(crate) fn is_grpc(&self) -> bool {
        self.form == Form::Grpc
    }

    /// The answer that the edge makes itself.
    pub(crate) fn refuse(mut self: Box<Self>, refusal: Refusal) -> Response<DownBody> {
        self.outcome = if self.may_have_acted {
            Outcome::Unknown
        } else {
            refusal.outcome()
        };
        self.core.metrics.made_here.increment();
        self.core.metrics.refused.count(refusal.status());
        if refusal == Refusal::Busy {
            self.core.metrics.shed.increment();
            self.group.cells.shed.increment();
        }
        self.meant = Some(refusal.status());
        let mut page = respond::page(refusal, self.form, &self.id);
        if let Some(location) = self.location.take() {
            page.headers_mut().insert(http::header::LOCATION, location);
        }
        self.answer(page.map(DownBody::page))
    }

    /// What a route answers by itself.
    pub(crate) fn give(mut self: Box<Self>, response: Response<Bytes>) -> Response<DownBody> {
        self.outcome = Outcome::Answered;
        self.core.metrics.made_here.increment();
        self.answer(response.map(DownBody::page))
    }

    /// A file of a route's folder.
    pub(crate) fn give_file(mut self: Box<Self>, response: Response<DownBody>) -> Response<DownBody> {
        self.outcome = Outcome::Answered;
        self.core.metrics.made_here.increment();
        self.answer(response)
    }

    /// A page in the form that the client asked for.
    pub(crate) fn notice(&self, status: StatusCode, message: &str) -> Response<Bytes> {
        respond::notice(status, message, self.form, &self.id)
    }

    /// Judges an answer's size, as far as its head tells; the rest is counted as it comes.
    pub(crate) fn bound(&mut self, response: &Response<InstanceBody>) -> Result<(), Refusal> {
        let limits = self.answer_limits();
        if limits == AnswerLimits::default() {
            return Ok(());
        }
        limits.judge(response.headers(), response.body().size_hint().exact())?;
        // Not for what the edge says in its place.
        self.most = limits.body;
        Ok(())
    }

    /// Lets the head of the instance's answer pass as lines where nothing reads or changes it ([`crate::plain`]). Only
    /// for who hands the answer on as it is: the map that others would read is empty then.
    pub(crate) fn pass_head(&mut self) {
        self.plain = self.version != Version::HTTP_2
            && self.core.passes_heads()
            && self.filtered.is_none()
            && self.routed.as_ref().is_none_or(Routed::passes_heads);
    }

    /// Whether nothing reads or changes, on the way to the instance, what it hears of who asks.
    pub(crate) fn may_introduce_late(&self) -> bool {
        self.core.introduces_late()
            && self.filtered.is_none()
            && self.cached.is_none()
            && self.routed.as_ref().is_none_or(Routed::passes_requests)
    }

    /// What the instance is to hear besides the request's head.
    pub(crate) fn introduction(&self) -> Option<Introduction<'_>> {
        self.introduces.then(|| Introduction {
            address: &self.peer.text,
            secure: self.peer.secure,
            id: &self.id,
            trace: self.trace,
        })
    }

    /// The route's, or the edge's.
    pub(crate) fn answer_limits(&self) -> AnswerLimits {
        let settings = self.core.settings();
        let edge = AnswerLimits {
            header: settings.limits.response_header,
            body: settings.limits.response_body,
        };
        let routed = self.routed.as_ref();
        routed.map_or(edge, |routed| routed.answer_limits(edge))
    }

    /// What is stored, or on its way there.
    pub(crate) fn give_stored(
        mut self: Box<Self>,
        response: Response<Box<cache::Reader>>,
    ) -> Response<DownBody> {
        let is_whole = response.body().is_done();
        self.outcome = if is_whole {
            Outcome::Answered
        } else {
            Outcome::Unknown
        };
        self.answer(response.map(DownBody::cached))
    }

    /// The instance's answer, streamed.
    pub(crate) fn pass(self: Box<Self>, response: Response<InstanceBody>) -> Response<DownBody> {
        self.answer(response.map(DownBody::stream))
    }

    fn answer(mut self: Box<Self>, mut response: Response<DownBody>) -> Response<DownBody> {
        match response.body_mut().lines() {
            Some(lines) => lines.add(&REQUEST_ID, self.id.as_bytes()),
            None => self.name(response.headers_mut()),
        }
        self.decorate(&mut response);
        if let Some(verdict) = self.compression(&response) {
            self.compress(verdict, &mut response);
        }
        response.body_mut().exchange = Some(self);
        response
    }

    /// Of an answer that is asked for it: most are not.
    fn compression(&self, response: &Response<DownBody>) -> Option<Verdict> {
        let (compress, asked) = self.filtered.as_ref()?.compression()?;
        if self.is_grpc() {
            return None;
        }
        let body = response.body();
        let length = match body.size_hint().exact() {
            // What a GET would have got.
            Some(0) if asked.head_only => response
                .headers()
                .get(http::header::CONTENT_LENGTH)
                .and_then(|length| length.to_str().ok()?.parse().ok()),
            length => length,
        };
        let (status, own) = (response.status(), !body.may_break());
        Some(compress.judge(asked, status, response.headers(), own, length))
    }

    fn compress(&mut self, mut verdict: Verdict, response: &mut Response<DownBody>) {
        let Some((_, asked)) = self.filtered.as_ref().and_then(|filtered| filtered.compression()) else {
            return;
        };
        if let Verdict::Compressed(coding) = verdict {
            let body = response.body_mut();
            let most = if body.is_stream() { self.most } else { None };
            if asked.head_only {
                body.leave_out();
            } else if body.compress(coding, most, &self.core.metrics) {
                // Counted before it is compressed.
                self.most = None;
            } else {
                verdict = Verdict::Varies;
            }
        }
        let status = response.status();
        compress::describe(asked, verdict, status, response.headers_mut());
    }

    /// Who gets what the cache gives.
    pub(crate) fn receiver(&self) -> Receiver {
        match self.relayed {
            Some(_) => Receiver::Edge,
            None => Receiver::Client,
        }
    }

    /// Which request it is an answer to.
    pub(crate) fn name(&self, headers: &mut HeaderMap) {
        headers.insert(REQUEST_ID, self.id.clone());
    }

    /// What every answer carries besides its name.
    pub(crate) fn decorate<B>(&mut self, response: &mut Response<B>) {
        let status = self.meant.unwrap_or(response.status());
        self.status = Some(status);
        self.core.metrics.responses.of(self.status).increment();
        if let Some(filtered) = &self.filtered {
            filtered.answer(response.status(), response.headers_mut());
        }
        if let Some(routed) = self.routed.as_mut().filter(|_| self.relayed.is_none()) {
            routed.answer(response.headers_mut());
        }
        if self.peer.secure
            && let Some(hsts) = self.core.hsts()
        {
            let headers = response.headers_mut();
            headers
                .entry(http::header::STRICT_TRANSPORT_SECURITY)
                .or_insert(hsts);
        }
        if self.version == Version::HTTP_2 {
            // Its frames say what the field says in HTTP/1.
            response.headers_mut().remove(http::header::CONNECTION);
            return;
        }
        if self.core.is_draining() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response
                .headers_mut()
                .insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// A trusted peer's request id is kept if it can stand in a header, a page and a log line.
fn is_id(id: &HeaderValue) -> bool {
    id.len() <= 128 && !id.is_empty() && id.as_bytes().iter().all(u8::is_ascii_graphic)
}
