//! Signed tokens (JWT, RFC 7519): read without asking anybody, and worth nothing within two seconds after they are denied
//! (`denial.rs`).
//!
//! Refresh tokens are good for one use; one that comes a second time was stolen, and all that came from the same log-in ends.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::denial::Denials;
use super::keys::Keyring;
use crate::cache::PRIMARY;
use crate::task::{self, Running};
use crate::{Banyan, Database, Tx};

/// Who makes tokens, for whom, and for how long.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    pub issuer: String,
    pub audience: String,
    /// Default 15 min.
    pub access: Duration,
    /// Of a refresh token. Default 14 d.
    pub refresh: Duration,
}

impl TokenSettings {
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            access: Duration::from_secs(15 * 60),
            refresh: Duration::from_secs(14 * 24 * 3600),
        }
    }
}

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    /// The user.
    pub sub: String,
    /// Names this token.
    pub jti: String,
    /// Seconds since 1970.
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
    /// What it is good for, in words with spaces between (RFC 8693, section 4.2).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scope: Option<String>,
    /// Of the user when it was made: see [`Tokens::deny_all`].
    pub epoch: i64,
}

/// An access token, and what gets the next one.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    pub access: String,
    pub refresh: String,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair(***)")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Answer 401.
    #[error("the token is damaged, forged, or not for this app")]
    Invalid,
    /// Answer 401; the client refreshes.
    #[error("the token has expired")]
    Expired,
    /// Answer 401.
    #[error("the token was taken back")]
    Denied,
    /// Answer 401; all tokens of that log-in have ended: tell the user.
    #[error("the refresh token was used before: somebody has a copy")]
    Reused,
    /// Answer 503.
    #[error("tokens cannot be made or judged: {0}")]
    Database(#[from] sqlx::Error),
    #[error("a token cannot be signed: {0}")]
    Sign(jsonwebtoken::errors::Error),
}

/// Makes, reads and denies tokens. A cheap clone.
#[derive(Clone)]
pub struct Tokens {
    inner: Arc<Inner>,
}

struct Inner {
    keys: Keyring,
    settings: TokenSettings,
    validation: Validation,
    database: Database,
    denials: Arc<Denials>,
    _looks: Running,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("keys", &self.inner.keys).finish()
    }
}

impl Tokens {
    /// Begins to look for denials; `/readyz` says no until it knows those that are there.
    pub fn new(banyan: &Banyan, keys: Keyring, settings: TokenSettings) -> Self {
        let tokens = Self::over(banyan.db().clone(), keys, settings);
        let denials = Arc::clone(&tokens.inner.denials);
        banyan.readiness().add(move || {
            let denials = Arc::clone(&denials);
            async move { denials.look().await }
        });
        tokens
    }

    pub(crate) fn over(database: Database, keys: Keyring, settings: TokenSettings) -> Self {
        let denials = Arc::new(Denials::new(database.clone(), settings.access));
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&[&settings.audience]);
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        let looking = Arc::clone(&denials);
        let looks = task::start(async move { looking.keep_looking().await });
        let inner = Inner {
            keys,
            settings,
            validation,
            database,
            denials,
            _looks: looks,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Of a log-in: the beginning of a family of tokens.
    pub async fn start(&self, owner: impl Display, scope: Option<&str>) -> Result<Pair, TokenError> {
        let owner = owner.to_string();
        let refresh = secret();
        let epoch: i64 = sqlx::query_scalar(
            "with made as (
                 insert into banyan.refresh_token (id, family, owner, scope, until)
                 values ($1, gen_random_uuid(), $2, $3, now() + make_interval(secs => $4))
             )
             select coalesce((select epoch from banyan.token_epoch where owner = $2), 0)",
        )
        .bind(digest(&refresh))
        .bind(&owner)
        .bind(scope)
        .bind(self.inner.settings.refresh.as_secs_f64())
        .fetch_one(self.inner.database.pool())
        .await?;
        let access = self.sign(owner, scope.map(ToOwned::to_owned), epoch)?;
        Ok(Pair { access, refresh })
    }

    /// An access token alone, for clients that know of no refresh: they log in again when it has expired, so give it a lifetime
    /// ([`TokenSettings::access`]) that they can live with.
    pub async fn issue(&self, owner: impl Display, scope: Option<&str>) -> Result<String, TokenError> {
        let owner = owner.to_string();
        // A replica may not know of the denial that this log-in comes after.
        let statement =
            format!("{PRIMARY} select coalesce((select epoch from banyan.token_epoch where owner = $1), 0)");
        let epoch: i64 = sqlx::query_scalar(&statement)
            .bind(&owner)
            .fetch_one(self.inner.database.pool())
            .await?;
        self.sign(owner, scope.map(ToOwned::to_owned), epoch)
    }

