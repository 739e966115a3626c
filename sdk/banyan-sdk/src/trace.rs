//! Which request something is done for: its `traceparent` (W3C Trace Context) is in the request's log lines, and its
//! statements carry it as `application_name`, where a proxy of the database finds it.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use sqlx::{Executor as _, PgConnection};
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

/// The connection is for the request of this task from now on: one round trip, where there is a trace.
pub(crate) async fn tell(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let Ok(parent) = PARENT.try_with(Clone::clone) else {
        return Ok(());
    };
    let statement = format!("SET application_name = '{parent}'");
    connection.execute(statement.as_str()).await?;
    Ok(())
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
}
