//! The order of stages for one request; each stage has its file beside this one.
//!
//! (head judged and read) → limits → target → https → route → filters → headers → cache → pick and forward → headers of the answer → stream → log (on drop).

use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;

use banyan_upstream::retry::Effect;

use crate::cache::hop::{self, Relayed};
use crate::cache::{self, Cache};
use crate::core::{Core, Peer};
use crate::exchange::{DownBody, Exchange};
use crate::files::{self, Wanted};
use crate::forward;
use crate::forward::answer::InstanceBody;
use crate::forward::body::Source;
use crate::forward::upgrade::{self, Switched};
use crate::gateway::{self, Job};
use crate::headers::{self, Client, Kept};
use crate::interim::Interim;
use crate::request_body::ClientBody;
use crate::respond::Refusal;
use crate::route::serving::{self, Next, Routed};
use crate::{filter, http2, redirect, trace};

/// Who answers.
enum Reply {
    Instance(forward::Answer),
    /// The cache, with what it has or is getting.
    Stored(Response<Box<cache::Reader>>),
    /// A route, by itself.
    Route(Response<Bytes>),
}

/// Not an `async fn`, and what comes before the first wait is not part of the future: an `async fn` keeps what it takes
/// twice, and each connection keeps room for one of these futures. `interim`: where interim answers go; without it, to the
/// connection.
pub(crate) fn serve(
    core: &Rc<Core>,
    peer: &Rc<Peer>,
    request: Request<ClientBody>,
    interim: Option<Rc<Interim>>,
) -> impl Future<Output = Response<DownBody>> + use<> {
    let mut exchange = Exchange::begin(core, peer, &request);
    exchange.interim = interim;
    let wants_upgrade = headers::wants_upgrade(request.version(), request.headers());
    let outbound = prepare(&mut exchange, request, wants_upgrade);
    async move {
        let mut outbound = outbound;
        if filter::waits(&exchange) {
            // Few do: its room is taken only then.
            outbound = Box::pin(settle(&mut exchange, outbound)).await;
        }
        if let (Ok(outbound), Some(mirror)) = (&outbound, exchange.routed.as_ref().and_then(Routed::mirror))
            && exchange.relayed.is_none()
        {
            mirror.copy(&exchange, &outbound.head, outbound.source.as_ref());
        }
        let result = match outbound {
            Ok(ref outbound) if exchange.cached.is_some() => cached(&mut exchange, outbound).await,
            Ok(ref outbound) => {
                exchange.pass_head();
                forward::send(&mut exchange, &outbound.head, outbound.source.as_ref())
                    .await
                    .map(Reply::Instance)
            }
            Err(Early::Route(response)) => Ok(Reply::Route(*response)),
            // Boxed because few do, and every request has room for what it awaits.
            Err(Early::Files(wanted)) => return Box::pin(files::answer(exchange, *wanted)).await,
            Err(Early::Gateway(work)) => {
                let (wanted, job) = *work;
                return Box::pin(gateway::answer(exchange, wanted, job)).await;
            }
            Err(Early::Refused(refusal)) => Err(refusal),
        };
        finish(exchange, result, wants_upgrade)
    }
}

/// What something stored answers, or the instances.
async fn cached(exchange: &mut Exchange, outbound: &Outbound) -> Result<Reply, Refusal> {
    let (head, source) = (&outbound.head, outbound.source.as_ref());
    if let Some(response) = cache::at_once(exchange, head, source.is_some()) {
        exchange.is_hit = true;
        return Ok(Reply::Stored(response));
    }
    let Some(asked) = exchange.cached.take() else {
        return Err(Refusal::NoEndpoint);
    };
    // Boxed because a hit does not need its room.
    let served = Box::pin(cache::serve(exchange, &asked, head, source)).await?;
    Ok(match served {
        cache::Reply::Instance(response) => Reply::Instance(response),
        cache::Reply::Stored(response) => Reply::Stored(response),
        cache::Reply::NotStored => {
            let message = "this is not in the cache, and nothing else was wanted";
            Reply::Route(exchange.notice(StatusCode::GATEWAY_TIMEOUT, message))
        }
    })
}

