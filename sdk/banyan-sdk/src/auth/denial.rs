//! Tokens that were taken back: rows in PostgreSQL. Each process looks twice a second whether there is a new one, and knows by heart
//! those of tokens that have not expired.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, timeout};

use super::token::Claims;
use crate::cache::PRIMARY;
use crate::{Database, Tx};

const LOOK_EVERY: Duration = Duration::from_millis(500);
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const LOOK_LIMIT: Duration = Duration::from_secs(5);
/// For who wants to know now and will know soon anyway.
const SOON: Duration = Duration::from_secs(2);

pub(super) struct Denials {
    database: Database,
    /// How long a token lives.
    lifetime: Duration,
    known: watch::Sender<Known>,
    /// One look at a time: what an earlier one found never replaces what a later one did.
    looking: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    number: Option<i64>,
    tokens: HashSet<String>,
    epochs: HashMap<String, Epoch>,
}

/// Tokens of a user with a smaller number are denied, but one.
#[derive(Debug)]
struct Epoch {
    number: i64,
    kept: Option<String>,
}

impl Known {
    fn deny(&self, claims: &Claims) -> bool {
        let is_of_before =
            |epoch: &Epoch| claims.epoch < epoch.number && epoch.kept.as_deref() != Some(claims.jti.as_str());
        self.tokens.contains(&claims.jti) || self.epochs.get(&claims.sub).is_some_and(is_of_before)
    }
}

impl Denials {
    pub(super) fn new(database: Database, lifetime: Duration) -> Self {
        Self {
            database,
            lifetime,
            known: watch::Sender::default(),
            looking: Mutex::default(),
        }
    }

    /// As far as is known.
    pub(super) fn deny(&self, claims: &Claims) -> bool {
        self.known.borrow().deny(claims)
    }

    /// As PostgreSQL says.
    pub(super) async fn deny_by_now(&self, claims: &Claims) -> Result<bool, sqlx::Error> {
        let statement = format!(
            "{PRIMARY} select exists (select from banyan.token_denied where jti = $1)
                 or exists (select from banyan.token_epoch
                            where owner = $2 and epoch > $3 and kept is distinct from $1)"
        );
        sqlx::query_scalar(&statement)
            .bind(&claims.jti)
            .bind(&claims.sub)
            .bind(claims.epoch)
            .fetch_one(self.database.pool())
            .await
    }

    pub(super) async fn insert(&self, tx: &mut Tx, claims: &Claims) -> Result<(), sqlx::Error> {
        sqlx::query(
            "insert into banyan.token_denied (jti, until) values ($1, to_timestamp($2::bigint) + interval '5 minutes')
             on conflict do nothing",
        )
        .bind(&claims.jti)
        .bind(claims.exp)
        .execute(&mut **tx)
        .await?;
        count(tx).await
    }

    pub(super) async fn raise(
        &self,
        tx: &mut Tx,
        owner: &str,
        kept: Option<&str>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "with ended as (delete from banyan.refresh_token where owner = $1)
             insert into banyan.token_epoch (owner, epoch, kept) values ($1, 1, $2)
             on conflict (owner) do update
             set epoch = token_epoch.epoch + 1, kept = excluded.kept, changed_at = clock_timestamp()",
        )
        .bind(owner)
        .bind(kept)
        .execute(&mut **tx)
        .await?;
        count(tx).await
    }

    pub(super) async fn keep_looking(&self) {
        let mut was_well = true;
        let mut swept = Instant::now();
        loop {
            if swept.elapsed() >= SWEEP_EVERY {
                swept = Instant::now();
                // Next time, then: what has expired is refused by its time.
                self.sweep().await.ok();
            }
            let looked = timeout(LOOK_LIMIT, self.look()).await;
            if let Ok(Ok(())) = looked {
                was_well = true;
            } else if std::mem::replace(&mut was_well, false) {
                tracing::warn!("denied tokens cannot be learned of for now: the database does not answer");
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn sweep(&self) -> Result<(), sqlx::Error> {
        let sweep = "delete from banyan.refresh_token where until < now();
            delete from banyan.one_time_code where until < now();
            delete from banyan.token_denied where until < now()";
        sqlx::raw_sql(sweep)
            .execute(self.database.pool())
            .await
            .map(|_| ())
    }

    pub(super) async fn look_soon(&self) {
        // Else the next look of its own.
        timeout(SOON, self.look()).await.ok();
    }

    /// Nothing is read but a number, unless it has changed.
    pub(super) async fn look(&self) -> Result<(), sqlx::Error> {
        let _turn = self.looking.lock().await;
        let pool = self.database.pool();
        let statement = format!("{PRIMARY} select number from banyan.token_change");
        let number: i64 = sqlx::query_scalar(&statement).fetch_one(pool).await?;
        if self.known.borrow().number == Some(number) {
            return Ok(());
        }
        let statement = format!("{PRIMARY} select jti from banyan.token_denied");
        let tokens: Vec<String> = sqlx::query_scalar(&statement).fetch_all(pool).await?;
        // What is older has no token left that it could deny; five minutes for clocks that differ.
        let statement = format!(
            "{PRIMARY} select owner, epoch, kept from banyan.token_epoch
             where changed_at > now() - make_interval(secs => $1) - interval '5 minutes'"
        );
        let epochs: Vec<(String, i64, Option<String>)> = sqlx::query_as(&statement)
            .bind(self.lifetime.as_secs_f64())
            .fetch_all(pool)
            .await?;
        let epochs = epochs
            .into_iter()
            .map(|(owner, number, kept)| (owner, Epoch { number, kept }));
        self.known.send_replace(Known {
            number: Some(number),
            tokens: tokens.into_iter().collect(),
            epochs: epochs.collect(),
        });
        Ok(())
    }
}

/// Who sees another number reads the rest anew.
async fn count(tx: &mut Tx) -> Result<(), sqlx::Error> {
    sqlx::query("update banyan.token_change set number = number + 1")
        .execute(&mut **tx)
        .await
        .map(drop)
}
