//! PostgreSQL: the pool, transactions that remember what the cache must forget, and the tables of [`crate::cache`].

use std::fmt::Display;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool, Postgres, Transaction};

use crate::cache::Mark;
use crate::point::{Point, point};
use crate::trace::{self, Told};

/// Longer than a failover's blink, shorter than a client's patience.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(3);
const KEPT: u32 = 2;
/// A connection idle for longer is tried before use: the database may have been restarted meanwhile.
const TRY_AFTER_IDLE: Duration = Duration::from_secs(1);

/// What [`Database::install`] makes, and the number to raise when that changes.
const TABLES: [&str; 5] = [
    include_str!("../sql/invalidation.sql"),
    include_str!("../sql/session.sql"),
    include_str!("../sql/auth.sql"),
    include_str!("../sql/count.sql"),
    include_str!("../sql/installed.sql"),
];
/// As in `installed.sql`.
const VERSION: i32 = 6;

/// A pool of connections to one database. A cheap clone.
#[derive(Clone, Debug)]
pub struct Database {
    pool: PgPool,
}

impl Database {
    /// Connects when first used: no error while the database is away. Waits 3 s for a connection, then
    /// [`sqlx::Error::PoolTimedOut`]; keeps two connections open.
    pub fn lazy(options: PgConnectOptions, connections: u32) -> Self {
        let told = Told::default();
        let of_new = told.clone();
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .min_connections(KEPT.min(connections))
            .acquire_timeout(ACQUIRE_LIMIT)
            .test_before_acquire(false)
            .before_acquire(move |connection, meta| {
                let told = told.clone();
                let begun = told.begun(meta.age);
                Box::pin(async move {
                    if meta.idle_for >= TRY_AFTER_IDLE {
                        connection.ping().await?;
                    }
                    trace::tell(connection, &told, begun).await.map(|()| true)
                })
            })
            .after_connect(move |connection, meta| {
                let told = of_new.clone();
                let begun = told.begun(meta.age);
                Box::pin(async move { trace::tell(connection, &told, begun).await })
            })
            .connect_lazy_with(options);
        Self { pool }
    }

    /// Over a pool of the app's own making.
    pub fn over(pool: PgPool) -> Self {
        Self { pool }
    }

    /// For statements outside a transaction.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Creates what the SDK needs in schema `banyan` (`sql/*.sql`), with the rights of the app's user; a look when it is there.
    /// [`crate::Banyan::serve`] does it.
    pub async fn install(&self) -> Result<(), sqlx::Error> {
        // Even `create index if not exists` would wait for every open transaction that has written, and all others for it.
        if self.installed().await? {
            return Ok(());
        }
        self.make().await.map_err(explained)
    }

    async fn make(&self) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        // `if not exists` alone races with another that creates the same.
        sqlx::query("select pg_advisory_xact_lock(hashtext('banyan install'))")
            .execute(&mut *transaction)
            .await?;
        // This session may remember that there is no such schema; to open a catalog makes it hear what others did meanwhile.
        sqlx::query("select from pg_namespace")
            .execute(&mut *transaction)
            .await?;
        for tables in TABLES {
            sqlx::raw_sql(tables).execute(&mut *transaction).await?;
        }
        transaction.commit().await
    }

    async fn installed(&self) -> Result<bool, sqlx::Error> {
        let there: bool = sqlx::query_scalar("select to_regclass('banyan.installed') is not null")
            .fetch_one(&self.pool)
            .await?;
        if !there {
            return Ok(false);
        }
        sqlx::query_scalar("select coalesce(max(version), 0) >= $1 from banyan.installed")
            .bind(VERSION)
            .fetch_one(&self.pool)
            .await
    }

    /// Opens the connections that are kept, so that the first requests do not.
    pub async fn warm_up(&self) -> Result<(), sqlx::Error> {
        let mut kept = Vec::new();
        while kept.len() < KEPT.min(self.pool.options().get_max_connections()) as usize {
            kept.push(self.pool.acquire().await?);
        }
        Ok(())
    }

    /// A transaction about one owner's data (`key`: the user's id, what rows are to be spread by): it must touch nobody else's. Today's
    /// databases are one, so it is [`Self::begin`]; an app that uses it is ready for the rung where owners are spread over many.
    pub async fn begin_for(&self, key: impl Display) -> Result<Tx, sqlx::Error> {
        let tx = self.begin().await?;
        tracing::trace!(%key, "a transaction for one owner");
        Ok(tx)
    }

    pub async fn begin(&self) -> Result<Tx, sqlx::Error> {
        Ok(Tx {
            inner: self.pool.begin().await?,
            marks: Vec::new(),
        })
    }
}

/// Who may not is told who may.
fn explained(error: sqlx::Error) -> sqlx::Error {
    let is_refused = |error: &dyn sqlx::error::DatabaseError| error.code().as_deref() == Some("42501");
    if error.as_database_error().is_some_and(is_refused) {
        let text = format!(
            "schema banyan is not of version {VERSION}, which this app's SDK needs, and its user may not make it: start Banyan's database              with a banyan of this version, or in a database of your own GRANT CREATE on it to that user once ({error})"
        );
        return sqlx::Error::Configuration(text.into());
    }
    error
}

/// An open transaction, used as a [`PgConnection`]: `query.execute(&mut *tx)`. Rolled back when dropped.
///
/// Data that it changed must be read through it, not from the cache, until it has committed.
#[derive(Debug)]
pub struct Tx {
    inner: Transaction<'static, Postgres>,
    marks: Vec<Mark>,
}

impl Tx {
    /// Commits, then tells the cache. Returns only then: a write that is acknowledged later is never followed by an
    /// older read. The cache is told even if the outcome is unknown (the connection broke during COMMIT).
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        let outcome = self.inner.commit().await;
        point(Point::Committed).await;
        for mark in self.marks {
            mark.apply(outcome.is_ok()).await;
        }
        outcome
    }

    pub async fn rollback(self) -> Result<(), sqlx::Error> {
        self.inner.rollback().await
    }

    pub(crate) fn remember(&mut self, mark: Mark) {
        self.marks.push(mark);
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.inner
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_say_the_version_that_is_looked_for() {
        let installed = TABLES.last().unwrap();
        assert!(installed.contains(&format!("values ({VERSION})")), "{installed}");
    }
}
