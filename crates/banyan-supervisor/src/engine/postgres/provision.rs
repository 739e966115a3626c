//! Talking to the server: until it answers, then the app's role and database. Idempotent.

use std::time::Duration;

use banyan_config::DatabaseAddress;
use banyan_runtime::Clock;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use super::{PostgresError, SUPERUSER, Server, secret};

/// Recovery after a crash replays the log since the last checkpoint: minutes, at worst.
const RECOVERY_LIMIT: Duration = Duration::from_secs(600);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(50);

/// What the app needs of the server.
struct Wanted {
    user: String,
    password: String,
    database: String,
}

/// Waits until the server answers, then makes what of the app's role and database is missing.
pub(super) async fn provision(server: &Server) -> Result<(), PostgresError> {
    let superuser = config(&server.address_of(SUPERUSER, "postgres")?);
    let wanted = Wanted {
        password: secret::password(&server.secrets, &server.database.user)?,
        user: server.database.user.clone(),
        database: server.database.name.clone(),
    };
    patiently(&superuser, &wanted).await
}

/// True: the server takes queries.
pub(super) async fn answers(server: &Server) -> Result<bool, PostgresError> {
    let superuser = config(&server.address_of(SUPERUSER, "postgres")?);
    Ok(once(&superuser, None).await.is_ok())
}

fn config(address: &DatabaseAddress) -> Config {
    let mut config = Config::new();
    config
        .host(&address.host)
        .port(address.port)
        .user(&address.user)
        .password(&address.password)
        .dbname(&address.name)
        .application_name("banyan")
        .connect_timeout(CONNECT_LIMIT);
    config
}

/// On a connection of its own, whose task is driven here. `None`: only asks whether it answers.
async fn once(config: &Config, wanted: Option<&Wanted>) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    let work = async {
        match wanted {
            Some(wanted) => {
                make_role(&client, &wanted.user, &wanted.password).await?;
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

async fn make_role(client: &Client, user: &str, password: &str) -> Result<(), tokio_postgres::Error> {
    let known = client
        .query_opt("SELECT 1 FROM pg_roles WHERE rolname = $1", &[&user])
        .await?;
    // The verifier, not the password: statements can end up in logs.
    let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
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

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}