/// A request that could not be read.
pub(crate) fn refused(core: &Rc<Core>, peer: &Rc<Peer>, refusal: Refusal) -> Response<DownBody> {
    Exchange::unread(core, peer).refuse(refusal)
}

async fn settle(exchange: &mut Exchange, outbound: Result<Outbound, Early>) -> Result<Outbound, Early> {
    match outbound {
        Ok(mut outbound) => {
            filter::settle(exchange, Some(&mut outbound.head.headers)).await?;
            Ok(outbound)
        }
        Err(Early::Gateway(mut work)) => {
            filter::settle(exchange, Some(&mut work.1.head.headers)).await?;
            Err(Early::Gateway(work))
        }
        Err(early) => {
            filter::settle(exchange, None).await?;
            Err(early)
        }
    }
}

/// From the instance's answer, or a route's, or why there is none, to the client's.
fn finish(
    mut exchange: Box<Exchange>,
    result: Result<Reply, Refusal>,
    wants_upgrade: bool,
) -> Response<DownBody> {
    match result {
        Ok(Reply::Instance(response)) if wants_upgrade && upgrade::agreed(&response) => {
            switch(exchange, response)
        }
        Ok(Reply::Instance(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            exchange.refuse(Refusal::BadGateway(Effect::Unknown))
        }
        Ok(Reply::Instance(mut response)) => {
            headers::strip_hop_by_hop(response.headers_mut());
            if let Some(filtered) = &exchange.filtered {
                filtered.overrule(response.headers_mut());
            }
            match exchange.bound(&response) {
                Ok(()) => exchange.pass(response),
                Err(refusal) => exchange.refuse(refusal),
            }
        }
        Ok(Reply::Stored(mut response)) => {
            if let Some(filtered) = &exchange.filtered {
                filtered.overrule(response.headers_mut());
            }
            exchange.give_stored(response)
        }
        Ok(Reply::Route(response)) => exchange.give(response),
        Err(refusal) => exchange.refuse(refusal),
    }
}

fn switch(mut exchange: Box<Exchange>, response: Response<InstanceBody>) -> Response<DownBody> {
    let (head, body) = response.into_parts();
    let Some(tunnel) = body.into_tunnel() else {
        return exchange.refuse(Refusal::BadGateway(Effect::Unknown));
    };
    let mut answer = Response::new(());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = head.headers;
    exchange.name(answer.headers_mut());
    exchange.decorate(&mut answer);
    let switched = Switched::new(exchange, tunnel, answer.headers());
    answer.map(|()| DownBody::switched(switched))
}

/// A request as an instance gets it, for as many attempts as it takes.
struct Outbound {
    head: Parts,
    source: Option<Rc<Source>>,
}

/// Why a request goes to no instance.
enum Early {
    Refused(Refusal),
    Route(Box<Response<Bytes>>),
    Files(Box<Wanted>),
    Gateway(Box<(gateway::Wanted, Job)>),
}

impl From<Refusal> for Early {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn prepare(exchange: &mut Exchange, request: Request<ClientBody>, upgrade: bool) -> Result<Outbound, Early> {
    let (core, peer) = (Rc::clone(&exchange.core), Rc::clone(&exchange.peer));
    check(&peer, &request)?;
    let (mut head, body) = request.into_parts();
    if head.version == Version::HTTP_2 {
        http2::to_http1(&mut head, &core.settings().limits)?;
    } else if let Some(uri) = headers::origin_form(&head.uri, &head.headers, peer.secure)? {
        head.uri = uri;
    }
    let cache = core.cache();
    if let Some(cache) = &cache
        && let Some(relayed) = cache.take(&mut head.headers)?
    {
        return relay(exchange, cache, relayed, Request::from_parts(head, body));
    }
    if let Some(answer) = core.challenge(head.uri.path()) {
        return Err(Early::Route(Box::new(answer)));
    }
    redirect::to_https(exchange, &head)?;
    exchange.cached = cache.map(|cache| cache::Asked::of(cache, &head));
    let next = match core.routes() {
        Some(routes) => serving::follow(exchange, routes, &mut head)?,
        None => filter::enter(exchange, core.filters(), &mut head)?,
    };
    let gateway = match next {
        Next::Forward => None,
        Next::Gateway(wanted) => Some(*wanted),
        Next::Answer(response) => return Err(Early::Route(Box::new(response))),
        Next::Files(wanted) => return Err(Early::Files(wanted)),
    };
    let settings = core.settings();
    let client = Client {
        address: peer.address,
        text: &peer.text,
        trusted: settings.trusts(peer.address),
        secure: peer.secure,
    };
    let kept = Kept {
        upgrade,
        body: !body.is_end_stream(),
    };
    let late = gateway.is_none() && exchange.may_introduce_late();
    exchange.introduces = headers::to_instance(&mut head.headers, &client, &exchange.id, kept, late);
    let late = exchange.introduces;
    let step = trace::step(&core, &settings, client.trusted, &mut head.headers, late);
    exchange.trace = step.map(|step| step.own);
    exchange.continues = step.and_then(|step| step.continues);
    filter::introduce(exchange, &mut head.headers);
    if let Some(routed) = &exchange.routed {
        routed.request(&mut head.headers);
    }
    if let Some(wanted) = gateway {
        return Err(Early::Gateway(Box::new((wanted, Job { head, body }))));
    }
    let limits = &settings.limits;
    let own = exchange.routed.as_ref().and_then(Routed::body);
    let most = own.unwrap_or(limits.body);
    if exchange.is_grpc() {
        let source = (!body.is_end_stream()).then(|| Source::of_call(body, most));
        return Ok(Outbound { head, source });
    }
    if body.size_hint().exact().is_some_and(|length| length > most) {
        return Err(Early::Refused(Refusal::BodyTooLarge));
    }
    let source = (!body.is_end_stream()).then(|| Source::new(body, most, limits.body_rate));
    exchange.received = source.as_ref().map(|source| source.counter());
    if let (Some(source), Some(form)) = (&source, filter::form(exchange, &head)) {
        source.inspect(form);
    }
    Ok(Outbound { head, source })
}

/// Another edge asks: limits, filters and headers were its concern.
fn relay(
    exchange: &mut Exchange,
    cache: &Rc<Cache>,
    relayed: Relayed,
    request: Request<ClientBody>,
) -> Result<Outbound, Early> {
    let core = Rc::clone(&exchange.core);
    let (mut head, body) = request.into_parts();
    let Some(group) = core.group_of(&relayed.process) else {
        return Err(Early::Route(Box::new(hop::unknown())));
    };
    exchange.group = group;
    let routes = core.routes().zip(relayed.route);
    exchange.routed = routes.and_then(|(routes, name)| Routed::named(routes, &name));
    exchange.cached = Some(cache::Asked::at(Rc::clone(cache), relayed.uri, relayed.untrue));
    exchange.relayed = Some(relayed.from);
    if let Some(id) = head.headers.get(&headers::REQUEST_ID) {
        exchange.id = id.clone();
    }
    headers::strip_hop_by_hop(&mut head.headers);
    let source = (!body.is_end_stream()).then(|| Source::new(body, u64::MAX, 0));
    exchange.received = source.as_ref().map(|source| source.counter());
    Ok(Outbound { head, source })
}

/// What can be refused by the head alone, beyond what could not be read.
fn check(peer: &Peer, request: &Request<ClientBody>) -> Result<(), Refusal> {
    if peer.hurried {
        return Err(Refusal::TooManyConnections);
    }
    if [Method::CONNECT, Method::TRACE].contains(request.method()) {
        return Err(Refusal::MethodNotAllowed);
    }
    Ok(())
}
