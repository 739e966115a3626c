//! The RealWorld (Conduit) API: 19 endpoints under `/api`, a search of posts and people beside them; `POST /photos` is in
//! `media`.

mod articles;
mod body;
mod comments;
mod favorites;
mod fields;
mod profiles;
mod search;
mod session;
mod tags;
mod users;
mod views;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};

pub(crate) use body::PathOf;

use crate::error::ApiError;
use crate::serve::App;

const BODY_LIMIT: usize = 256 * 1024;
/// A database that neither answers nor refuses must not hold requests for ever.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/users", post(users::register))
        .route("/users/login", post(users::log_in))
        .route("/user", get(users::current).put(users::update))
        .route("/profiles", get(profiles::list))
        .route("/profiles/{username}", get(profiles::show))
        .route(
            "/profiles/{username}/follow",
            post(profiles::follow).delete(profiles::unfollow),
        )
        .route("/articles", get(articles::list).post(articles::create))
        .route("/articles/feed", get(articles::feed))
        .route(
            "/articles/{slug}",
            get(articles::show).put(articles::update).delete(articles::delete),
        )
        .route(
            "/articles/{slug}/comments",
            get(comments::list).post(comments::create),
        )
        .route("/articles/{slug}/comments/{id}", delete(comments::delete))
        .route(
            "/articles/{slug}/favorite",
            post(favorites::add).delete(favorites::remove),
        )
        .route("/tags", get(tags::list))
        .route(
            "/session",
            get(session::show).post(session::enter).delete(session::leave),
        )
        .layer(middleware::from_fn(private))
        .layer(middleware::from_fn(in_time))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// What depends on who asks is for nobody's cache.
async fn private(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("private, no-cache"));
    response
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => ApiError::Busy(format!("no answer within {ANSWER_LIMIT:?}")).into_response(),
    }
}
