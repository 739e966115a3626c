//! Sessions that survive any instance, and the move of their copies into Redis and back.
//!
//! PostgreSQL has every session; that makes log-outs and the move safe. With REDIS_URL each session is copied to Redis when it is
//! written or first read, and reads are one round trip there (`place.rs` says when copies may be read). Redis may be lost at any
//! time: sessions are read from PostgreSQL then. Without PostgreSQL sessions can be read from Redis, and not be changed.
//!
//! - A log-out beats a concurrent save: a save changes what is there and never brings back what is not.
//! - What an instance changes or ends is so for all of them when it returns; if Redis could not be told, it returns after they know
//!   that copies are not to be read.
//! - Stored is the SHA-256 of the cookie's value.

mod cookie;
mod copies;
mod place;
mod rows;
mod store;

use std::collections::HashSet;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tower_sessions::cookie::SameSite;
use tower_sessions::session::{Id, Record};
use tower_sessions::{Expiry, SessionManagerLayer};

pub use axum_login;
pub use tower_sessions::{self, Session};

pub(crate) use self::cookie::fit_to_connection;
use self::copies::Copies;
pub(crate) use self::place::Pace;
use self::place::Place;
use self::rows::Rows;
use crate::Database;
use crate::state::State;

/// Of [`log_in`]; also what `axum-login` keeps is understood.
const OWNER: &str = "user_id";
const OWNER_OF_AXUM_LOGIN: &str = "axum-login.data";

/// How long sessions last.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Without a request. Default 30 min; noted in steps of a tenth, so that most requests write nothing.
    pub idle: Duration,
    /// In all, since it was made (log-in makes a new one). Default 14 d.
    pub absolute: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(30 * 60),
            absolute: Duration::from_secs(14 * 24 * 3600),
        }
    }
}

/// All sessions of an app; the store behind [`Sessions::layer`]. A cheap clone.
#[derive(Clone)]
pub struct Sessions {
    inner: Arc<Inner>,
}

struct Inner {
    rows: Rows,
    /// With REDIS_URL.
    copies: Option<Copies>,
    place: Place,
    lifetimes: Lifetimes,
    /// Being prolonged by this process. Locked to add or remove.
    prolonged: Mutex<HashSet<Key>>,
}

impl Sessions {
    pub(crate) fn new(database: Database, state: Option<State>, lifetimes: Lifetimes, pace: Pace) -> Self {
        Self {
            inner: Arc::new(Inner {
                rows: Rows::new(database, state.is_some(), lifetimes),
                copies: state.map(Copies::new),
                place: Place::new(pace),
                lifetimes,
                prolonged: Mutex::default(),
            }),
        }
    }

    /// Gives handlers a [`Session`]. Its cookie is `__Host-sid`: `Secure`, `HttpOnly`, `SameSite=Lax`, for the whole site; when the
    /// visitor came by plain HTTP (as [`crate::Banyan::serve`] sees from `X-Forwarded-Proto`), `sid` without `Secure`.
    pub fn layer(&self) -> SessionManagerLayer<Self> {
        let absolute = self.inner.lifetimes.absolute;
        SessionManagerLayer::new(self.clone())
            .with_name(cookie::SECURE)
            .with_same_site(SameSite::Lax)
            .with_expiry(Expiry::OnInactivity(
                absolute
                    .try_into()
                    .unwrap_or(tower_sessions::cookie::time::Duration::MAX),
            ))
    }

    /// Ends all sessions of a user, but `except`: how many. Call it when a password is changed or a device is lost.
    pub async fn end_all(&self, owner: impl fmt::Display, except: Option<Id>) -> Result<u64, sqlx::Error> {
        let except = except.map(|id| Key::of(&id));
        let ended = loop {
            match self.inner.rows.end_all(&owner.to_string(), except).await? {
                Some(ended) => break ended,
                None => self.inner.place.announce(&self.inner.rows).await?,
            }
        };
        self.forget_copies(&ended).await?;
        Ok(ended.len() as u64)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("place", &self.inner.place)
            .finish()
    }
}

/// Makes this the session of `owner` under a new id: what was put into it before stays, an id that somebody planted does not.
/// (`axum-login` does it by itself.)
pub async fn log_in(
    session: &Session,
    owner: impl fmt::Display,
) -> Result<(), tower_sessions::session::Error> {
    session.cycle_id().await?;
    session.insert(OWNER, owner.to_string()).await
}

/// Ends this session.
pub async fn log_out(session: &Session) -> Result<(), tower_sessions::session::Error> {
    session.flush().await
}

/// Who [`log_in`] was called for.
pub async fn owner(session: &Session) -> Result<Option<String>, tower_sessions::session::Error> {
    session.get(OWNER).await
}

/// Where a session is stored: the SHA-256 of the cookie's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key([u8; 32]);

impl Key {
    fn of(id: &Id) -> Self {
        Self(Sha256::digest(id.to_string()).into())
    }

    fn hex(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            // Writing to a String does not fail.
            write!(text, "{byte:02x}").ok();
        }
        text
    }
}

fn owner_of(record: &Record) -> Option<String> {
    let own = record.data.get(OWNER);
    let theirs = || {
        record
            .data
            .get(OWNER_OF_AXUM_LOGIN)
            .and_then(|data| data.get(OWNER))
    };
    match own.or_else(theirs)? {
        serde_json::Value::Null => None,
        serde_json::Value::String(owner) => Some(owner.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(key: &str, value: serde_json::Value) -> Record {
        Record {
            id: Id::default(),
            data: [(key.to_owned(), value)].into(),
            expiry_date: time::OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_owner_is_found_with_and_without_axum_login() {
        assert_eq!(owner_of(&record("user_id", json!("7"))).as_deref(), Some("7"));
        let theirs = json!({"user_id": 7, "auth_hash": [1]});
        assert_eq!(owner_of(&record("axum-login.data", theirs)).as_deref(), Some("7"));
        assert_eq!(
            owner_of(&record("axum-login.data", json!({"user_id": null}))),
            None
        );
        assert_eq!(owner_of(&record("cart", json!([]))), None);
    }
}
