//! The user a request is made by: of a program by `Authorization: Token …` (or `Bearer …`), of the page by its session.

use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use banyan_sdk::auth::{Claims, TokenError};
use banyan_sdk::session::{self, Session};

use crate::error::ApiError;
use crate::serve::App;
use crate::store::users::Account;

/// A logged-in user; without one the request is answered 401 before anything else is looked at.
pub(crate) struct Viewer {
    pub(crate) account: Account,
    pub(crate) by: Credential,
}

/// What shows who it is: the one that survives a change of the password.
pub(crate) enum Credential {
    Token(Token),
    Session(Session),
}

/// As it was presented.
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) claims: Claims,
}

impl Credential {
    pub(crate) fn token(&self) -> Option<&Token> {
        match self {
            Self::Token(token) => Some(token),
            Self::Session(_) => None,
        }
    }
}

impl Viewer {
    pub(crate) fn id(&self) -> i64 {
        self.account.id
    }
}

/// For what may be read without a log-in; a token that is there must still be good.
pub(crate) struct MaybeViewer(pub(crate) Option<Viewer>);

impl MaybeViewer {
    pub(crate) fn id(&self) -> Option<i64> {
        self.0.as_ref().map(Viewer::id)
    }
}

impl FromRequestParts<Arc<App>> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        <Self as OptionalFromRequestParts<Arc<App>>>::from_request_parts(parts, app)
            .await?
            .ok_or_else(|| ApiError::unauthorized("token", "is missing"))
    }
}

impl FromRequestParts<Arc<App>> for MaybeViewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        <Viewer as OptionalFromRequestParts<Arc<App>>>::from_request_parts(parts, app)
            .await
            .map(Self)
    }
}

impl OptionalFromRequestParts<Arc<App>> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Option<Self>, ApiError> {
        match parts.headers.get(header::AUTHORIZATION) {
            Some(value) => by_token(parts, value, app).await.map(Some),
            None => by_session(parts, app).await,
        }
    }
}

/// What reads is answered to a token that was taken back for two seconds at most; what changes something is not.
async fn by_token(parts: &Parts, value: &HeaderValue, app: &App) -> Result<Viewer, ApiError> {
    let invalid = || ApiError::unauthorized("token", "is invalid");
    let text = value.to_str().map_err(|_| invalid())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(invalid)?;
    if !scheme.eq_ignore_ascii_case("token") && !scheme.eq_ignore_ascii_case("bearer") {
        return Err(invalid());
    }
    let text = token.trim().to_owned();
    let verified = if parts.method.is_safe() {
        app.tokens.verify(&text)
    } else {
        app.tokens.verify_strictly(&text).await
    };
    let claims = verified.map_err(|error| match error {
        TokenError::Database(error) => error.into(),
        _ => invalid(),
    })?;
    let id = claims.sub.parse().map_err(|_| invalid())?;
    let account = app.cached.account(id).await?.ok_or_else(invalid)?;
    Ok(Viewer {
        account,
        by: Credential::Token(Token { text, claims }),
    })
}

/// A browser sends its cookie whoever made it ask: what changes something must come from the page itself.
async fn by_session(parts: &Parts, app: &App) -> Result<Option<Viewer>, ApiError> {
    let Some(session) = parts.extensions.get::<Session>() else {
        return Ok(None);
    };
    let Some(owner) = session::owner(session).await? else {
        return Ok(None);
    };
    let site = parts.headers.get("sec-fetch-site");
    if !parts.method.is_safe() && site.is_some_and(|site| site != "same-origin") {
        return Err(ApiError::forbidden("origin"));
    }
    let Ok(id) = owner.parse() else { return Ok(None) };
    let account = app.cached.account(id).await?;
    Ok(account.map(|account| Viewer {
        account,
        by: Credential::Session(session.clone()),
    }))
}
