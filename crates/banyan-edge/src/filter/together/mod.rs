//! Rate limits over all edges: what an edge has let pass, the Redis of `[sessions]` is asked about, too.
//!
//! Each core asks over a connection of its own (`link`), once per request, for all its limits, and waits 50 ms at most
//! ([`crate::Config::limits_deadline`]). Who gets
//! no answer, and everybody until it answers a `PING` (`breaker`; one each second), is judged here by the edge's share of
//! the rate: nobody is refused because Redis is away, and no limit is off. Redis sees no address and no token: keys are HMACs.

mod breaker;
mod link;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Script};
use sha2::Sha256;
use tokio::time::timeout;

use banyan_config::RedisAddress;

use super::gcra::Rule;
use crate::core::Core;
use crate::core::command::Event;
use breaker::Breaker;
use link::Link;

/// What keys begin with; the user of edges may touch no others.
const PREFIX: &str = "banyan:limit:";

static COUNT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("count.lua")));

/// Among whom limits are counted, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The installation: others may use the same Redis.
    pub app: String,
    /// How many edges there are; at least 1.
    pub edges: u32,
    /// `Err`: why it is not known, in words.
    pub at: Result<RedisAddress, String>,
    /// How long a request waits for an answer.
    pub deadline: Duration,
}

/// A core's part.
pub(crate) struct Together {
    terms: Arc<Terms>,
    /// `None`: it is not known where.
    link: Option<Rc<Link>>,
    breaker: RefCell<Breaker>,
}

/// What Redis says of one limit, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// Until a request passes; 0: this one did.
    pub wait: u64,
    pub whole_in: u64,
}

impl Together {
    pub(crate) fn new(terms: Arc<Terms>) -> Rc<Self> {
        let link = terms.at.as_ref().ok().map(|address| Link::new(address.clone()));
        Rc::new(Self {
            terms,
            link,
            breaker: RefCell::default(),
        })
    }

    pub(super) fn edges(&self) -> u32 {
        self.terms.edges
    }

    /// False: it is counted here alone, by the edge's share.
    pub(super) fn may_ask(&self, core: &Core) -> bool {
        let may = self.link.is_some() && self.breaker.borrow().answers();
        if !may {
            core.metrics.counted_alone.increment();
        }
        may
    }

    /// The key of who is counted by the limit of this name: the same in every edge, and of no use to others.
    pub(super) fn key(&self, limit: &str, who: &[u8]) -> String {
        let password = self.terms.at.as_ref().map_or("", |at| at.password.as_str());
        key(password, &self.terms.app, limit, who)
    }

    /// Counts one request by each of these keys and rules, until one refuses. `None`: there is no answer in time.
    pub(super) async fn ask(&self, core: &Rc<Core>, asked: &[(&str, Rule)]) -> Option<Vec<Said>> {
        let link = self.link.as_ref()?;
        core.metrics.counted_together.increment();
        let said = self.in_time(link, core, question(link, core, asked)).await;
        if said.is_none() {
            core.metrics.counted_alone.increment();
        }
        said
    }

    /// Each tick: sees now and then whether a Redis that failed is back, whether or not there are requests.
    pub(crate) fn tick(self: &Rc<Self>, core: &Rc<Core>) {
        if self.breaker.borrow_mut().may_try(core.since_start()) {
            core.spawn("limits in Redis again", Rc::clone(self).ping(Rc::clone(core)));
        }
    }

    async fn ping(self: Rc<Self>, core: Rc<Core>) {
        if let Some(link) = &self.link {
            let alive = async {
                let mut connection = connection(link, &core).await?;
                let pong: Result<String, RedisError> = redis::cmd("PING").query_async(&mut connection).await;
                pong.map(drop).map_err(|error| error.to_string())
            };
            let _noted = self.in_time(link, &core, alive).await;
        }
    }

    /// `None`: not in time, or not at all; noted.
    async fn in_time<T>(
        &self,
        link: &Link,
        core: &Core,
        asked: impl Future<Output = Result<T, String>>,
    ) -> Option<T> {
        let failure = match timeout(self.terms.deadline, asked).await {
            Ok(Ok(answer)) => {
                if self.breaker.borrow_mut().answered() {
                    self.tell(core, None);
                }
                return Some(answer);
            }
            Ok(Err(failure)) => failure,
            Err(_elapsed) => link
                .problem()
                .unwrap_or_else(|| format!("no answer within {:?}", self.terms.deadline)),
        };
        link.give_up();
        if self.breaker.borrow_mut().failed(core.since_start()) {
            self.tell(core, Some(failure));
        }
        None
    }

    fn tell(&self, core: &Core, problem: Option<String>) {
        core.tell(Event::CountsAlone {
            core: core.index,
            problem,
        });
    }
}

/// The task that keeps the connection ends with the core, or with these terms.
impl Drop for Together {
    fn drop(&mut self) {
        if let Some(link) = &self.link {
            link.close();
        }
    }
}

async fn question(link: &Rc<Link>, core: &Core, asked: &[(&str, Rule)]) -> Result<Vec<Said>, String> {
    let mut connection = connection(link, core).await?;
    let mut script = COUNT.prepare_invoke();
    for (key, rule) in asked {
        let (each, reach) = rule.micros();
        script.key(*key).arg(each).arg(reach);
    }
    // Boxed because few requests come here, and each has room for what it awaits.
    let told: Result<Vec<u64>, RedisError> = Box::pin(script.invoke_async(&mut connection)).await;
    match told.map(|told| read(&told)) {
        Ok(said) if said.is_empty() => Err("its answer is no answer".to_owned()),
        Ok(said) => Ok(said),
        Err(error) => Err(error.to_string()),
    }
}

async fn connection(link: &Rc<Link>, core: &Core) -> Result<MultiplexedConnection, String> {
    let connection = link.connection(core).await;
    let problem = || {
        link.problem()
            .unwrap_or_else(|| "the connection ended".to_owned())
    };
    connection.ok_or_else(problem)
}

fn read(told: &[u64]) -> Vec<Said> {
    let nanos = |micros: u64| micros.saturating_mul(1000);
    let said = told.chunks_exact(2).map(|pair| Said {
        wait: nanos(pair[0]),
        whole_in: nanos(pair[1]),
    });
    said.collect()
}

fn key(password: &str, app: &str, limit: &str, who: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(password.as_bytes()).expect("HMAC takes keys of any length");
    for part in [app.as_bytes(), limit.as_bytes()] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.update(who);
    let digest = mac.finalize().into_bytes();
    let digits = digest[..16].iter().map(|byte| format!("{byte:02x}"));
    std::iter::once(PREFIX.to_owned()).chain(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_same_everywhere_apart_by_app_limit_and_who_and_say_nothing() {
        let one = key("geheim", "shop", "api", b"192.0.2.1");
        assert_eq!(one, key("geheim", "shop", "api", b"192.0.2.1"));
        assert_eq!(one.len(), PREFIX.len() + 32);
        for other in [
            key("another", "shop", "api", b"192.0.2.1"),
            key("geheim", "sho", "papi", b"192.0.2.1"),
            key("geheim", "shop", "api-2", b"192.0.2.1"),
            key("geheim", "shop", "api1", b"92.0.2.1"),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn an_answer_is_pairs_of_microseconds() {
        let said = |wait, whole_in| Said { wait, whole_in };
        assert_eq!(read(&[0, 5, 7, 9]), [said(0, 5_000), said(7_000, 9_000)]);
        assert_eq!(read(&[1]), []);
        assert_eq!(read(&[u64::MAX, 0]), [said(u64::MAX, 0)]);
    }
}