    /// The next pair; `refresh` is worth nothing from here on.
    pub async fn refresh(&self, refresh: &str) -> Result<Pair, TokenError> {
        let next = secret();
        let row: Option<(String, Option<String>, i64)> = sqlx::query_as(
            "with used as (
                 update banyan.refresh_token set used = true where id = $1 and not used and until > now()
                 returning family, owner, scope
             ), made as (
                 insert into banyan.refresh_token (id, family, owner, scope, until)
                 select $2, family, owner, scope, now() + make_interval(secs => $3) from used
             )
             select owner, scope, coalesce((select epoch from banyan.token_epoch e where e.owner = used.owner), 0) from used",
        )
        .bind(digest(refresh))
        .bind(digest(&next))
        .bind(self.inner.settings.refresh.as_secs_f64())
        .fetch_optional(self.inner.database.pool())
        .await?;
        let Some((owner, scope, epoch)) = row else {
            return Err(self.end_family(refresh).await?);
        };
        let access = self.sign(owner, scope, epoch)?;
        Ok(Pair {
            access,
            refresh: next,
        })
    }

    /// Whatever the reason, the family ends: what is expired has no living relatives.
    async fn end_family(&self, refresh: &str) -> Result<TokenError, TokenError> {
        let ended = sqlx::query(
            "delete from banyan.refresh_token where family in (select family from banyan.refresh_token where id = $1 and used)",
        )
        .bind(digest(refresh))
        .execute(self.inner.database.pool())
        .await?;
        Ok(if ended.rows_affected() > 0 {
            TokenError::Reused
        } else {
            TokenError::Invalid
        })
    }

    fn sign(&self, owner: String, scope: Option<String>, epoch: i64) -> Result<String, TokenError> {
        let Inner { keys, settings, .. } = &*self.inner;
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let lifetime = i64::try_from(settings.access.as_secs()).unwrap_or(i64::MAX / 2);
        let claims = Claims {
            iss: settings.issuer.clone(),
            aud: settings.audience.clone(),
            sub: owner,
            jti: format!("{:032x}", rand::random::<u128>()),
            iat: now,
            nbf: now,
            exp: now + lifetime,
            scope,
            epoch,
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(keys.first().name.clone());
        encode(&header, &claims, &keys.first().signs).map_err(TokenError::Sign)
    }

    /// What it says, if it is ours, in time, and not denied as far as is known: at most two seconds old. Asks nobody.
    pub fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let claims = self.read(token)?;
        if self.inner.denials.deny(&claims) {
            Err(TokenError::Denied)
        } else {
            Ok(claims)
        }
    }

    /// As [`Self::verify`], for what must not happen with a token that was denied a moment ago: asks PostgreSQL, and refuses if it
    /// does not answer.
    pub async fn verify_strictly(&self, token: &str) -> Result<Claims, TokenError> {
        let claims = self.verify(token)?;
        if self.inner.denials.deny_by_now(&claims).await? {
            Err(TokenError::Denied)
        } else {
            Ok(claims)
        }
    }

    fn read(&self, token: &str) -> Result<Claims, TokenError> {
        let name = decode_header(token)
            .ok()
            .and_then(|header| header.kid)
            .ok_or(TokenError::Invalid)?;
        let key = self
            .inner
            .keys
            .keys
            .iter()
            .find(|key| key.name == name)
            .ok_or(TokenError::Invalid)?;
        let decoded = decode::<Claims>(token, &key.verifies, &self.inner.validation);
        decoded
            .map(|data| data.claims)
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::ExpiredSignature => TokenError::Expired,
                _ => TokenError::Invalid,
            })
    }

    /// Takes this one back, for all instances.
    pub async fn deny(&self, claims: &Claims) -> Result<(), TokenError> {
        let mut tx = self.inner.database.begin().await?;
        self.inner.denials.insert(&mut tx, claims).await?;
        tx.commit().await?;
        self.catch_up().await;
        Ok(())
    }

    /// Takes back every token of a user that was made until now, refresh tokens too. Who logs in again gets one that counts.
    pub async fn deny_all(&self, owner: impl Display) -> Result<(), TokenError> {
        let mut tx = self.inner.database.begin().await?;
        self.deny_all_in(&mut tx, owner, None).await?;
        tx.commit().await?;
        self.catch_up().await;
        Ok(())
    }

    /// As [`Self::deny_all`] when `tx` commits, together with what is the reason for it: a new password. `kept` alone stays good, the
    /// one that was presented; one that was kept before does not. Others that deny wait for `tx`: let it be its last statement.
    pub async fn deny_all_in(
        &self,
        tx: &mut Tx,
        owner: impl Display,
        kept: Option<&Claims>,
    ) -> Result<(), TokenError> {
        let kept = kept.map(|claims| &*claims.jti);
        self.inner.denials.raise(tx, &owner.to_string(), kept).await?;
        Ok(())
    }

    /// Until this process knows every denial that has been committed, as after [`Self::deny_all_in`]; the others know it within two
    /// seconds, and so does this one if PostgreSQL does not answer now.
    pub async fn catch_up(&self) {
        self.inner.denials.look_soon().await;
    }
}

/// 256 random bits.
fn secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

fn digest(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}
