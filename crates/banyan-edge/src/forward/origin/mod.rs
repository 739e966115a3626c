//! Servers elsewhere that a route sends to, by URL (`[origin.NAME]`): the first that works is asked, others when it fails.
//!
//! They are spoken to as instances are (HTTP/1.1, kept connections, the same strictness), but found by name, within TLS
//! where their URL says so, verified, and shown a secret by which they know the edge. `turn` decides, `server` connects.
//! Tasks: none; checks are the control task's. Limits: no PROXY protocol, no HTTP/2, no sticky sessions.

pub(crate) mod server;
mod turn;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::header::{HOST, HeaderName, HeaderValue, UPGRADE};
use http::request::Parts;

use banyan_upstream::retry::Effect;

use super::attempt::{self, Failure};
use super::body::Source;
use super::pool::{InFlight, Upstream};
use super::time::Time;
use super::{Answer, to_instances};
use crate::core::Core;
use crate::core::groups::Group;
use crate::exchange::Exchange;
use crate::respond::Refusal;
use crate::route::serving::Routed;
use server::Shared;
use turn::Came;

/// By which an origin knows that the edge asks. Clients cannot say it.
pub(crate) const VERIFY: HeaderName = HeaderName::from_static("x-origin-verify");
/// Of one server: kept connections may turn out to be closed.
const TRIES: usize = 4;

/// What the cores are told of an origin.
#[derive(Clone)]
pub(crate) struct Known {
    pub shared: Arc<Shared>,
    /// What `X-Origin-Verify` says.
    pub secret: Option<HeaderValue>,
}

/// As one core knows it.
pub(crate) struct Origin {
    shared: Arc<Shared>,
    servers: Vec<Rc<Upstream>>,
    secret: RefCell<Option<HeaderValue>>,
}

/// One core's, by name.
#[derive(Default)]
pub(crate) struct Origins(BTreeMap<String, Rc<Origin>>);

/// Where the requests of a route go, if not to instances alone.
#[derive(Clone)]
pub(crate) enum Detour {
    /// To nobody else.
    Origin(Rc<Origin>),
    /// When the instances fail.
    Backup(Rc<Origin>),
}

impl Origins {
    /// What is the same as before keeps its connections.
    pub(crate) fn update(&mut self, known: &BTreeMap<String, Known>, core: usize) {
        let mut former = std::mem::take(&mut self.0);
        for (name, known) in known {
            let same = former
                .remove(name)
                .filter(|origin| Arc::ptr_eq(&origin.shared, &known.shared));
            let origin = same.unwrap_or_else(|| Rc::new(Origin::new(Arc::clone(&known.shared), core)));
            origin.secret.replace(known.secret.clone());
            self.0.insert(name.clone(), origin);
        }
        former.values().for_each(|gone| gone.close_idle());
    }

    pub(crate) fn of(&self, name: &str) -> Option<Rc<Origin>> {
        self.0.get(name).cloned()
    }

    pub(crate) fn expire_idle(&self, now: Instant) {
        for origin in self.0.values() {
            origin.servers.iter().for_each(|server| server.expire_idle(now));
        }
    }

    pub(crate) fn close_idle(&self) {
        self.0.values().for_each(|origin| origin.close_idle());
    }
}

impl Origin {
    fn new(shared: Arc<Shared>, core: usize) -> Self {
        let servers = shared.servers.iter();
        Self {
            servers: servers
                .filter_map(|server| Upstream::elsewhere(server, core))
                .collect(),
            shared,
            secret: RefCell::default(),
        }
    }

    fn close_idle(&self) {
        self.servers.iter().for_each(|server| server.close_idle());
    }

    fn head_for(&self, server: usize, head: &Parts) -> Parts {
        let mut head = head.clone();
        head.headers
            .insert(HOST, self.shared.servers[server].host.clone());
        head.headers.remove(VERIFY);
        if let Some(secret) = &*self.secret.borrow() {
            head.headers.insert(VERIFY, secret.clone());
        }
        head
    }
}

/// Whether it changes nothing, and can be asked more than once.
fn may_turn(head: &Parts, source: Option<&Rc<Source>>) -> bool {
    head.method.is_safe() && source.is_none() && !head.headers.contains_key(UPGRADE)
}

/// There is somebody to be asked, as far as is known.
pub(crate) fn has_somebody(exchange: &Exchange) -> bool {
    let detour = exchange.routed.as_ref().and_then(Routed::detour);
    detour.is_some() || is_there(&exchange.group)
}

