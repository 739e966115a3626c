//! The tags in use, the latest used first.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::error::ApiError;
use crate::serve::App;
use crate::store::tags;

#[derive(Serialize)]
pub(super) struct TagsAnswer {
    tags: Vec<String>,
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Result<Json<TagsAnswer>, ApiError> {
    let tags = tags::latest(&app.pool).await?;
    Ok(Json(TagsAnswer { tags }))
}
