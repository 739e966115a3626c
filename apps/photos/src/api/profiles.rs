//! What others see of a user; who is called so; follow and unfollow.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::body::{PathOf, QueryOf};
use super::views::{ProfileView, WholeProfileView};
use crate::auth::{MaybeViewer, Viewer};
use crate::error::ApiError;
use crate::serve::App;
use crate::store::users::{Figures, Profile};
use crate::store::{follows, users};

#[derive(Serialize)]
pub(super) struct ProfileAnswer {
    profile: ProfileView,
}

#[derive(Serialize)]
pub(super) struct WholeProfileAnswer {
    profile: WholeProfileView,
}

#[derive(Serialize)]
pub(super) struct ProfilesAnswer {
    profiles: Vec<ProfileView>,
}

pub(super) async fn show(
    State(app): State<Arc<App>>,
    viewer: MaybeViewer,
    PathOf(username): PathOf<String>,
) -> Result<Json<WholeProfileAnswer>, ApiError> {
    let (profile, figures) = find(&app, &username, viewer.id()).await?;
    Ok(Json(WholeProfileAnswer {
        profile: WholeProfileView::new(profile, figures),
    }))
}

#[derive(Deserialize)]
pub(super) struct ListQuery {
    search: String,
}

/// Beyond RealWorld: a few whose names begin so.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    viewer: MaybeViewer,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Json<ProfilesAnswer>, ApiError> {
    let found = users::called(&app.pool, query.search.trim(), viewer.id()).await?;
    Ok(Json(ProfilesAnswer {
        profiles: found.into_iter().map(ProfileView::from).collect(),
    }))
}

pub(super) async fn follow(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    PathOf(username): PathOf<String>,
) -> Result<Json<ProfileAnswer>, ApiError> {
    let (mut profile, _) = find(&app, &username, Some(viewer.id())).await?;
    if profile.id == viewer.id() {
        return Err(ApiError::invalid("profile", "is your own"));
    }
    let mut tx = app.database.begin().await?;
    follows::follow(&mut tx, viewer.id(), profile.id).await?;
    app.cached.forget_follow(&mut tx, viewer.id(), profile.id).await?;
    tx.commit().await?;
    profile.following = true;
    Ok(answer(profile))
}

pub(super) async fn unfollow(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    PathOf(username): PathOf<String>,
) -> Result<Json<ProfileAnswer>, ApiError> {
    let (mut profile, _) = find(&app, &username, Some(viewer.id())).await?;
    let mut tx = app.database.begin().await?;
    follows::unfollow(&mut tx, viewer.id(), profile.id).await?;
    app.cached.forget_follow(&mut tx, viewer.id(), profile.id).await?;
    tx.commit().await?;
    profile.following = false;
    Ok(answer(profile))
}

async fn find(app: &App, username: &str, viewer: Option<i64>) -> Result<(Profile, Figures), ApiError> {
    let profile = app.cached.profile(username, viewer).await?;
    profile.ok_or_else(|| ApiError::not_found("profile"))
}

fn answer(profile: Profile) -> Json<ProfileAnswer> {
    Json(ProfileAnswer {
        profile: profile.into(),
    })
}
