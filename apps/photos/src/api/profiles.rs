//! What others see of a user; follow and unfollow.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::body::PathOf;
use super::views::ProfileView;
use crate::auth::{MaybeViewer, Viewer};
use crate::error::ApiError;
use crate::serve::App;
use crate::store::users::Profile;
use crate::store::{follows, users};

#[derive(Serialize)]
pub(super) struct ProfileAnswer {
    profile: ProfileView,
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    viewer: MaybeViewer,
    PathOf(username): PathOf<String>,
) -> Result<Json<ProfileAnswer>, ApiError> {
    find(&app, &username, viewer.id()).await.map(answer)
}

pub(super) async fn follow(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    PathOf(username): PathOf<String>,
) -> Result<Json<ProfileAnswer>, ApiError> {
    let mut profile = find(&app, &username, Some(viewer.id())).await?;
    if profile.id == viewer.id() {
        return Err(ApiError::invalid("profile", "is your own"));
    }
    follows::follow(&app.pool, viewer.id(), profile.id).await?;
    profile.following = true;
    Ok(answer(profile))
}

pub(super) async fn unfollow(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    PathOf(username): PathOf<String>,
) -> Result<Json<ProfileAnswer>, ApiError> {
    let mut profile = find(&app, &username, Some(viewer.id())).await?;
    follows::unfollow(&app.pool, viewer.id(), profile.id).await?;
    profile.following = false;
    Ok(answer(profile))
}

async fn find(app: &App, username: &str, viewer: Option<i64>) -> Result<Profile, ApiError> {
    let profile = users::profile(&app.pool, username, viewer).await?;
    profile.ok_or_else(|| ApiError::not_found("profile"))
}

fn answer(profile: Profile) -> Json<ProfileAnswer> {
    Json(ProfileAnswer {
        profile: profile.into(),
    })
}
