//! The page's log-in: a session by cookie. (Programs use tokens: `users`.)

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use banyan_sdk::session::{self, Session};

use super::body::JsonOf;
use super::users::{LogInRequest, UserAnswer, verified};
use crate::auth::Viewer;
use crate::error::ApiError;
use crate::serve::App;

pub(super) async fn enter(
    State(app): State<Arc<App>>,
    session: Session,
    JsonOf(request): JsonOf<LogInRequest>,
) -> Result<Json<UserAnswer>, ApiError> {
    let account = verified(&app, request.user).await?;
    session::log_in(&session, account.id).await?;
    Ok(UserAnswer::without_token(account))
}

/// Nobody is answered 204: they have no session.
pub(super) async fn show(viewer: Option<Viewer>) -> Result<Json<UserAnswer>, StatusCode> {
    let viewer = viewer.ok_or(StatusCode::NO_CONTENT)?;
    Ok(UserAnswer::without_token(viewer.account))
}

pub(super) async fn leave(session: Session) -> Result<StatusCode, ApiError> {
    session::log_out(&session).await?;
    Ok(StatusCode::NO_CONTENT)
}
