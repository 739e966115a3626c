//! The page's log-in: a session by cookie. (Programs use tokens: `users`.)

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use banyan_sdk::session::{self, Session};
use serde::Deserialize;

use super::body::JsonOf;
use super::users::{LogIn, UserAnswer, verified};
use crate::auth::Viewer;
use crate::error::ApiError;
use crate::serve::App;

/// Credentials, or nothing but a token: who logged in with an earlier version of the page stays logged in.
#[derive(Deserialize)]
pub(super) struct EnterRequest {
    user: Option<LogIn>,
}

pub(super) async fn enter(
    State(app): State<Arc<App>>,
    viewer: Option<Viewer>,
    session: Session,
    JsonOf(request): JsonOf<EnterRequest>,
) -> Result<Json<UserAnswer>, ApiError> {
    let account = match (request.user, viewer) {
        (Some(given), _) => verified(&app, given).await?,
        (None, Some(viewer)) => viewer.account,
        (None, None) => return Err(ApiError::unauthorized("credentials", "are missing")),
    };
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
