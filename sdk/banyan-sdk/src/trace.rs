//! Which request something is done for: its `traceparent` (W3C Trace Context) is in the request's log lines, and its
//! statements carry it as `application_name`, where a proxy of the database finds it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use sqlx::{Executor as _, PgConnection};
use tokio::time::Instant;
use tracing::Instrument as _;

/// `00-` and 32, 16 and 2 hexadecimal digits.
const LENGTH: usize = 55;

tokio::task_local! {
    static PARENT: String;
}

/// Around every handler: `.layer(axum::middleware::from_fn(banyan_sdk::trace::follow))`. A request without a trace is handled as if this were not there.
pub async fn follow(request: Request, next: Next) -> Response {
    let header = request.headers().get("traceparent");
    let parent = header
        .and_then(|value| value.to_str().ok())
        .filter(|text| is_sound(text));
    let Some(parent) = parent.map(str::to_owned) else {
        return next.run(request).await;
    };
    let trace_id = &parent[3..35];
    let span = tracing::info_span!("request", trace_id);
    PARENT.scope(parent, next.run(request)).instrument(span).await
}

/// It goes into a statement: nothing but digits and hyphens.
fn is_sound(text: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte) || byte == b'-';
    text.len() == LENGTH && text.bytes().all(sound)
}

/// The connection is for the request of this task from now on: one round trip if the trace is sampled, or if the connection still
/// has the name of one. Of the other requests nobody would keep statements, and most are such.
pub(crate) async fn tell(
    connection: &mut PgConnection,
    told: &Told,
    begun: Instant,
) -> Result<(), sqlx::Error> {
    let parent = PARENT
        .try_with(Clone::clone)
        .ok()
        .filter(|parent| is_sampled(parent));
    if parent.is_none() && !told.has(begun) {
        return Ok(());
    }
    // First of all: if this fails midway, the next one says it anew.
    told.note(begun, true);
    let name = parent.as_deref().unwrap_or_default();
    connection
        .execute(format!("SET application_name = '{name}'").as_str())
        .await?;
    told.note(begun, parent.is_some());
    Ok(())
}

/// Which connections of a pool have the name of a trace. A pool does not say which connection it is, but when it began. Two that
/// began within [`Told::NEAR`] are taken for one: then a statement may count as an earlier request's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<Instant>>>);

impl Told {
    const NEAR: Duration = Duration::from_millis(1);
    /// Those of closed connections are never asked for again; above, the oldest go.
    const MOST: usize = 256;

    /// When a connection of this age began.
    pub(crate) fn begun(&self, age: Duration) -> Instant {
        let now = Instant::now();
        now.checked_sub(age).unwrap_or(now)
    }

    fn has(&self, begun: Instant) -> bool {
        self.with(|all| all.iter().any(|known| near(*known, begun)))
    }

    fn note(&self, begun: Instant, is_told: bool) {
        self.with(|all| {
            all.retain(|known| !near(*known, begun));
            if is_told {
                all.push(begun);
            }
            let old = all.len().saturating_sub(Self::MOST);
            all.drain(..old);
        });
    }

    /// Held for a moment, never across a wait.
    fn with<T>(&self, look: impl FnOnce(&mut Vec<Instant>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn near(one: Instant, other: Instant) -> bool {
    one.max(other).saturating_duration_since(one.min(other)) <= Told::NEAR
}

/// The lowest bit of the flags (W3C Trace Context, 3.2.2.5.1).
fn is_sampled(parent: &str) -> bool {
    let flags = u8::from_str_radix(&parent[LENGTH - 2..], 16);
    flags.is_ok_and(|flags| flags & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_more_than_a_name_is_put_into_a_statement() {
        assert!(is_sound(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        ));
        assert!(!is_sound(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0'"
        ));
        assert!(!is_sound(""));
    }

    #[test]
    fn a_connection_that_was_told_is_known_by_its_beginning() {
        let told = Told::default();
        let first = told.begun(Duration::from_secs(5));
        let second = told.begun(Duration::from_secs(2));
        told.note(first, true);
        assert!(told.has(first) && told.has(first + Duration::from_micros(300)) && !told.has(second));
        told.note(second, true);
        told.note(first, false);
        assert!(!told.has(first) && told.has(second));
    }

    #[test]
    fn the_lowest_bit_of_the_flags_says_that_a_trace_is_sampled() {
        let with = |flags: &str| format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
        let sampled = ["00", "01", "02", "ff", "0-"].map(|flags| is_sampled(&with(flags)));
        assert_eq!(sampled, [false, true, false, true, false]);
    }
}
