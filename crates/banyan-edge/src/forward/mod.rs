//! A request to an instance and its answer back: pick, connect or reuse, send, and try elsewhere when that is safe.

mod attempt;
pub(crate) mod body;
pub(crate) mod pool;
pub(crate) mod upgrade;

use std::rc::Rc;

use http::Response;
use http::request::Parts;
use hyper::body::Incoming;
use tokio::time::timeout_at;

use banyan_upstream::Pick;
use banyan_upstream::retry::Effect;

use crate::core::Core;
use crate::exchange::Exchange;
use crate::respond::Refusal;
use attempt::Failure;
use body::Source;
use pool::{InFlight, Lease, Upstream};

/// A last bound; reached only when connection after connection breaks before anything is sent.
const ATTEMPTS: usize = 16;

/// The head of an instance's answer, and the connection that its body comes over.
pub(crate) type Answer = (Response<Incoming>, Lease);

pub(crate) async fn send(
    exchange: &mut Exchange,
    head: &Parts,
    source: Option<&Rc<Source>>,
) -> Result<Answer, Refusal> {
    let core = Rc::clone(&exchange.core);
    let mut tried: Vec<Rc<Upstream>> = Vec::new();
    for _ in 0..ATTEMPTS {
        let in_flight = choose(&core, &tried).await?;
        let upstream = Rc::clone(&in_flight.upstream);
        exchange.upstream = Some(Rc::clone(&upstream));
        let failure = match attempt::attempt(exchange, in_flight, head, source).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        if let Some(problem) = source.and_then(|s| s.problem()) {
            return Err(problem);
        }
        if failure.elsewhere {
            upstream.cells.failures.increment();
            core.suspect(&upstream.id, failure.refused);
        }
        exchange.may_have_acted |= failure.failed.sent;
        judge(&core, &failure)?;
        exchange.retries += 1;
        core.metrics.retries.increment();
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

/// The next endpoint's turn, waiting for a ready one if there is none.
async fn choose(core: &Rc<Core>, tried: &[Rc<Upstream>]) -> Result<InFlight, Refusal> {
    if let Some(in_flight) = pick(core, tried) {
        return Ok(in_flight);
    }
    let deadline = tokio::time::Instant::now() + core.settings().timeouts.no_endpoint;
    loop {
        let changed = core.ready_changed.notified();
        if let Some(in_flight) = pick(core, tried) {
            return Ok(in_flight);
        }
        timeout_at(deadline, changed)
            .await
            .map_err(|_| Refusal::NoEndpoint)?;
    }
}

/// Picking and counting is one synchronous step: a drain that starts later sees the request in flight.
fn pick(core: &Rc<Core>, tried: &[Rc<Upstream>]) -> Option<InFlight> {
    let mut set = core.endpoints.borrow_mut();
    match set.pick(|upstream| !tried.iter().any(|t| Rc::ptr_eq(t, upstream))) {
        Pick::Endpoint(entry) => Some(InFlight::begin(core, &entry.data)),
        Pick::NoneReady => None,
    }
}
