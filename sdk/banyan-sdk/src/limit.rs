//! Rate limits over all instances of an app: GCRA in one script, so that a limit is smooth and has no window to wait out.
//!
//! While Redis is away each process counts for itself, with its share of the rate: nobody is refused for it, and no limit is off.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponseParts, ResponseParts};
use redis::{RedisError, Script};
use tokio::time::Instant;

use crate::state::State;

/// Names counted in this process; beyond it those are forgotten that may come anyway.
const LOCAL_NAMES: usize = 10_000;

/// The address of Redis could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the address of the rate limits cannot be used; example: redis://user:password@127.0.0.1:6379: {0}")]
pub struct OpenError(#[from] redis::RedisError);

/// So many requests in so much time, evenly; `burst` of them at once (default: all).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    requests: NonZeroU32,
    period: Duration,
    burst: NonZeroU32,
}

impl Rate {
    pub const fn per(requests: NonZeroU32, period: Duration) -> Self {
        Self {
            requests,
            period,
            burst: requests,
        }
    }

    #[must_use]
    pub const fn burst(mut self, burst: NonZeroU32) -> Self {
        self.burst = burst;
        self
    }

    fn micros_each(self) -> u64 {
        let each = self.period.as_micros() / u128::from(self.requests.get());
        u64::try_from(each)
            .unwrap_or(u64::MAX >> 16)
            .clamp(1, u64::MAX >> 16)
    }

    /// One of `instances` equal parts; at least one request at once.
    fn part(self, instances: NonZeroU32) -> Self {
        let burst = NonZeroU32::new(self.burst.get() / instances.get());
        Self {
            period: self.period.saturating_mul(instances.get()),
            burst: burst.unwrap_or(NonZeroU32::MIN),
            ..self
        }
    }
}

/// What a request may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    rate: Rate,
    /// How many more may come at once.
    pub remaining: u32,
    /// `None`: it may. Else answer 429: this long until one may.
    pub retry_after: Option<Duration>,
}

impl Decision {
    pub fn is_allowed(&self) -> bool {
        self.retry_after.is_none()
    }

    /// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers), with a refusal also `Retry-After`, in whole seconds.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let seconds = |duration: Duration| duration.as_millis().div_ceil(1000).max(1);
        let (quota, window) = (self.rate.requests, seconds(self.rate.period));
        let next = self
            .retry_after
            .unwrap_or(Duration::from_micros(self.rate.micros_each()));
        let mut headers = vec![
            ("ratelimit-policy", format!("\"default\";q={quota};w={window}")),
            (
                "ratelimit",
                format!("\"default\";r={};t={}", self.remaining, seconds(next)),
            ),
        ];
        if let Some(wait) = self.retry_after {
            headers.push(("retry-after", seconds(wait).to_string()));
        }
        headers
    }
}

/// The headers of [`Decision::headers`] as parts of an axum answer: `(StatusCode::TOO_MANY_REQUESTS, decision, "later\n")`.
impl IntoResponseParts for Decision {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Self::Error> {
        let headers: &mut HeaderMap = parts.headers_mut();
        for (name, value) in self.headers() {
            // Digits and quotes: always a header's value.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        Ok(parts)
    }
}

/// Counts in Redis (`REDIS_URL`, the one that evicts nothing).
pub struct Limiter {
    /// `None`: there is no Redis, each process counts for itself.
    state: Option<State>,
    script: Script,
    instances: NonZeroU32,
    start: Instant,
    /// By name: when the next is due, in microseconds since `start`. Locked for one look.
    local: Mutex<HashMap<String, u64>>,
}

impl Limiter {
    /// `slow`: two calls in a row that take longer, and this process counts alone until a probe is quicker. `instances`:
    /// how many processes share the limits then. Connects when first used.
    pub fn open(url: &str, slow: Duration, instances: NonZeroU32) -> Result<Self, OpenError> {
        Ok(Self::over(Some(State::open(url, slow)?), instances))
    }

    /// Without Redis: this process allows one of `instances` parts of each limit.
    pub fn alone(instances: NonZeroU32) -> Self {
        Self::over(None, instances)
    }

    pub(crate) fn over(state: Option<State>, instances: NonZeroU32) -> Self {
        Self {
            state,
            script: Script::new(include_str!("lua/limit.lua")),
            instances,
            start: Instant::now(),
            local: Mutex::default(),
        }
    }

    /// Connects and loads the script, so that the first requests do not.
    pub async fn warm_up(&self) -> Result<(), RedisError> {
        if let Some(state) = &self.state {
            state.settle().await;
            self.script.load_async(&mut state.manager()).await?;
        }
        Ok(())
    }

    /// Counts one request of `name`, for example `login:203.0.113.7`. Never fails.
    pub async fn check(&self, name: &str, rate: Rate) -> Decision {
        if let Some(state) = &self.state
            && let Some(decision) = self.check_shared(state, name, rate).await
        {
            return decision;
        }
        self.check_alone(name, rate.part(self.instances))
    }

