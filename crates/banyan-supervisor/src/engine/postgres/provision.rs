//! Talking to the server: until it answers, then the app's role and database. Idempotent.

use std::time::Duration;

use banyan_config::DatabaseAddress;
use banyan_runtime::Clock;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use super::control::{Session, query};
use super::{PostgresError, SUPERUSER, Server, secret};

/// Recovery after a crash replays the log since the last checkpoint: minutes, at worst.
const RECOVERY_LIMIT: Duration = Duration::from_secs(600);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(50);

/// Whom replicas log in as.
pub(super) const REPLICATION_ROLE: &str = "banyan_replication";
/// Whom the proxy asks for verifiers and positions as: LOGIN, member of pg_monitor, may call `banyan.verifier(name)`.
pub const PGPROXY_ROLE: &str = "banyan_pgproxy";

/// Whom pgBackRest logs in as.
pub(super) const BACKUP_ROLE: &str = "banyan_backup";

/// What the app needs of the server.
struct Wanted {
    user: String,
    verifier: String,
    database: String,
}

/// Waits until the server answers, then makes what of the app's role and database is missing.
pub(super) async fn provision(server: &Server) -> Result<(), PostgresError> {
    let superuser = config(&server.address_of(SUPERUSER, "postgres")?);
    let wanted = Wanted {
        verifier: secret::verifier(&server.secrets, &server.database.user)?,
        user: server.database.user.clone(),
        database: server.database.name.clone(),
    };
    patiently(&superuser, &wanted).await?;
    roles(server).await
}

/// The roles that are ours: for replicas, and for the proxy.
async fn roles(server: &Server) -> Result<(), PostgresError> {
    let mut session = server.session("postgres").await?;
    super::replica::provision(&mut session, &self::verifier(server, REPLICATION_ROLE)?).await?;
    let verb = create_or_alter(&mut session, PGPROXY_ROLE).await?;
    let (verifier, name) = (
        self::verifier(server, PGPROXY_ROLE)?,
        quoted(&server.database.name),
    );
    let statements = format!(
        "{verb} ROLE {PGPROXY_ROLE} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD '{verifier}';
         GRANT pg_monitor TO {PGPROXY_ROLE};
         GRANT CONNECT ON DATABASE {name} TO {PGPROXY_ROLE};"
    );
    session.run(&statements).await.map_err(query)?;
    backup_role(server, &mut session).await?;
    let mut session = server.session(&server.database.name).await?;
    session.run(VERIFIER).await.map_err(query)?;
    tables(&mut session, &server.database.user).await
}

/// Makes the tables that apps share with the platform (invalidations, sessions, tokens), and gives the app what it needs of them:
/// rows, not the tables, and nothing of its own in this schema. Nobody but us has made what is there, so no code of the app's
/// (a trigger, a default) can run with our rights.
async fn tables(session: &mut Session, app: &str) -> Result<(), PostgresError> {
    let made = "SELECT 1 FROM pg_class WHERE relnamespace = 'banyan'::regnamespace AND relowner::regrole::text = quote_ident($1)
        UNION ALL
        SELECT 1 FROM pg_proc WHERE pronamespace = 'banyan'::regnamespace AND proowner::regrole::text = quote_ident($1)";
    let by_the_app = session.rows(made, &[&app]).await.map_err(query)?;
    let app = quoted(app);
    if !by_the_app.is_empty() {
        // From before this was ours to make: it stays the app's, which keeps it up to date.
        let statement = format!("GRANT USAGE, CREATE ON SCHEMA banyan TO {app}");
        return session.run(&statement).await.map_err(query);
    }
    let there =
        "SELECT 1 FROM pg_class WHERE relnamespace = 'banyan'::regnamespace AND relname = 'installed'";
    let there = session.rows(there, &[]).await.map_err(query)?;
    // A look first: statements that change tables wait for all who use them.
    let is_current = !there.is_empty() && {
        let newest = "SELECT 1 FROM banyan.installed WHERE version >= $1";
        let newest = session.rows(newest, &[&TABLES_VERSION]).await.map_err(query)?;
        !newest.is_empty()
    };
    let make = if is_current {
        String::new()
    } else {
        TABLES.concat()
    };
    let statements = format!(
        "BEGIN;
         SELECT pg_advisory_xact_lock(hashtext('banyan install'));
         {make}
         REVOKE CREATE ON SCHEMA banyan FROM {app};
         GRANT USAGE ON SCHEMA banyan TO {app};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA banyan TO {app};
         REVOKE INSERT, UPDATE, DELETE ON banyan.installed FROM {app};
         COMMIT;"
    );
    session.run(&statements).await.map_err(query)
}

fn verifier(server: &Server, role: &str) -> Result<String, PostgresError> {
    secret::verifier(&server.secrets, role)
}

/// How a statement begins that makes a role what it is to be.
pub(super) async fn create_or_alter(
    session: &mut Session,
    role: &str,
) -> Result<&'static str, PostgresError> {
    let known = session
        .rows("SELECT 1 FROM pg_roles WHERE rolname = $1", &[&role])
        .await
        .map_err(query)?;
    Ok(if known.is_empty() { "CREATE" } else { "ALTER" })
}

