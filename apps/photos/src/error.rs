//! What a failed request is answered: `{"errors": {field: [text]}}` and the status that fits.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use banyan_sdk::auth::{PasswordError, TokenError};
use banyan_sdk::limit::Decision;
use serde_json::json;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("{field} {problem}")]
    Refused {
        status: StatusCode,
        field: &'static str,
        problem: String,
    },
    #[error("several fields are invalid")]
    Invalid(Vec<(&'static str, String)>),
    /// Too often: see its headers.
    #[error("too many tries")]
    Limited(Decision),
    /// The database or a core is busy or away for the moment.
    #[error("try again: {0}")]
    Busy(String),
    #[error("failed to {doing}: {cause}")]
    Broken { doing: &'static str, cause: String },
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, field: &'static str, problem: impl Into<String>) -> Self {
        Self::Refused {
            status,
            field,
            problem: problem.into(),
        }
    }

    pub(crate) fn unauthorized(field: &'static str, problem: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, field, problem)
    }

    pub(crate) fn forbidden(field: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, field, "forbidden")
    }

    pub(crate) fn not_found(field: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, field, "not found")
    }

    pub(crate) fn taken(field: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, field, "has already been taken")
    }

    pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, field, problem)
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Refused { status, .. } => *status,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Broken { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let limit = match &self {
            Self::Limited(decision) => Some(*decision),
            _ => None,
        };
        let errors = match self {
            Self::Refused { field, problem, .. } => json!({ field: [problem] }),
            Self::Invalid(problems) => problems
                .into_iter()
                .map(|(field, problem)| (field.to_owned(), json!([problem])))
                .collect(),
            Self::Limited(_) => json!({ "credentials": ["were tried too often, wait a little"] }),
            Self::Busy(reason) => {
                tracing::warn!(reason, "answered 503");
                json!({ "server": ["is busy, try again"] })
            }
            Self::Broken { doing, cause } => {
                tracing::error!(doing, cause, "answered 500");
                json!({ "server": ["failed"] })
            }
        };
        let answer = Json(json!({ "errors": errors }));
        let mut response = match limit {
            Some(decision) => (status, decision, answer).into_response(),
            None => (status, answer).into_response(),
        };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            // What the end of a connection looks like in the middle of a message.
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed => Self::Busy(text),
            sqlx::Error::Database(database) => match database.code().as_deref() {
                // A NUL in a text: PostgreSQL cannot store it.
                Some("22021") => Self::invalid("body", "contains a character that cannot be stored"),
                Some(code) if passes_by(code) => Self::Busy(text),
                _ => broken(text),
            },
            _ => broken(text),
        }
    }
}

/// The SDK answers 503 for a session that cannot be reached.
impl From<banyan_sdk::session::tower_sessions::session::Error> for ApiError {
    fn from(error: banyan_sdk::session::tower_sessions::session::Error) -> Self {
        Self::Busy(error.to_string())
    }
}

/// Of what makes and denies them; one that is presented is judged by who asks for it.
impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Database(error) => error.into(),
            TokenError::Invalid
            | TokenError::Expired
            | TokenError::Denied
            | TokenError::Reused
            | TokenError::Sign(_) => Self::Broken {
                doing: "make or deny a token",
                cause: error.to_string(),
            },
        }
    }
}

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Busy(error.to_string()),
            PasswordError::Hash(_) | PasswordError::Lost(_) => Self::Broken {
                doing: "check a password",
                cause: error.to_string(),
            },
        }
    }
}

fn broken(cause: String) -> ApiError {
    ApiError::Broken {
        doing: "use the database",
        cause,
    }
}

/// Connection trouble (08), no log-in (28), no such database (3D), a lost deadlock (40), too many connections (53), a
/// database closed to connections (55000), shutdown or start-up (57P), read-only after a failover (25006).
fn passes_by(sqlstate: &str) -> bool {
    ["08", "28", "3D", "40", "53", "55000", "57P", "25006"]
        .iter()
        .any(|class| sqlstate.starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_away_is_busy_not_broken() {
        assert_eq!(ApiError::from(sqlx::Error::PoolTimedOut).status(), 503);
        assert_eq!(ApiError::from(sqlx::Error::RowNotFound).status(), 500);
        assert!(passes_by("57P01") && passes_by("40P01") && passes_by("08006") && passes_by("25006"));
        assert!(!passes_by("23505") && !passes_by("42601") && !passes_by("57014"));
        let retry = ApiError::Busy(String::new()).into_response();
        assert_eq!(retry.headers()[header::RETRY_AFTER], "1");
    }
}
