//! Waiting for a condition with a deadline: what tests do instead of sleeping.

use std::fmt;
use std::time::Duration;

use banyan_runtime::Clock;

const POLL: Duration = Duration::from_millis(20);

/// The condition did not hold in time.
#[derive(Debug, thiserror::Error)]
#[error("waited {limit:?} in vain for {what}; last seen: {last}")]
pub struct TimedOut {
    pub what: String,
    pub limit: Duration,
    pub last: String,
}

/// Asks `probe` again and again until it answers `Ok`; the last `Err` tells why it did not come to that.
pub fn blocking<T, E: fmt::Display>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<T, E>,
) -> Result<T, TimedOut> {
    let end = Clock.now() + limit;
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(last) if Clock.now() >= end => return Err(timed_out(what, limit, &last)),
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

/// As [`blocking`], for probes that are futures.
pub async fn until<T, E: fmt::Display>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, TimedOut> {
    let end = Clock.now() + limit;
    loop {
        match probe().await {
            Ok(value) => return Ok(value),
            Err(last) if Clock.now() >= end => return Err(timed_out(what, limit, &last)),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

fn timed_out(what: &str, limit: Duration, last: &impl fmt::Display) -> TimedOut {
    TimedOut {
        what: what.to_owned(),
        limit,
        last: last.to_string(),
    }
}
