//! Signed tokens (JWT, RFC 7519): read without asking anybody, and worth nothing within two seconds after they are denied.
//!
//! Denials are rows in PostgreSQL; each process looks twice a second whether there is a new one, and knows them by heart. An
//! access token lives 15 minutes, so there are few. Refresh tokens are good for one use; one that comes a second time was stolen, and
//! all that came from the same log-in ends.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::keys::Keyring;
use crate::cache::PRIMARY;
use crate::task::{self, Running};
use crate::{Banyan, Database};

const LOOK_EVERY: Duration = Duration::from_millis(500);
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const LOOK_LIMIT: Duration = Duration::from_secs(5);

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
    denied: watch::Receiver<Denied>,
    _looks: Running,
}

/// As far as tokens go that have not expired.
#[derive(Debug, Default)]
struct Denied {
    number: Option<i64>,
    tokens: HashSet<String>,
    epochs: HashMap<String, i64>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("keys", &self.inner.keys).finish()
    }
}

impl Tokens {
    /// Begins to look for denials.
    pub fn new(banyan: &Banyan, keys: Keyring, settings: TokenSettings) -> Self {
        Self::over(banyan.db().clone(), keys, settings)
    }

    pub(crate) fn over(database: Database, keys: Keyring, settings: TokenSettings) -> Self {
        let (knows, denied) = watch::channel(Denied::default());
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&settings.issuer]);
        validation.set_audience(&[&settings.audience]);
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        let looks = task::start(look(database.clone(), settings.access, knows));
        let inner = Inner {
            keys,
            settings,
            validation,
            database,
            denied,
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
        let denied = self.inner.denied.borrow();
        let is_denied = denied.tokens.contains(&claims.jti)
            || denied
                .epochs
                .get(&claims.sub)
                .is_some_and(|epoch| claims.epoch < *epoch);
        if is_denied {
            Err(TokenError::Denied)
        } else {
            Ok(claims)
        }
    }

    /// As [`Self::verify`], for what must not happen with a token that was denied a moment ago: asks PostgreSQL, and refuses if it
    /// does not answer.
    pub async fn verify_strictly(&self, token: &str) -> Result<Claims, TokenError> {
        let claims = self.verify(token)?;
        let statement = format!(
            "{PRIMARY} select exists (select from banyan.token_denied where jti = $1)
                 or exists (select from banyan.token_epoch where owner = $2 and epoch > $3)"
        );
        let query = sqlx::query_scalar(&statement)
            .bind(&claims.jti)
            .bind(&claims.sub)
            .bind(claims.epoch);
        let is_denied: bool = query.fetch_one(self.inner.database.pool()).await?;
        if is_denied {
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
        self.change(
            "insert into banyan.token_denied (jti, until) values ($1, to_timestamp($2::bigint) + interval '5 minutes')
             on conflict do nothing",
            &claims.jti,
            claims.exp,
        )
        .await
    }

    /// Takes back every token of a user that was made until now, refresh tokens too. Who logs in again gets one that counts.
    pub async fn deny_all(&self, owner: impl Display) -> Result<(), TokenError> {
        self.change(
            "with ended as (delete from banyan.refresh_token where owner = $1)
             insert into banyan.token_epoch (owner, epoch) values ($1, $2)
             on conflict (owner) do update set epoch = token_epoch.epoch + 1, changed_at = now()",
            &owner.to_string(),
            1,
        )
        .await
    }

    async fn change(&self, statement: &str, who: &str, number: i64) -> Result<(), TokenError> {
        let mut tx = self.inner.database.begin().await?;
        sqlx::query(statement)
            .bind(who)
            .bind(number)
            .execute(&mut *tx)
            .await?;
        sqlx::query("update banyan.token_change set number = number + 1")
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

/// 256 random bits.
fn secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

fn digest(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}

async fn look(database: Database, access: Duration, knows: watch::Sender<Denied>) {
    let mut was_well = true;
    let mut swept = Instant::now();
    loop {
        if swept.elapsed() >= SWEEP_EVERY {
            swept = Instant::now();
            // Next time, then: what has expired is refused by its time.
            sweep(&database).await.ok();
        }
        let looked = timeout(LOOK_LIMIT, learn(&database, access, &knows)).await;
        if let Ok(Ok(())) = looked {
            was_well = true;
        } else if std::mem::replace(&mut was_well, false) {
            tracing::warn!("denied tokens cannot be learned of for now: the database does not answer");
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn sweep(database: &Database) -> Result<(), sqlx::Error> {
    let sweep = "delete from banyan.refresh_token where until < now();
        delete from banyan.one_time_code where until < now();
        delete from banyan.token_denied where until < now()";
    sqlx::raw_sql(sweep).execute(database.pool()).await.map(|_| ())
}

/// Nothing is read but a number, unless it has changed.
async fn learn(
    database: &Database,
    access: Duration,
    knows: &watch::Sender<Denied>,
) -> Result<(), sqlx::Error> {
    let statement = format!("{PRIMARY} select number from banyan.token_change");
    let number: i64 = sqlx::query_scalar(&statement).fetch_one(database.pool()).await?;
    if knows.borrow().number == Some(number) {
        return Ok(());
    }
    let statement = format!("{PRIMARY} select jti from banyan.token_denied");
    let tokens: Vec<String> = sqlx::query_scalar(&statement).fetch_all(database.pool()).await?;
    // What is older has no token left that it could deny; five minutes for clocks that differ.
    let statement = format!(
        "{PRIMARY} select owner, epoch from banyan.token_epoch
         where changed_at > now() - make_interval(secs => $1) - interval '5 minutes'"
    );
    let epochs: Vec<(String, i64)> = sqlx::query_as(&statement)
        .bind(access.as_secs_f64())
        .fetch_all(database.pool())
        .await?;
    knows.send_replace(Denied {
        number: Some(number),
        tokens: tokens.into_iter().collect(),
        epochs: epochs.into_iter().collect(),
    });
    Ok(())
}
