//! `/healthz` and `/readyz`, and what happens before the latter says yes.

use std::fmt::Display;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use axum::extract;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::Banyan;

const RETRY: Duration = Duration::from_millis(500);
/// A Redis that is away keeps nobody from becoming ready: what it would do is done without it.
const REDIS_LIMIT: Duration = Duration::from_secs(2);

pub(super) fn is_health_path(path: &str) -> bool {
    path == "/healthz" || path == "/readyz"
}

type Prepared = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
type Prepare = Box<dyn Fn() -> Prepared + Send + Sync>;

pub(crate) struct Readiness {
    state: watch::Sender<State>,
    /// Of the app, in the order given. Locked to add, and to take at the start.
    prepare: Mutex<Vec<Prepare>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    NotYet(String),
    Ready,
}

impl Default for Readiness {
    fn default() -> Self {
        Self {
            state: watch::Sender::new(State::NotYet("starting".to_owned())),
            prepare: Mutex::default(),
        }
    }
}

impl Readiness {
    pub(crate) fn add<Fut, E>(&self, prepare: impl Fn() -> Fut + Send + Sync + 'static)
    where
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        let prepare: Prepare = Box::new(move || {
            let prepared = prepare();
            Box::pin(async move { prepared.await.map_err(|error| error.to_string()) })
        });
        let mut all = self.prepare.lock().expect("no holder of this lock panics");
        all.push(prepare);
    }

    fn not_yet(&self, reason: String) {
        let state = State::NotYet(reason);
        if self.state.send_replace(state.clone()) != state
            && let State::NotYet(reason) = state
        {
            tracing::warn!(reason, "not ready yet");
        }
    }
}

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

pub(super) async fn readyz(extract::State(banyan): extract::State<Banyan>) -> Response {
    let state = if banyan.drain().has_begun() {
        State::NotYet("stopping".to_owned())
    } else {
        banyan.readiness().state.borrow().clone()
    };
    match state {
        State::Ready => "ready\n".into_response(),
        State::NotYet(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")).into_response()
        }
    }
}

impl Banyan {
    /// Tries until all that is needed is there.
    pub(crate) async fn become_ready(&self) {
        while let Err(error) = self.prepare_database().await {
            let reason = format!("the database does not answer: {error}");
            self.readiness().not_yet(reason);
            sleep(RETRY).await;
        }
        self.prepare_redis().await;
        let prepare = {
            let mut all = self
                .readiness()
                .prepare
                .lock()
                .expect("no holder of this lock panics");
            std::mem::take(&mut *all)
        };
        for prepare in prepare {
            while let Err(reason) = prepare().await {
                self.readiness().not_yet(reason);
                sleep(RETRY).await;
            }
        }
        self.readiness().state.send_replace(State::Ready);
        tracing::info!("ready");
    }

    async fn prepare_database(&self) -> Result<(), sqlx::Error> {
        self.db().warm_up().await?;
        self.db().install().await?;
        self.sessions().arrive().await
    }

    /// Connections and scripts.
    async fn prepare_redis(&self) {
        let both = async { tokio::join!(self.caches().warm_up(), self.limiter().warm_up()) };
        let failed = match timeout(REDIS_LIMIT, both).await {
            Ok((cache, limiter)) => cache.and(limiter).err().map(|error| error.to_string()),
            Err(_) => Some(format!("no answer within {REDIS_LIMIT:?}")),
        };
        if let Some(reason) = failed {
            tracing::warn!(reason, "ready without Redis");
        }
    }
}
