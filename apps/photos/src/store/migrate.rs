//! The schema's versions, embedded in the program. Applied by `photos migrate` under an advisory lock: several at once
//! wait for one another. A schema newer than the program is fine: during a deploy the old instances still run.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// A database that is just starting is waited for.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrateError {
    #[error("the database does not answer: {0}")]
    Connect(sqlx::Error),
    #[error(transparent)]
    Apply(#[from] sqlx::migrate::MigrateError),
    #[error("the tables of the SDK: {0}")]
    Install(sqlx::Error),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SchemaError {
    #[error("migration {0} has not been applied; run: photos migrate")]
    Missing(i64),
    #[error("migration {0} was applied in another form than this program's")]
    Differs(i64),
}

pub(crate) async fn run(database: &PgConnectOptions) -> Result<(), MigrateError> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(CONNECT_LIMIT)
        .connect_with(database.clone())
        .await
        .map_err(MigrateError::Connect)?;
    let mut migrator = sqlx::migrate!();
    migrator.set_ignore_missing(true);
    migrator.run(&pool).await?;
    banyan_sdk::Database::over(pool.clone())
        .install()
        .await
        .map_err(MigrateError::Install)?;
    pool.close().await;
    let newest = MIGRATIONS.iter().map(|migration| migration.version).max();
    tracing::info!(version = newest, "the schema is up to date");
    Ok(())
}

pub(crate) async fn check(pool: &PgPool) -> Result<(), super::NotReady> {
    let known: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(pool)
        .await?;
    let applied: Vec<(i64, Vec<u8>)> = if known {
        sqlx::query_as("select version, checksum from _sqlx_migrations where success")
            .fetch_all(pool)
            .await?
    } else {
        Vec::new()
    };
    for ours in MIGRATIONS.iter() {
        match applied.iter().find(|(version, _)| *version == ours.version) {
            None => return Err(SchemaError::Missing(ours.version).into()),
            Some((_, checksum)) if *checksum != *ours.checksum => {
                return Err(SchemaError::Differs(ours.version).into());
            }
            Some(_) => {}
        }
    }
    Ok(())
}
