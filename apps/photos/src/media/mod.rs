//! Photos: taking uploads, keeping them on disk by the SHA-256 of their bytes, serving them; and the demo's pictures.

mod demo;
mod scene;
mod serve;
mod sniff;
mod store;
mod upload;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

pub(crate) use demo::DEMO_PICTURES;
pub(crate) use store::{MediaError, MediaStore, Stored};

use crate::serve::App;

pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route(
            "/photos",
            post(upload::take).layer(DefaultBodyLimit::max(upload::BODY_LIMIT)),
        )
        .route("/media/{blob}", get(serve::photo))
        .route("/media/demo/{picture}", get(demo::picture))
}