fn is_there(group: &Group) -> bool {
    group.endpoints.borrow().eligible().next().is_some()
}

pub(super) async fn follow(
    exchange: &mut Exchange,
    detour: Detour,
    head: &Parts,
    source: Option<&Rc<Source>>,
) -> Result<Answer, Refusal> {
    let origin = match detour {
        Detour::Origin(origin) => return send(exchange, &origin, head, source).await,
        Detour::Backup(origin) => origin,
    };
    let turns = may_turn(head, source) && !exchange.is_grpc();
    if !turns || is_there(&exchange.group) {
        let answer = to_instances(exchange, head, source).await;
        let came = match &answer {
            Ok(answer) => Came::Answered(answer.status()),
            Err(Refusal::GatewayTimeout) => Came::Late,
            Err(Refusal::NoEndpoint | Refusal::BadGateway(_) | Refusal::Busy) => Came::Broken,
            // Of the client's own making.
            Err(_) => return answer,
        };
        if !came.turns(turns) {
            return answer;
        }
        let instance = exchange.upstream.take();
        return match send(exchange, &origin, head, source).await {
            Ok(other) => Ok(other),
            // What the app said itself is worth more than that nobody else is there.
            Err(_) => {
                exchange.upstream = instance;
                answer
            }
        };
    }
    send(exchange, &origin, head, source).await
}

/// Asks one after the other, as far as the request may turn and its time lasts.
async fn send(
    exchange: &mut Exchange,
    origin: &Rc<Origin>,
    head: &Parts,
    source: Option<&Rc<Source>>,
) -> Result<Answer, Refusal> {
    let core = Rc::clone(&exchange.core);
    let turns = may_turn(head, source);
    let all = time_of(exchange, &core);
    let sound: Vec<bool> = origin.shared.servers.iter().map(|s| s.is_sound()).collect();
    let mut best: Option<(Answer, Rc<Upstream>)> = None;
    let mut refusal = Refusal::BadGateway(Effect::None);
    for server in turn::order(&sound, turns) {
        let left = all.left(core.now()).min(origin.shared.config.timeout);
        if left.is_zero() {
            break;
        }
        let asked = origin.head_for(server, head);
        let time = Time::limited(left);
        let answered = ask(exchange, &core, &origin.servers[server], &asked, source, &time).await;
        if let Some(problem) = source.and_then(|source| source.problem()) {
            return Err(problem);
        }
        let came = match &answered {
            Ok(answer) => Came::Answered(answer.status()),
            Err(failure) if failure.timeout => Came::Late,
            Err(_) => Came::Broken,
        };
        origin.shared.servers[server].saw(came);
        let turns = came.turns(turns);
        match answered {
            Ok(answer) if !turns => return Ok(answer),
            Ok(answer) => best = best.or_else(|| Some((answer, Rc::clone(&origin.servers[server])))),
            Err(failure) => {
                refusal = said(&failure);
                if !failure.failed.sent {
                    origin.shared.servers[server].is_gone();
                }
            }
        }
        if !turns {
            break;
        }
        exchange.retries += 1;
        core.metrics.retries.increment();
    }
    let (answer, upstream) = best.ok_or(refusal)?;
    exchange.upstream = Some(upstream);
    Ok(answer)
}

/// One server, by a kept connection or a new one.
async fn ask(
    exchange: &mut Exchange,
    core: &Rc<Core>,
    upstream: &Rc<Upstream>,
    head: &Parts,
    source: Option<&Rc<Source>>,
    time: &Time,
) -> Result<Answer, Failure> {
    exchange.upstream = Some(Rc::clone(upstream));
    let mut tries = 0;
    loop {
        tries += 1;
        let in_flight = InFlight::begin(core, upstream, core.now());
        match attempt::attempt(exchange, in_flight, head, source, time).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => {
                exchange.may_have_acted |= failure.failed.sent && !head.method.is_safe();
                let again = !failure.elsewhere && !failure.timeout && failure.failed.may_retry();
                if !again || tries == TRIES {
                    upstream.cells.failures.increment();
                    return Err(failure);
                }
            }
        }
    }
}

/// For all servers together.
fn time_of(exchange: &Exchange, core: &Core) -> Time {
    let own = exchange.routed.as_ref().and_then(Routed::timeout);
    Time::limited(own.unwrap_or(core.settings().timeouts.response))
}

fn said(failure: &Failure) -> Refusal {
    if failure.timeout {
        Refusal::GatewayTimeout
    } else {
        Refusal::BadGateway(failure.failed.effect())
    }
}
