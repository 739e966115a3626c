//! What a request tells of itself in its trace, when it is over: the request, its wait for an instance, the instance's answer.
//!
//! Told are those that failed or are slow (`edge.log.slow`), and of the slowest hundredth and of the sampled ones [`ORDINARY`] each
//! a second and core. The others cost a comparison; without somebody who listens, a look at a flag.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Method, StatusCode, Uri};

use banyan_runtime::spans::{Emitter, Way};
use banyan_telemetry::Slowest;
use banyan_telemetry::span::{Span, SpanId};
use banyan_telemetry::trace::TraceParent;

use super::Exchange;
use crate::respond::Outcome;
use crate::route::serving::Routed;

const ORDINARY: u32 = 20;
/// Of a path, in characters.
const SHOWN: usize = 200;

/// One core's choice of requests, and where they are told.
pub(crate) struct Teller {
    emitter: Emitter,
    slowest: Slowest,
    /// That runs, and how many were told in it.
    second: u64,
    slow: u32,
    sampled: u32,
}

/// What the choice goes by.
struct Ended {
    second: u64,
    took: Duration,
    is_slow: bool,
    failed: bool,
    sampled: bool,
}

impl Teller {
    pub(crate) fn new(way: &Way) -> Self {
        Self {
            emitter: way.emitter(),
            slowest: Slowest::default(),
            second: 0,
            slow: 0,
            sampled: 0,
        }
    }

    /// Each tick, and at the end.
    pub(crate) fn flush(&mut self) {
        self.emitter.flush();
    }

    fn wants(&mut self, ended: &Ended) -> bool {
        let one_of_the_slowest = self.slowest.is_one(ended.took);
        if ended.failed || ended.is_slow {
            return true;
        }
        if self.second != ended.second {
            (self.second, self.slow, self.sampled) = (ended.second, 0, 0);
        }
        let told = match (one_of_the_slowest, ended.sampled) {
            (true, _) => &mut self.slow,
            (false, true) => &mut self.sampled,
            (false, false) => return false,
        };
        *told += 1;
        *told <= ORDINARY
    }
}

impl Exchange {
    pub(super) fn tell_trace(&self, step: TraceParent, second: u64, took: Duration) {
        let mut teller = self.core.teller.borrow_mut();
        // A tunnel lasts as long as its user stays.
        if !teller.emitter.is_on() || self.status == Some(StatusCode::SWITCHING_PROTOCOLS) {
            return;
        }
        let ended = Ended {
            second,
            took,
            is_slow: took >= self.core.settings().log.slow,
            failed: self.failed(),
            sampled: step.is_sampled(),
        };
        if teller.wants(&ended) && teller.emitter.has_room() {
            self.spans(step, took, &mut teller.emitter);
        }
    }

    #[cold]
    fn spans(&self, step: TraceParent, took: Duration, emitter: &mut Emitter) {
        let took_us = micros(took);
        let start_us = self.core.clock.unix_us().saturating_sub(took_us);
        // What the instance heard of is its part; what is around that has a name of its own.
        let root = step.span().beside(1);
        let asked = self.logged.as_ref().and_then(Option::as_ref);
        let request = Span {
            trace: step.trace(),
            id: root,
            parent: self.continues,
            who: "edge".to_owned(),
            name: asked.map_or_else(|| "request".to_owned(), |(method, uri)| named(method, uri)),
            start_us,
            took_us,
            failed: self.failed(),
            keep: true,
            fields: self.fields(),
        };
        let part = |id: SpanId, who: &str, name: &str, from_us: u64, took_us: u64| Span {
            id,
            parent: Some(root),
            who: who.to_owned(),
            name: name.to_owned(),
            start_us: start_us + from_us,
            took_us,
            fields: BTreeMap::new(),
            ..request.clone()
        };
        let waited_us = micros(self.waited).min(took_us);
        if waited_us > 0 {
            let wait = part(
                step.span().beside(2),
                "edge",
                "wait for an instance",
                0,
                waited_us,
            );
            emitter.emit(Span {
                failed: false,
                ..wait
            });
        }
        if let Some(upstream) = self.upstream.as_ref().filter(|_| self.forwarded) {
            emitter.emit(part(
                step.span(),
                &upstream.label,
                "answer",
                waited_us,
                took_us - waited_us,
            ));
        }
        emitter.emit(request);
    }

    fn fields(&self) -> BTreeMap<String, String> {
        let cache = match (self.is_hit, self.cached.is_some()) {
            (true, _) => Some("hit"),
            (false, true) => Some("miss"),
            (false, false) => None,
        };
        let outcome = (self.outcome != Outcome::Answered).then(|| self.outcome.name());
        let fields = [
            ("status", self.status.map(|status| status.as_str().to_owned())),
            (
                "route",
                self.routed.as_ref().map(|routed| Routed::name(routed).to_owned()),
            ),
            ("request_id", self.id.to_str().ok().map(str::to_owned)),
            ("retries", (self.retries > 0).then(|| self.retries.to_string())),
            ("cache", cache.map(str::to_owned)),
            ("outcome", outcome.map(str::to_owned)),
        ];
        let known = fields.into_iter();
        known
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

/// Without the query: it carries tokens.
fn named(method: &Method, uri: &Uri) -> String {
    let path: String = uri.path().chars().take(SHOWN).collect();
    format!("{method} {path}")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_and_slow_ones_are_told_and_of_the_others_a_few() {
        let (way, _batches) = banyan_runtime::spans::channel();
        let mut teller = Teller::new(&way);
        let ended = |second, sampled| Ended {
            second,
            took: Duration::from_millis(5),
            is_slow: false,
            failed: false,
            sampled,
        };
        let mut told = |second, sampled| (0..100).filter(|_| teller.wants(&ended(second, sampled))).count();
        assert_eq!(told(1, true), ORDINARY as usize);
        assert_eq!(told(2, true), ORDINARY as usize);
        assert_eq!(told(3, false), 0);
        let failed = Ended {
            failed: true,
            ..ended(4, false)
        };
        assert!((0..100).all(|_| teller.wants(&failed)));
        let slow = Ended {
            is_slow: true,
            ..ended(4, false)
        };
        assert!(teller.wants(&slow));
    }
}
