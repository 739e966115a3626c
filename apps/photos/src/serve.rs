//! What every handler shares, and the routes. Port, health, readiness and drain are the SDK's.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::Response;
use banyan_sdk::auth::{Keyring, KeyringError, Passwords, TokenSettings, Tokens};
use banyan_sdk::{Banyan, InitError, Sessions};
use sqlx::PgPool;

use crate::cached::Cached;
use crate::error::ApiError;
use crate::fellows::Fellows;
use crate::ids::Ids;
use crate::media::{self, Darkroom, MediaStore};
use crate::settings::Settings;
use crate::{api, store, web};

/// RealWorld's clients know of no refresh: they log in again after it.
const TOKEN_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

pub(crate) struct App {
    /// For statements outside a transaction.
    pub(crate) pool: PgPool,
    /// For transactions that change what is cached.
    pub(crate) database: banyan_sdk::Database,
    pub(crate) cached: Cached,
    pub(crate) sessions: Sessions,
    fellows: Arc<Fellows>,
    /// Set when ready.
    pub(crate) ids: OnceLock<Ids>,
    pub(crate) passwords: Passwords,
    /// For the limits of what may be guessed.
    pub(crate) banyan: Banyan,
    pub(crate) tokens: Tokens,
    pub(crate) media: MediaStore,
    pub(crate) darkroom: Darkroom,
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
    #[error(transparent)]
    Init(#[from] InitError),
    #[error(transparent)]
    Serve(#[from] banyan_sdk::ServeError),
    #[error(transparent)]
    Keys(#[from] KeyringError),
    #[error(transparent)]
    Media(#[from] media::MediaError),
    #[error("BANYAN_INSTANCE={0} cannot be a header value")]
    Instance(String),
}

pub(crate) async fn run(settings: Settings) -> Result<(), ServeError> {
    let banyan = Banyan::with(settings.sdk.clone()).await?;
    let app = Arc::new(app(&banyan, settings)?);
    let preparing = Arc::clone(&app);
    let banyan = banyan.before_ready(move || prepare(Arc::clone(&preparing)));
    tokio::select! {
        served = banyan.serve(router(&app)) => {
            app.fellows.leave().await;
            Ok(served?)
        }
        () = app.fellows.stay() => Ok(()),
    }
}

/// The schema must fit, the node number makes ids unique, and the others must know of this one.
async fn prepare(app: Arc<App>) -> Result<(), store::NotReady> {
    let node = store::lease_node(&app.pool).await?;
    app.fellows.join(node).await.map_err(store::NotReady::from)?;
    // Once: what prepares is not asked again after it succeeded.
    app.ids.set(Ids::new(node)).ok();
    Ok(())
}

fn app(banyan: &Banyan, settings: Settings) -> Result<App, ServeError> {
    let Settings { sdk, has_cache } = settings;
    let served_by = HeaderValue::from_str(&sdk.instance);
    let fellows = Arc::new(Fellows::new(banyan.db().pool().clone(), has_cache));
    Ok(App {
        pool: banyan.db().pool().clone(),
        database: banyan.db().clone(),
        sessions: banyan.sessions().clone(),
        cached: Cached::new(banyan, Arc::clone(&fellows)),
        fellows,
        ids: OnceLock::new(),
        passwords: Passwords::default(),
        banyan: banyan.clone(),
        tokens: Tokens::new(banyan, Keyring::shared(&sdk.data_dir)?, token_settings()),
        media: MediaStore::open(&sdk.data_dir)?,
        darkroom: Darkroom::new(),
        served_by: served_by.map_err(|_| ServeError::Instance(sdk.instance))?,
    })
}

fn token_settings() -> TokenSettings {
    TokenSettings {
        access: TOKEN_LIFETIME,
        ..TokenSettings::new("photos", "photos")
    }
}

fn router(app: &Arc<App>) -> Router {
    let named = middleware::from_fn_with_state(Arc::clone(app), name_instance);
    Router::new()
        .nest("/api", api::router())
        .merge(media::uploads())
        // Only what may ask who it is: the rest is the same for all.
        .layer(app.sessions.layer())
        .merge(media::router())
        .merge(web::router())
        .fallback(|| async { ApiError::not_found("path") })
        .with_state(Arc::clone(app))
        .layer(middleware::from_fn(banyan_sdk::trace::follow))
        .layer(named)
}

/// Shows a person, and a test, which instance answered.
async fn name_instance(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-served-by"), app.served_by.clone());
    response
}
