//! Photos: taking uploads, making them into WebP in four sizes, keeping these on disk by SHA-256, serving them; and the
//! demo's pictures.

mod darkroom;
mod demo;
mod probe;
mod scene;
mod serve;
mod sniff;
mod store;
mod upload;
mod variants;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

pub(crate) use darkroom::Darkroom;
pub(crate) use demo::DEMO_PICTURES;
pub(crate) use store::{MediaError, MediaStore, Stored};

use crate::serve::App;

/// What a user may add.
pub(crate) fn uploads() -> Router<Arc<App>> {
    Router::new().route(
        "/photos",
        post(upload::take).layer(DefaultBodyLimit::max(upload::BODY_LIMIT)),
    )
}

pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/media/{blob}/{size}", get(serve::photo))
        .route("/media/{name}", get(serve::upload))
        .route("/media/probe.png", get(probe::picture))
        .route("/media/demo/{picture}", get(demo::picture))
}

/// Where `posts.photo` is to be had, in its largest size.
pub(crate) fn url_of(photo: &str) -> String {
    // With a dot or a slash: the demo's, or what earlier versions of the app kept.
    match photo.contains(['.', '/']) {
        true => format!("/media/{photo}"),
        false => format!("/media/{photo}/{}", variants::Size::Full.file()),
    }
}
