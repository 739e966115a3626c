//! How the proxy's own role logs in to a server, beside the pools: in clear, by a Unix socket, or by TLS.

use std::net::SocketAddr;

use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, NoTls};

use banyan_runtime::{TaskKind, Tasks};
use banyan_topology::snapshot::pgproxy::ServerTls;

use crate::backend::stream;

#[derive(Clone, Debug, PartialEq)]
pub struct Entrance {
    pub config: tokio_postgres::Config,
    /// Where it is, if TLS is spoken there.
    pub tls: Option<(SocketAddr, ServerTls)>,
}

/// The server could not be entered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnterError {
    #[error(transparent)]
    Server(#[from] tokio_postgres::Error),
    #[error("failed to speak TLS to the server")]
    Tls(#[from] std::io::Error),
}

impl Entrance {
    /// The connection, a task of the name `what`, ends with the client; its error shows in the client's next query.
    pub(crate) async fn enter(&self, tasks: &Tasks, what: &'static str) -> Result<Client, EnterError> {
        let Some((address, tls)) = &self.tls else {
            let (client, connection) = self.config.connect(NoTls).await?;
            tasks.spawn(
                TaskKind::Background,
                what,
                async move { connection.await.is_ok() },
            );
            return Ok(client);
        };
        let stream = stream::secured(address, tls).await?;
        let mut config = self.config.clone();
        // It is spoken already.
        config.ssl_mode(SslMode::Disable);
        let (client, connection) = config.connect_raw(stream, NoTls).await?;
        tasks.spawn(
            TaskKind::Background,
            what,
            async move { connection.await.is_ok() },
        );
        Ok(client)
    }
}
