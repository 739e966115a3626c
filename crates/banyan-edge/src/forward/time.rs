//! How long the attempts of a request may take together, and what instances are told of it.
//!
//! The time begins when the first endpoint is picked: what a request waited in the queue has a limit of its own.

use std::cell::Cell;
use std::time::{Duration, Instant};

use http::header::{HeaderMap, HeaderName, HeaderValue};

use banyan_config::EdgeSettings;

use crate::grpc;

pub(super) struct Time {
    all: Duration,
    begun: Cell<Option<Instant>>,
    /// In milliseconds, in a header that instances and trusted peers know.
    header: Option<HeaderName>,
    /// The caller of a gRPC method waits no longer; the instance is told what is left of it.
    call: bool,
}

impl Time {
    /// A trusted peer may have given it less than the configured time; what others say is overwritten.
    /// `own`: that of its route.
    pub(super) fn of(
        settings: &EdgeSettings,
        own: Option<Duration>,
        headers: &HeaderMap,
        trusted: bool,
    ) -> Self {
        let header = settings
            .deadline_header
            .as_ref()
            .and_then(|name| name.parse().ok());
        let asked = header
            .as_ref()
            .filter(|_| trusted)
            .and_then(|name| headers.get(name));
        let asked = asked.and_then(|value| value.to_str().ok()?.parse().ok());
        let limit = own.unwrap_or(settings.timeouts.response);
        Self {
            all: asked.map_or(limit, |ms| limit.min(Duration::from_millis(ms))),
            begun: Cell::new(None),
            header,
            call: false,
        }
    }

    /// Of which nobody is told.
    pub(super) fn limited(all: Duration) -> Self {
        Self {
            all,
            begun: Cell::new(None),
            header: None,
            call: false,
        }
    }

    /// A gRPC call may have a time of its own, from anybody: it can only shorten ours.
    pub(super) fn of_call(&mut self, headers: &HeaderMap) {
        if let Some(limit) = grpc::timeout(headers) {
            self.all = self.all.min(limit);
            self.call = true;
        }
    }

    /// For an attempt that begins now.
    pub(super) fn left(&self, now: Instant) -> Duration {
        let begun = self.begun.get().unwrap_or(now);
        self.begun.set(Some(begun));
        self.all.saturating_sub(now.saturating_duration_since(begun))
    }

    /// What instances over HTTP/2 hear of it.
    pub(super) fn tell(&self, headers: &mut HeaderMap, left: Duration) {
        if self.call {
            headers.insert(grpc::TIMEOUT, grpc::timeout_text(left));
        }
        if let Some((name, left)) = self.told(left) {
            let ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            headers.insert(name.clone(), HeaderValue::from(ms));
        }
    }

    /// What instances hear, and by what name.
    pub(super) fn told(&self, left: Duration) -> Option<(&HeaderName, Duration)> {
        Some((self.header.as_ref()?, left))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a start for virtual time")]
mod tests {
    use super::*;

    #[test]
    fn later_attempts_have_what_the_first_left() {
        let now = Instant::now();
        let time = Time::of(&EdgeSettings::default(), None, &HeaderMap::new(), false);
        let second = Duration::from_secs(1);
        assert_eq!(time.left(now), second * 60);
        assert_eq!(time.left(now + second * 20), second * 40);
        assert_eq!(time.left(now + second * 99), Duration::ZERO);
    }

    #[test]
    fn only_a_trusted_peer_shortens_the_time_and_nobody_lengthens_it() {
        let settings = EdgeSettings {
            deadline_header: Some("X-Request-Timeout-Ms".to_owned()),
            ..EdgeSettings::default()
        };
        let all = |ms: &'static str, trusted| {
            let mut headers = HeaderMap::new();
            headers.insert("x-request-timeout-ms", HeaderValue::from_static(ms));
            Time::of(&settings, None, &headers, trusted).all.as_millis()
        };
        assert_eq!(all("1500", true), 1500);
        assert_eq!(all("1500", false), 60_000);
        assert_eq!(all("999999", true), 60_000);
        assert_eq!(all("soon", true), 60_000);
    }
}