    async fn check_shared(&self, state: &State, name: &str, rate: Rate) -> Option<Decision> {
        let mut script = self.script.key(format!("limit:{name}"));
        script.arg(rate.micros_each()).arg(rate.burst.get());
        let asked =
            state.ask(|mut redis| async move { script.invoke_async::<(u8, u32, u64)>(&mut redis).await });
        let (allowed, remaining, wait) = asked.await?;
        Some(Decision {
            rate,
            remaining,
            retry_after: (allowed == 0).then_some(Duration::from_micros(wait)),
        })
    }

    fn check_alone(&self, name: &str, rate: Rate) -> Decision {
        let now = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX >> 1);
        let mut local = self.local.lock().expect("no holder of this lock panics");
        if local.len() >= LOCAL_NAMES && !local.contains_key(name) {
            local.retain(|_, due| *due > now);
        }
        let (due, decision) = decide(now, local.get(name).copied(), rate);
        if decision.is_allowed() {
            local.insert(name.to_owned(), due);
        }
        decision
    }
}

/// The script's decision, for one process. Times in microseconds.
fn decide(now: u64, due: Option<u64>, rate: Rate) -> (u64, Decision) {
    let each = rate.micros_each();
    let due = due.unwrap_or(now).max(now) + each;
    let room = each.saturating_mul(rate.burst.get().into());
    let ahead = due - now;
    let free = room.saturating_sub(ahead) / each;
    let decision = Decision {
        rate,
        remaining: u32::try_from(free).unwrap_or(u32::MAX),
        retry_after: (ahead > room).then(|| Duration::from_micros(ahead - room)),
    };
    (due, decision)
}

#[cfg(test)]
mod tests {
    use banyan_testkit::redis::Redis;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    /// One per hour, three at once: no test takes long enough for a fourth.
    fn slow_rate() -> Rate {
        Rate::per(number(1), Duration::from_secs(3600)).burst(number(3))
    }

    #[test]
    fn it_allows_a_burst_and_then_one_per_interval() {
        let rate = Rate::per(number(10), Duration::from_secs(1)).burst(number(2));
        let mut due = None;
        let mut ask = |now: u64| {
            let (next, decision) = decide(now, due, rate);
            if decision.is_allowed() {
                due = Some(next);
            }
            (
                decision.remaining,
                decision.retry_after.map(|wait| wait.as_millis()),
            )
        };
        assert_eq!(ask(0), (1, None));
        assert_eq!(ask(0), (0, None));
        assert_eq!(ask(40_000), (0, Some(60)));
        assert_eq!(ask(100_000), (0, None));
        assert_eq!(ask(100_000), (0, Some(100)));
        assert_eq!(ask(10_000_000), (1, None), "saved up to the burst, no more");
    }

    #[tokio::test]
    async fn all_processes_share_one_limit_and_names_do_not() {
        let redis = Redis::start().unwrap();
        let open = || Limiter::open(&redis.url(), LIMIT, number(2)).unwrap();
        let (one, other) = (open(), open());
        let rate = slow_rate();
        assert_eq!(one.check("a", rate).await.remaining, 2);
        assert_eq!(other.check("a", rate).await.remaining, 1);
        assert!(one.check("a", rate).await.is_allowed());
        let refused = other.check("a", rate).await;
        let wait = refused.retry_after.unwrap();
        assert!(
            wait > Duration::from_secs(3000) && wait <= Duration::from_secs(3600),
            "{wait:?}"
        );
        assert!(other.check("b", rate).await.is_allowed());
    }

    #[tokio::test]
    async fn a_process_counts_alone_with_its_share_while_redis_is_away() {
        let mut redis = Redis::start().unwrap();
        let limiter = Limiter::open(&redis.url(), LIMIT, number(3)).unwrap();
        assert!(limiter.check("a", slow_rate()).await.is_allowed());
        redis.kill();
        assert!(limiter.check("b", slow_rate()).await.is_allowed());
        assert!(
            !limiter.check("b", slow_rate()).await.is_allowed(),
            "one of three is its share"
        );
        redis.restart().unwrap();
        let shared = async {
            while limiter.check("c", slow_rate()).await.remaining != 2 {
                limiter.local.lock().unwrap().clear();
                redis.command(&["DEL", "limit:c"]).unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, shared)
            .await
            .expect("Redis is asked again");
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let rate = Rate::per(number(2), Duration::from_secs(60)).burst(number(1));
        let (due, allowed) = decide(0, None, rate);
        assert_eq!(
            allowed.headers(),
            [
                ("ratelimit-policy", "\"default\";q=2;w=60".to_owned()),
                ("ratelimit", "\"default\";r=0;t=30".to_owned())
            ]
        );
        let (_, refused) = decide(500_000, Some(due), rate);
        assert_eq!(refused.headers()[2], ("retry-after", "30".to_owned()));
    }
}
