//! The serving process from port to exit: bind, answer, become ready, drain.

use std::future::IntoFuture as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use sqlx::PgPool;
use tokio::net::TcpListener;

use crate::auth::{Passwords, Tokens, secret};
use crate::drain::{self, Drain, StopSignals};
use crate::error::ApiError;
use crate::health::{self, Readiness};
use crate::ids::Ids;
use crate::media::{self, Darkroom, MediaStore};
use crate::settings::Settings;
use crate::{api, store, web};

/// What every handler shares.
pub(crate) struct App {
    pub(crate) pool: PgPool,
    /// Set when ready.
    pub(crate) ids: OnceLock<Ids>,
    pub(crate) passwords: Passwords,
    pub(crate) tokens: Tokens,
    pub(crate) media: MediaStore,
    pub(crate) darkroom: Darkroom,
    pub(crate) readiness: Readiness,
    pub(crate) drain: Drain,
    served_by: HeaderValue,
}

impl App {
    pub(crate) fn next_id(&self) -> Result<i64, ApiError> {
        let ids = self.ids.get();
        ids.map(Ids::next)
            .ok_or_else(|| ApiError::Busy("not ready yet".to_owned()))
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    #[error("failed to start the runtime: {0}")]
    Runtime(io::Error),
    #[error("failed to listen on {address}: {source}")]
    Bind {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("failed to watch for signals: {0}")]
    Signals(io::Error),
    #[error("failed to serve: {0}")]
    Serve(io::Error),
    #[error(transparent)]
    Secret(#[from] secret::SecretError),
    #[error(transparent)]
    Media(#[from] media::MediaError),
    #[error("BANYAN_INSTANCE={0} cannot be a header value")]
    Instance(String),
    #[error("stopped at once by a second signal; requests in flight were dropped")]
    SecondSignal,
    #[error("requests still in flight after {:?} were dropped", drain::END_LIMIT)]
    CutOff,
}

pub(crate) async fn run(settings: Settings) -> Result<(), ServeError> {
    let mut signals = StopSignals::install().map_err(ServeError::Signals)?;
    let app = Arc::new(app(&settings)?);
    let bind_error = |source| ServeError::Bind {
        address: settings.listen,
        source,
    };
    let listener = TcpListener::bind(settings.listen).await.map_err(bind_error)?;
    let address = listener.local_addr().map_err(bind_error)?;
    tracing::info!(%address, instance = settings.instance, "listening");

    let listener = listener.tap_io(|stream| {
        // Without it small answers may wait for the client's acknowledgement; without effect it is merely slower.
        stream.set_nodelay(true).ok();
    });
    let may_close = Arc::clone(&app);
    let server = axum::serve(listener, router(&app))
        .with_graceful_shutdown(async move { may_close.drain.wait().await })
        .into_future();
    let preparing = async {
        health::become_ready(&app).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = server => ended.map_err(ServeError::Serve)?,
        failure = stop(&mut signals, &app) => return Err(failure),
        () = preparing => {}
    }
    tracing::info!("stopped");
    Ok(())
}

/// Begins the drain at the first signal; returns when waiting for its end is over.
async fn stop(signals: &mut StopSignals, app: &App) -> ServeError {
    signals.next().await;
    tracing::info!("stopping: not ready any more, serving until requests stop coming");
    app.drain.begin();
    tokio::select! {
        () = signals.next() => ServeError::SecondSignal,
        () = tokio::time::sleep(drain::END_LIMIT) => ServeError::CutOff,
    }
}

fn app(settings: &Settings) -> Result<App, ServeError> {
    let served_by = HeaderValue::from_str(&settings.instance);
    Ok(App {
        pool: store::pool(&settings.database),
        ids: OnceLock::new(),
        passwords: Passwords::new(),
        tokens: Tokens::new(&secret::load(settings.secret_key.clone(), &settings.data_dir)?),
        media: MediaStore::open(&settings.data_dir)?,
        darkroom: Darkroom::new(),
        readiness: Readiness::not_yet(),
        drain: Drain::new(),
        served_by: served_by.map_err(|_| ServeError::Instance(settings.instance.clone()))?,
    })
}

fn router(app: &Arc<App>) -> Router {
    let outermost = middleware::from_fn_with_state(Arc::clone(app), drain::close_when_draining);
    let named = middleware::from_fn_with_state(Arc::clone(app), name_instance);
    Router::new()
        .nest("/api", api::router())
        .merge(media::router())
        .merge(web::router())
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .fallback(|| async { ApiError::not_found("path") })
        .with_state(Arc::clone(app))
        .layer(named)
        .layer(outermost)
}

/// Shows a person, and a test, which instance answered.
async fn name_instance(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-served-by"), app.served_by.clone());
    response
}
