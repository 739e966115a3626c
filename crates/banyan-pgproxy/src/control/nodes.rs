//! Which servers are asked for their positions, and how: the snapshot's, by the proxy's own role or the user's URL.

use std::time::Duration;

use banyan_topology::snapshot::pgproxy::{NodeState, PgAuth, PgNode, PgproxySnapshot, Reads};

use super::verifiers::secret;
use crate::fresh::{Nodes, Server};

const LIMIT: Duration = Duration::from_secs(5);

/// None at all while reads are the primary's: then nothing is looked into either.
pub(super) fn of(snapshot: &PgproxySnapshot) -> Result<Nodes, String> {
    let database = &snapshot.database;
    if database.reads == Reads::Primary || database.nodes.len() < 2 {
        return Ok(Nodes::default());
    }
    let login = login(snapshot)?;
    let server = |node: &PgNode| Server {
        id: node.id,
        login: at(&login, node),
    };
    let replicas = database
        .nodes
        .iter()
        .filter(|node| Some(node.id) != database.primary);
    Ok(Nodes {
        primary: database.primary().map(server),
        replicas: replicas.map(|node| (server(node), weight(node))).collect(),
    })
}

fn weight(node: &PgNode) -> u32 {
    match node.state {
        NodeState::Active => node.weight,
        NodeState::Draining => 0,
    }
}

fn login(snapshot: &PgproxySnapshot) -> Result<tokio_postgres::Config, String> {
    let mut login = tokio_postgres::Config::new();
    match &snapshot.auth {
        PgAuth::Function { role, password_file } => {
            login.user(role).password(secret(password_file)?);
        }
        PgAuth::File { path } => {
            let url: Result<tokio_postgres::Config, _> = secret(path)?.parse();
            let url = url.map_err(|_| format!("{} holds no PostgreSQL URL", path.display()))?;
            login.user(url.get_user().unwrap_or_default());
            login.password(url.get_password().unwrap_or_default());
        }
    }
    login
        .dbname(&snapshot.database.name)
        .application_name("banyan")
        .connect_timeout(LIMIT);
    Ok(login)
}

fn at(login: &tokio_postgres::Config, node: &PgNode) -> tokio_postgres::Config {
    let mut login = login.clone();
    login.port(node.address.port());
    match &node.socket {
        Some(folder) => login.host_path(folder),
        None => login.host(node.address.ip().to_string()),
    };
    login
}
