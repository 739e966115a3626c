//! What a server of the user's own is asked before the proxy leads to it: its login, version, role and room.

use banyan_config::DatabaseAddress;
use banyan_tls::client::{self, ClientError, Trust};
use banyan_topology::{External, Pgproxy};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::SslMode as Spoken;
use tokio_postgres::error::SqlState;

use super::{ANSWER_LIMIT, ExternalError, address, at, connect, find, mode, speaks_tls};
use crate::controller::Loaded;

pub(super) const OLDEST: i32 = 13;
/// Connections that are not the pool's: people's, for the most part.
const BESIDE_THE_POOL: i32 = 3;

/// Whether the proxy can lead to it, asked as the proxy would.
pub(crate) async fn examine(proxy: &Pgproxy, loaded: &Loaded) -> Result<(), ExternalError> {
    let Some(external) = &proxy.external else {
        return Ok(());
    };
    let address = address(loaded).ok_or(ExternalError::Changed)?;
    let found = find(external).await?;
    let (mut stream, _) = connect(external).await?;
    let answered = async {
        let Some(tls) = &found.tls else {
            return ask(stream, external, &address).await;
        };
        if !speaks_tls(&mut stream, external).await? {
            return Err(ExternalError::NoTls {
                at: at(external),
                mode: mode(external.tls.sslmode),
            });
        }
        let trust = match &tls.authorities {
            Some(file) if tls.any_name => Trust::AnyName(file),
            Some(file) => Trust::Bundle(file),
            None => Trust::Anybody,
        };
        let secured = client::connect(stream, &tls.name, trust, &[]).await;
        let secured = secured.map_err(|error: ClientError| ExternalError::Tls {
            at: at(external),
            why: crate::driver::chain(&error),
        })?;
        ask(secured, external, &address).await
    };
    let answer = tokio::time::timeout(ANSWER_LIMIT, answered).await;
    let answer = answer.map_err(|_over| ExternalError::Silent {
        at: at(external),
        after: ANSWER_LIMIT,
    })??;
    answer.judge(external, proxy.pool.size)
}

/// What it said of itself.
#[derive(Clone, Copy, Debug)]
struct Answer {
    version: i32,
    in_recovery: bool,
    /// For those who are no superusers.
    connections: i32,
    /// -1: none.
    role_limit: i32,
    database_limit: i32,
}

impl Answer {
    fn judge(self, external: &External, pool: u32) -> Result<(), ExternalError> {
        let at = at(external);
        if self.version / 10_000 < OLDEST {
            let version = self.version / 10_000;
            return Err(ExternalError::Old { at, version });
        }
        if self.in_recovery {
            return Err(ExternalError::Replica { at });
        }
        let limits = [
            (
                self.connections,
                "max_connections, less those kept for superusers",
            ),
            (self.role_limit, "CONNECTION LIMIT of the role"),
            (self.database_limit, "CONNECTION LIMIT of the database"),
        ];
        let lowest = limits.into_iter().filter(|(most, _)| *most >= 0).min();
        let Some((most, limit)) = lowest else {
            return Ok(());
        };
        let fits = (most - BESIDE_THE_POOL).max(1);
        if i64::from(pool) > i64::from(fits) {
            return Err(ExternalError::Pool {
                pool,
                most,
                limit,
                fits,
            });
        }
        Ok(())
    }
}

async fn ask<S>(stream: S, external: &External, address: &DatabaseAddress) -> Result<Answer, ExternalError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut config = tokio_postgres::Config::new();
    config
        .user(&address.user)
        .password(&address.password)
        .dbname(&address.name)
        .application_name("banyan")
        // TLS is spoken below it, if at all.
        .ssl_mode(Spoken::Disable);
    let connected = config.connect_raw(stream, tokio_postgres::NoTls).await;
    let (session, connection) = connected.map_err(|error| refused(&error, external))?;
    let question = "SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), \
                    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int, \
                    coalesce((SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), -1), \
                    coalesce((SELECT datconnlimit FROM pg_database WHERE datname = current_database()), -1)";
    let asking = async {
        let row = session.query_one(question, &[]).await?;
        Ok::<_, tokio_postgres::Error>(Answer {
            version: row.try_get(0)?,
            in_recovery: row.try_get(1)?,
            connections: row.try_get(2)?,
            role_limit: row.try_get(3)?,
            database_limit: row.try_get(4)?,
        })
    };
    let answer = tokio::select! {
        answer = asking => answer,
        // It ends before the answer only by an error, which the question would show, too.
        ended = connection => match ended {
            Err(error) => Err(error),
            Ok(()) => return Err(ExternalError::Answer { at: at(external), said: "it closed the connection".to_owned() }),
        },
    };
    answer.map_err(|error| refused(&error, external))
}

fn refused(error: &tokio_postgres::Error, external: &External) -> ExternalError {
    let at = at(external);
    let Some(said) = error.as_db_error() else {
        let said = crate::driver::chain(error);
        return ExternalError::Answer { at, said };
    };
    let code = said.code();
    if *code == SqlState::INVALID_CATALOG_NAME {
        let name = external.name.clone();
        return ExternalError::NoDatabase { at, name };
    }
    let said = said.message().to_owned();
    if code.code().starts_with("28") {
        let user = external.user.clone();
        return ExternalError::Login { at, user, said };
    }
    ExternalError::Answer { at, said }
}
