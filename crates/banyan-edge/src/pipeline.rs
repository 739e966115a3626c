//! The order of stages for one request; each stage has its file beside this one.
//!
//! guard (head judged) → limits → target → https → route → headers → pick and forward → headers of the answer → stream → log (on drop).

use std::rc::Rc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;

use banyan_upstream::retry::Effect;

use crate::core::{Core, Peer};
use crate::exchange::{DownBody, Exchange};
use crate::forward::body::Source;
use crate::forward::{self, upgrade};
use crate::guard::REFUSED_METHOD;
use crate::headers::{self, Client};
use crate::respond::Refusal;
use crate::route::serving::{self, Next, Routed};
use crate::{http2, redirect};

/// Who answers.
enum Reply {
    Instance(forward::Answer),
    /// A route, by itself.
    Route(Response<Bytes>),
}

pub(crate) async fn serve(
    core: Rc<Core>,
    peer: Rc<Peer>,
    mut request: Request<Incoming>,
) -> Response<DownBody> {
    let mut exchange = Exchange::begin(&core, &peer, &request);
    let wants_upgrade = headers::wants_upgrade(request.version(), request.headers());
    let on_upgrade = wants_upgrade.then(|| hyper::upgrade::on(&mut request));
    let result = proxy(&mut exchange, request, wants_upgrade).await;
    let tunnels =
        matches!(&result, Ok(Reply::Instance((response, _))) if wants_upgrade && upgrade::agreed(response));
    if wants_upgrade {
        peer.guard.decide_upgrade(tunnels);
    }
    match (result, on_upgrade) {
        (Ok(Reply::Instance((response, lease))), Some(client)) if tunnels => {
            let mut answer = Response::new(DownBody::empty());
            *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            *answer.headers_mut() = response.headers().clone();
            exchange.decorate(&mut answer);
            upgrade::tunnel(exchange, lease, client, response);
            answer
        }
        (Ok(Reply::Instance((mut response, lease))), _) => {
            headers::strip_hop_by_hop(response.headers_mut());
            exchange.pass(response, lease)
        }
        (Ok(Reply::Route(response)), _) => exchange.give(response),
        (Err(refusal), _) => exchange.refuse(refusal),
    }
}

async fn proxy(exchange: &mut Exchange, request: Request<Incoming>, upgrade: bool) -> Result<Reply, Refusal> {
    let (core, peer) = (Rc::clone(&exchange.core), Rc::clone(&exchange.peer));
    check(&peer, &request)?;
    let (mut head, body) = request.into_parts();
    if head.version == Version::HTTP_2 {
        http2::to_http1(&mut head, &core.settings().limits)?;
    } else if let Some(uri) = headers::origin_form(&head.uri, &head.headers, peer.secure)? {
        head.uri = uri;
    }
    redirect::to_https(exchange, &head)?;
    if let Some(routes) = core.routes()
        && let Next::Answer(response) = serving::follow(exchange, routes, &mut head)?
    {
        return Ok(Reply::Route(response));
    }
    let settings = core.settings();
    let client = Client {
        address: peer.address,
        text: &peer.text,
        trusted: settings.trusted_proxies.contains(&peer.address),
        secure: peer.secure,
    };
    headers::to_instance(&mut head.headers, &client, &exchange.id, upgrade);
    if let Some(routed) = &exchange.routed {
        routed.request(&mut head.headers);
    }
    let limits = &settings.limits;
    let own = exchange.routed.as_ref().and_then(Routed::body);
    let most = own.unwrap_or(limits.body);
    if body.size_hint().exact().is_some_and(|length| length > most) {
        return Err(Refusal::BodyTooLarge);
    }
    let source =
        (!body.is_end_stream()).then(|| Source::new(body, peer.guard.clone(), most, limits.body_rate));
    let answer = forward::send(exchange, &head, source.as_ref()).await?;
    if answer.0.status() == StatusCode::SWITCHING_PROTOCOLS && !(upgrade && upgrade::agreed(&answer.0)) {
        return Err(Refusal::BadGateway(Effect::Unknown));
    }
    Ok(Reply::Instance(answer))
}

/// What can be refused by the head alone, beyond what the guard has refused already.
fn check(peer: &Peer, request: &Request<Incoming>) -> Result<(), Refusal> {
    if request.method().as_str() == REFUSED_METHOD {
        return Err(peer.guard.refusal());
    }
    if [Method::CONNECT, Method::TRACE].contains(request.method()) {
        return Err(Refusal::MethodNotAllowed);
    }
    Ok(())
}
