//! Register, log in, current user, change.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use banyan_sdk::auth::Verdict;
use banyan_sdk::limit::Rate;
use serde::{Deserialize, Serialize};

use super::body::{Given, JsonOf, given};
use super::fields::{Problems, Rule};
use super::views::UserView;
use crate::auth::{Credential, Token, Viewer};
use crate::error::ApiError;
use crate::serve::App;
use crate::store::users::{self, Account, Change, NewUser};

#[derive(Serialize)]
pub(super) struct UserAnswer {
    user: UserView,
}

impl UserAnswer {
    pub(super) fn without_token(account: Account) -> Json<Self> {
        let user = UserView::new(account, None);
        Json(Self { user })
    }
}

/// Of one account: a person who mistypes is not stopped, a guesser has ten tries and then one in six seconds.
const LOG_INS: Rate = Rate::per(
    NonZeroU32::new(10).expect("ten is not zero"),
    Duration::from_secs(60),
);

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
    Ok((StatusCode::CREATED, answer(&app, account).await?))
}

#[derive(Deserialize)]
pub(super) struct LogInRequest {
    pub(super) user: LogIn,
}

#[derive(Deserialize)]
pub(super) struct LogIn {
    email: Option<String>,
    password: Option<String>,
}

pub(super) async fn log_in(
    State(app): State<Arc<App>>,
    JsonOf(request): JsonOf<LogInRequest>,
) -> Result<Json<UserAnswer>, ApiError> {
    let account = verified(&app, request.user).await?;
    answer(&app, account).await
}

/// Whose credentials these are.
pub(super) async fn verified(app: &App, given: LogIn) -> Result<Account, ApiError> {
    let mut problems = Problems::default();
    let email = problems.text("email", given.email, Rule::Email);
    let password = problems.text("password", given.password, Rule::PasswordTried);
    problems.none()?;
    // Before the work: a guesser gets nothing for it. Right ones count, too, or a refusal would tell which is right.
    let name = format!("log-in:{}", email.to_lowercase());
    let decision = app.banyan.limiter().check(&name, LOG_INS).await;
    if !decision.is_allowed() {
        return Err(ApiError::Limited(decision));
    }
    let (account, stored) = users::by_email(&app.pool, &email).await?.unzip();
    let verdict = app.passwords.verify(password.clone(), stored).await?;
    let account = account.filter(|_| verdict.is_right());
    let account = account.ok_or_else(|| ApiError::unauthorized("credentials", "invalid"))?;
    if verdict == Verdict::RightAndOld {
        let hash = app.passwords.hash(password).await?;
        users::rehash(&app.pool, account.id, &hash).await?;
    }
    Ok(account)
}

pub(super) async fn current(viewer: Viewer) -> Json<UserAnswer> {
    answer_to(viewer.by, viewer.account)
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
        password_hash: None,
    };
    let password = problems.change("password", request.user.password, Rule::Password);
    problems.none()?;
    if let Some(password) = password {
        change.password_hash = Some(app.passwords.hash(password).await?);
    }
    let is_new_password = change.password_hash.is_some();
    let mut tx = app.database.begin().await?;
    let account = users::update(&mut tx, viewer.id(), change).await?;
    let names = [&*viewer.account.username, &*account.username];
    app.cached.forget_user(&mut tx, viewer.id(), &names).await?;
    if is_new_password {
        let kept = viewer.by.token().map(|token| &token.claims);
        app.tokens.deny_all_in(&mut tx, viewer.id(), kept).await?;
    }
    tx.commit().await?;
    if is_new_password {
        app.tokens.catch_up().await;
        let kept = match &viewer.by {
            Credential::Session(session) => session.id(),
            Credential::Token(_) => None,
        };
        app.sessions.end_all(viewer.id(), kept).await?;
    }
    Ok(answer_to(viewer.by, account))
}

async fn answer(app: &App, account: Account) -> Result<Json<UserAnswer>, ApiError> {
    let token = app.tokens.issue(account.id, None).await?;
    let user = UserView::new(account, Some(token));
    Ok(Json(UserAnswer { user }))
}

/// A page that has a session gets no token that would outlive it.
fn answer_to(by: Credential, account: Account) -> Json<UserAnswer> {
    match by {
        Credential::Token(Token { text, .. }) => {
            let user = UserView::new(account, Some(text));
            Json(UserAnswer { user })
        }
        Credential::Session(_) => UserAnswer::without_token(account),
    }
}
