//! Likes ("favorites" in the RealWorld API).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::articles::{ArticleAnswer, answer, existing, find_by_key};
use super::body::PathOf;
use crate::auth::Viewer;
use crate::error::ApiError;
use crate::serve::App;
use crate::store::likes;

pub(super) async fn add(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    PathOf(slug): PathOf<String>,
) -> Result<Json<ArticleAnswer>, ApiError> {
    let key = existing(&app, &slug).await?;
    let mut tx = app.database.begin().await?;
    if likes::like(&mut tx, key, viewer.id()).await? {
        app.cached.forget_post(&mut tx, key).await?;
    }
    tx.commit().await?;
    find_by_key(&app, key, Some(viewer.id())).await.map(answer)
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    PathOf(slug): PathOf<String>,
) -> Result<Json<ArticleAnswer>, ApiError> {
    let key = existing(&app, &slug).await?;
    let mut tx = app.database.begin().await?;
    if likes::unlike(&mut tx, key, viewer.id()).await? {
        app.cached.forget_post(&mut tx, key).await?;
    }
    tx.commit().await?;
    find_by_key(&app, key, Some(viewer.id())).await.map(answer)
}
