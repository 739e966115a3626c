//! Register, log in, current user, change.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::body::{Given, JsonOf, given};
use super::fields::{Problems, Rule};
use super::views::UserView;
use crate::auth::Viewer;
use crate::error::ApiError;
use crate::serve::App;
use crate::store::users::{self, Account, Change, NewPassword, NewUser};

#[derive(Serialize)]
pub(super) struct UserAnswer {
    user: UserView,
}

#[derive(Deserialize)]
pub(super) struct RegisterRequest {
    user: Registration,
}

#[derive(Deserialize)]
struct Registration {
    username: Option<String>,
    email: Option<String>,
    password: Option<String>,
}

pub(super) async fn register(
    State(app): State<Arc<App>>,
    JsonOf(request): JsonOf<RegisterRequest>,
) -> Result<(StatusCode, Json<UserAnswer>), ApiError> {
    let mut problems = Problems::default();
    let username = problems.text("username", request.user.username, Rule::Username);
    let email = problems.text("email", request.user.email, Rule::Email);
    let password = problems.text("password", request.user.password, Rule::Password);
    problems.none()?;
    let password_hash = app.passwords.hash(password).await?;
    let user = NewUser {
        id: app.next_id()?,
        username: &username,
        email: &email,
        password_hash: &password_hash,
    };
    let mut tx = app.database.begin().await?;
    let account = users::insert(&mut tx, user).await?;
    // "There is none of that name" may be cached.
    app.cached.forget_user(&mut tx, account.id, &[&username]).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, answer(&app, account)?))
}

#[derive(Deserialize)]
pub(super) struct LogInRequest {
    user: LogIn,
}

#[derive(Deserialize)]
struct LogIn {
    email: Option<String>,
    password: Option<String>,
}

pub(super) async fn log_in(
    State(app): State<Arc<App>>,
    JsonOf(request): JsonOf<LogInRequest>,
) -> Result<Json<UserAnswer>, ApiError> {
    let mut problems = Problems::default();
    let email = problems.text("email", request.user.email, Rule::Email);
    let password = problems.text("password", request.user.password, Rule::PasswordTried);
    problems.none()?;
    let (account, stored) = users::by_email(&app.pool, &email).await?.unzip();
    let right = app.passwords.verify(password, stored).await?;
    match account {
        Some(account) if right => answer(&app, account),
        _ => Err(ApiError::unauthorized("credentials", "invalid")),
    }
}

pub(super) async fn current(
    State(app): State<Arc<App>>,
    viewer: Viewer,
) -> Result<Json<UserAnswer>, ApiError> {
    answer(&app, viewer.account)
}

#[derive(Deserialize)]
pub(super) struct UpdateRequest {
    user: Update,
}

#[derive(Deserialize)]
struct Update {
    #[serde(default, deserialize_with = "given")]
    username: Given<String>,
    #[serde(default, deserialize_with = "given")]
    email: Given<String>,
    #[serde(default, deserialize_with = "given")]
    password: Given<String>,
    #[serde(default, deserialize_with = "given")]
    bio: Given<String>,
    #[serde(default, deserialize_with = "given")]
    image: Given<String>,
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    viewer: Viewer,
    JsonOf(request): JsonOf<UpdateRequest>,
) -> Result<Json<UserAnswer>, ApiError> {
    let mut problems = Problems::default();
    let mut change = Change {
        username: problems.change("username", request.user.username, Rule::Username),
        email: problems.change("email", request.user.email, Rule::Email),
        bio: problems.optional("bio", request.user.bio, Rule::Bio),
        image: problems.optional("image", request.user.image, Rule::Url),
        password: None,
    };
    let password = problems.change("password", request.user.password, Rule::Password);
    problems.none()?;
    if let Some(password) = password {
        change.password = Some(NewPassword {
            hash: app.passwords.hash(password).await?,
            kept_token: viewer.claims.jti,
        });
    }
    let mut tx = app.database.begin().await?;
    let account = users::update(&mut tx, viewer.id(), change).await?;
    let names = [&*viewer.account.username, &*account.username];
    app.cached.forget_user(&mut tx, viewer.id(), &names).await?;
    tx.commit().await?;
    answer(&app, account)
}

fn answer(app: &App, account: Account) -> Result<Json<UserAnswer>, ApiError> {
    let token = app.tokens.issue(account.id, account.token_epoch)?;
    let user = UserView::new(account, token);
    Ok(Json(UserAnswer { user }))
}
