//! `/healthz`: this process can answer. `/readyz`: it has what it needs to take requests.
//!
//! Ready is reached once and left only by SIGTERM: a database that is away for a moment is shared by all instances, and
//! if each of them then said not ready, there would be none left to answer 503 with a reason.

use std::sync::Arc;
use std::time::Duration;

use axum::extract;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;

use crate::ids::Ids;
use crate::serve::App;
use crate::store;

const RETRY: Duration = Duration::from_millis(500);

pub(crate) fn is_health_path(path: &str) -> bool {
    path == "/healthz" || path == "/readyz"
}

pub(crate) struct Readiness(watch::Sender<State>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    NotYet(String),
    Ready,
}

impl Readiness {
    pub(crate) fn not_yet() -> Self {
        Self(watch::Sender::new(State::NotYet("starting".to_owned())))
    }
}

pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

pub(crate) async fn readyz(extract::State(app): extract::State<Arc<App>>) -> Response {
    let state = if app.drain.has_begun() {
        State::NotYet("stopping".to_owned())
    } else {
        app.readiness.0.borrow().clone()
    };
    match state {
        State::Ready => "ready\n".into_response(),
        State::NotYet(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response()
        }
    }
}

/// Tries until the database answers and its schema fits; then leases the node number for ids.
pub(crate) async fn become_ready(app: &App) {
    loop {
        match store::warm_up(&app.pool).await {
            Ok(node) => {
                app.ids.set(Ids::new(node)).ok();
                app.readiness.0.send_replace(State::Ready);
                tracing::info!(node, "ready");
                return;
            }
            Err(error) => {
                let state = State::NotYet(error.to_string());
                if app.readiness.0.send_replace(state.clone()) != state {
                    tracing::warn!(reason = %error, "not ready yet");
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}