/// Rights as in <https://pgbackrest.org/user-guide.html>: it begins and ends backups and reads no table.
async fn backup_role(server: &Server, session: &mut Session) -> Result<(), PostgresError> {
    let verifier = verifier(server, BACKUP_ROLE)?;
    let verb = create_or_alter(session, BACKUP_ROLE).await?;
    let (start, stop) = if server.database.version >= 15 {
        ("pg_backup_start(text, boolean)", "pg_backup_stop(boolean)")
    } else {
        (
            "pg_start_backup(text, boolean, boolean)",
            "pg_stop_backup(boolean, boolean)",
        )
    };
    let statements = format!(
        "{verb} ROLE {BACKUP_ROLE} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD '{verifier}';
         GRANT pg_read_all_settings TO {BACKUP_ROLE};
         GRANT EXECUTE ON FUNCTION pg_catalog.{start} TO {BACKUP_ROLE};
         GRANT EXECUTE ON FUNCTION pg_catalog.{stop} TO {BACKUP_ROLE};
         GRANT EXECUTE ON FUNCTION pg_catalog.pg_create_restore_point(text) TO {BACKUP_ROLE};
         GRANT EXECUTE ON FUNCTION pg_catalog.pg_switch_wal() TO {BACKUP_ROLE};"
    );
    session.run(&statements).await.map_err(query)
}

/// What the proxy checks passwords by. SECURITY DEFINER with a fixed search_path: nobody puts a table or function in its
/// way, and the proxy calls it by its exact type. Tells nothing of who may not log in, nor of those with rights over the server.
const VERIFIER: &str = "
    CREATE SCHEMA IF NOT EXISTS banyan;
    ALTER SCHEMA banyan OWNER TO CURRENT_USER;
    REVOKE ALL ON SCHEMA banyan FROM PUBLIC;
    GRANT USAGE ON SCHEMA banyan TO banyan_pgproxy;
    CREATE OR REPLACE FUNCTION banyan.verifier(name text) RETURNS text
        LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
        AS 'SELECT a.rolpassword FROM pg_catalog.pg_authid a WHERE a.rolname = $1 AND a.rolcanlogin
            AND NOT a.rolsuper AND NOT a.rolreplication
            AND (a.rolvaliduntil IS NULL OR a.rolvaliduntil > pg_catalog.now())';
    ALTER FUNCTION banyan.verifier(text) OWNER TO CURRENT_USER;
    REVOKE ALL ON FUNCTION banyan.verifier(text) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION banyan.verifier(text) TO banyan_pgproxy;";

/// As `sdk/banyan-sdk` makes them itself in databases that are not ours.
const TABLES: [&str; 5] = [
    include_str!("../../../../../sdk/banyan-sdk/sql/invalidation.sql"),
    include_str!("../../../../../sdk/banyan-sdk/sql/session.sql"),
    include_str!("../../../../../sdk/banyan-sdk/sql/auth.sql"),
    include_str!("../../../../../sdk/banyan-sdk/sql/count.sql"),
    include_str!("../../../../../sdk/banyan-sdk/sql/installed.sql"),
];
/// As in `installed.sql`.
const TABLES_VERSION: i32 = 6;

/// True: the server takes queries.
pub(super) async fn answers(server: &Server) -> Result<bool, PostgresError> {
    let superuser = config(&server.address_of(SUPERUSER, "postgres")?);
    Ok(once(&superuser, None).await.is_ok())
}

pub(super) fn config(address: &DatabaseAddress) -> Config {
    let mut config = Config::new();
    config
        .host(&address.host)
        .port(address.port)
        .user(&address.user)
        .password(&address.password)
        .dbname(&address.name)
        .application_name("banyan")
        // Of Banyan's own statements none waits for a replica, which may be what they are to mend.
        .options("-c synchronous_commit=local")
        .connect_timeout(CONNECT_LIMIT);
    config
}

/// On a connection of its own, whose task is driven here. `None`: only asks whether it answers.
async fn once(config: &Config, wanted: Option<&Wanted>) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    let work = async {
        match wanted {
            Some(wanted) => {
                make_role(&client, &wanted.user, &wanted.verifier).await?;
                make_database(&client, &wanted.database, &wanted.user).await
            }
            None => client.check_connection().await,
        }
    };
    tokio::select! {
        result = work => result,
        Err(error) = connection => Err(error),
    }
}

/// Again while the server is starting up; any other error is one.
async fn patiently(config: &Config, wanted: &Wanted) -> Result<(), PostgresError> {
    let until = Clock.now() + RECOVERY_LIMIT;
    loop {
        match once(config, Some(wanted)).await {
            Ok(()) => return Ok(()),
            Err(error) if error.code() == Some(&SqlState::CANNOT_CONNECT_NOW) && Clock.now() < until => {
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) if error.code() == Some(&SqlState::INVALID_PASSWORD) => {
                return Err(PostgresError::Password);
            }
            Err(source) => return Err(PostgresError::Query { source }),
        }
    }
}

async fn make_role(client: &Client, user: &str, verifier: &str) -> Result<(), tokio_postgres::Error> {
    let known = client
        .query_opt("SELECT 1 FROM pg_roles WHERE rolname = $1", &[&user])
        .await?;
    // The verifier, not the password: statements can end up in logs. What is stored already is left: see there.
    let verb = if known.is_some() { "ALTER" } else { "CREATE" };
    let role = quoted(user);
    let statement = format!(
        "{verb} ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '{verifier}'"
    );
    client.batch_execute(&statement).await
}

async fn make_database(client: &Client, name: &str, owner: &str) -> Result<(), tokio_postgres::Error> {
    let known = client
        .query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&name])
        .await?;
    let (name, owner) = (quoted(name), quoted(owner));
    if known.is_none() {
        client
            .batch_execute(&format!("CREATE DATABASE {name} OWNER {owner}"))
            .await?;
    }
    client
        .batch_execute(&format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC"))
        .await
}

pub(super) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_say_the_version_that_is_looked_for() {
        let installed = TABLES.last().unwrap();
        assert!(
            installed.contains(&format!("values ({TABLES_VERSION})")),
            "{installed}"
        );
    }
}
