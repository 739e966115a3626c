//! Comments: list, write, delete.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::articles::existing;
use super::body::{JsonOf, PathOf};
use super::fields::{Problems, Rule};
use super::views::CommentView;
use crate::auth::{MaybeViewer, Viewer};
use crate::error::ApiError;
use crate::serve::App;
use crate::store::comments::{self, Comment};
use crate::store::users::Profile;

#[derive(Serialize)]
pub(super) struct CommentAnswer {
    comment: CommentView,
}

#[derive(Serialize)]
pub(super) struct CommentsAnswer {
    comments: Vec<CommentView>,
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    viewer: MaybeViewer,
    PathOf(slug): PathOf<String>,
) -> Result<Json<CommentsAnswer>, ApiError> {
    let post = existing(&app, &slug).await?;
    let found = comments::of_post(&app.pool, post, viewer.id()).await?;
    Ok(Json(CommentsAnswer {
        comments: found.into_iter().map(CommentView::from).collect(),
    }))
}

#[derive(Deserialize)]
pub(super) struct CreateRequest {
    comment: Create,
}

#[derive(Deserialize)]
struct Create {
    body: Option<String>,
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    PathOf(slug): PathOf<String>,
    JsonOf(request): JsonOf<CreateRequest>,
) -> Result<(StatusCode, Json<CommentAnswer>), ApiError> {
    let post = existing(&app, &slug).await?;
    let mut problems = Problems::default();
    let body = problems.text("body", request.comment.body, Rule::Comment);
    problems.none()?;
    let (comment_id, created_at, updated_at) = comments::insert(&app.pool, post, viewer.id(), &body)
        .await?
        .ok_or_else(|| ApiError::not_found("article"))?;
    let account = viewer.account;
    let author = Profile {
        id: account.id,
        username: account.username,
        bio: account.bio,
        image: account.image,
        following: false,
    };
    let comment = Comment {
        comment_id,
        body,
        created_at,
        updated_at,
        author,
    };
    let comment = CommentView::from(comment);
    Ok((StatusCode::CREATED, Json(CommentAnswer { comment })))
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    PathOf((slug, id)): PathOf<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let post = existing(&app, &slug).await?;
    let not_found = || ApiError::not_found("comment");
    let id: i64 = id.parse().map_err(|_| not_found())?;
    let author = comments::author_of(&app.pool, post, id).await?;
    if author.ok_or_else(not_found)? != viewer.id() {
        return Err(ApiError::forbidden("comment"));
    }
    comments::delete(&app.pool, post, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
