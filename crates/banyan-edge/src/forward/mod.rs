//! A request to an instance and its answer back: pick, connect or reuse, send, and try elsewhere when that is safe.

pub(crate) mod answer;
mod attempt;
pub(crate) mod body;
mod choose;
pub(crate) mod gate;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod mirror;
pub(crate) mod origin;
pub(crate) mod pool;
pub(crate) mod stream;
mod time;
pub(crate) mod tunnel;
pub(crate) mod upgrade;
mod way;
mod websocket;
mod wire;

use std::rc::Rc;

use http::Response;
use http::request::Parts;

use banyan_upstream::health::Cause;
use banyan_upstream::retry::Effect;

use crate::core::Core;
use crate::exchange::Exchange;
use crate::grpc;
use crate::respond::Refusal;
use crate::route::serving::Routed;
use answer::InstanceBody;
use attempt::Failure;
use body::Source;
use choose::Wanted;
use pool::Upstream;
use time::Time;

/// A last bound; reached only when connection after connection breaks before anything is sent.
const ATTEMPTS: usize = 16;

/// An instance's answer; its body has the connection that it comes over.
pub(crate) type Answer = Response<InstanceBody>;

pub(crate) async fn send(
    exchange: &mut Exchange,
    head: &Parts,
    source: Option<&Rc<Source>>,
) -> Result<Answer, Refusal> {
    match exchange.routed.as_ref().and_then(Routed::detour) {
        None => to_instances(exchange, head, source).await,
        // Boxed because few go there, and every request has room for what it awaits.
        Some(detour) => Box::pin(origin::follow(exchange, detour, head, source)).await,
    }
}

/// Of the exchange's group, whatever its route says of servers elsewhere.
pub(crate) async fn to_instances(
    exchange: &mut Exchange,
    head: &Parts,
    source: Option<&Rc<Source>>,
) -> Result<Answer, Refusal> {
    let core = Rc::clone(&exchange.core);
    let group = Rc::clone(&exchange.group);
    let wanted = Wanted::of(exchange, head);
    let trusted = exchange.relayed.is_some() || core.settings().trusts(exchange.peer.address);
    let routed = exchange.routed.as_ref();
    let own = exchange
        .part
        .or_else(|| routed.and_then(|routed| routed.timeout()));
    let mut time = Time::of(&core.settings(), own, &head.headers, trusted);
    if exchange.is_grpc() {
        time.of_call(&head.headers);
    }
    let mut tried: Vec<Rc<Upstream>> = std::mem::take(&mut exchange.avoided);
    exchange.forwarded = true;
    for _ in 0..ATTEMPTS {
        let in_flight = choose::choose(&core, &group, &wanted, &tried).await?;
        let upstream = Rc::clone(&in_flight.upstream);
        exchange.waited += in_flight.waited;
        exchange.upstream = Some(Rc::clone(&upstream));
        let failure = match attempt::attempt(exchange, in_flight, head, source, &time).await {
            Ok(mut answer) => {
                let status = answer.status();
                let cause = status.is_server_error().then(|| Cause::Status(status.as_u16()));
                let headers = answer.headers();
                if cause.is_some() || !exchange.is_grpc() {
                    core.observed(&upstream, cause);
                } else if grpc::status(headers).is_some() {
                    core.observed(&upstream, grpc::fault(headers));
                } else {
                    exchange.end_decides = true;
                }
                if !exchange.shares {
                    wanted.remember(&group, &upstream, answer.headers_mut());
                }
                return Ok(answer);
            }
            Err(failure) => failure,
        };
        if let Some(problem) = source.and_then(|s| s.problem()) {
            return Err(problem);
        }
        if failure.elsewhere {
            upstream.cells.failures.increment();
            core.suspect(&upstream.id, failure.refused);
            core.observed(&upstream, Some(failure.cause()));
        }
        exchange.may_have_acted |= failure.failed.sent;
        judge(&core, &failure)?;
        if time.left(core.now()).is_zero() {
            return Err(Refusal::GatewayTimeout);
        }
        exchange.retries += 1;
        core.metrics.retries.increment();
        group.cells.retries.increment();
        if failure.elsewhere {
            tried.push(upstream);
        }
    }
    Err(Refusal::BadGateway(if exchange.may_have_acted {
        Effect::Unknown
    } else {
        Effect::None
    }))
}

/// Binds the client to the instance that answered, where clients stay with theirs: of an answer that turned out to be for
/// nobody else.
pub(crate) fn bind(exchange: &Exchange, head: &Parts, answer: &mut Answer) {
    if let Some(upstream) = &exchange.upstream {
        let wanted = Wanted::of(exchange, head);
        wanted.remember(&exchange.group, upstream, answer.headers_mut());
    }
}

/// Whether a failed attempt may be followed by another.
fn judge(core: &Core, failure: &Failure) -> Result<(), Refusal> {
    if failure.timeout {
        return Err(Refusal::GatewayTimeout);
    }
    // A request that was not sent burdens nobody: only what was sent counts against the budget.
    let allowed =
        failure.failed.may_retry() && (!failure.failed.sent || core.budget.borrow_mut().withdraw(core.now()));
    if allowed {
        Ok(())
    } else {
        Err(Refusal::BadGateway(failure.failed.effect()))
    }
}
