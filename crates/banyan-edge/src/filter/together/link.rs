//! A core's connection to the Redis in which edges count together: made when first needed, by a task that keeps it.
//!
//! The task ends with the connection, when an answer did not come in time (another connection may do better), and with
//! the core.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, RedisError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use banyan_config::RedisAddress;
use banyan_tls::client::{self as tls, ClientError, Trust};

use crate::core::Core;

/// TLS over some distance takes longer than a request waits: the connection is there for a later one then.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Debian's list of public authorities.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("the address names no host")]
    NoHost,
    #[error("failed to connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("failed to speak TLS: {0}")]
    Tls(#[from] ClientError),
    #[error("failed to log in: {0}")]
    Login(#[from] RedisError),
    #[error("no connection within {CONNECT_LIMIT:?}")]
    Late,
}

pub(super) struct Link {
    address: RedisAddress,
    connection: RefCell<Option<MultiplexedConnection>>,
    connecting: Cell<bool>,
    closed: Cell<bool>,
    /// Woken when a connection is there, or surely none.
    settled: Notify,
    /// Ends the task.
    end: Notify,
    problem: RefCell<Option<String>>,
}

/// TCP, or TLS over it.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Moves what is asked and answered; ends with the connection.
type Driver = Pin<Box<dyn Future<Output = ()>>>;

impl Link {
    pub(super) fn new(address: RedisAddress) -> Rc<Self> {
        Rc::new(Self {
            address,
            connection: RefCell::default(),
            connecting: Cell::new(false),
            closed: Cell::new(false),
            settled: Notify::new(),
            end: Notify::new(),
            problem: RefCell::default(),
        })
    }

    /// `None`: there is none, see [`Link::problem`].
    pub(super) async fn connection(self: &Rc<Self>, core: &Core) -> Option<MultiplexedConnection> {
        if let Some(connection) = self.connection.borrow().clone() {
            return Some(connection);
        }
        if self.closed.get() {
            return None;
        }
        let settled = self.settled.notified();
        if !self.connecting.replace(true) {
            core.spawn("limits in Redis", Rc::clone(self).keep());
        }
        settled.await;
        self.connection.borrow().clone()
    }

    /// What the last attempt to connect failed by.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.borrow().clone()
    }

    /// An answer did not come: it is not waited for on this connection again. One that is being made goes on.
    pub(super) fn give_up(&self) {
        if self.connection.borrow_mut().take().is_some() {
            self.end.notify_waiters();
        }
    }

    /// Nobody asks any more.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.connection.borrow_mut().take();
        self.end.notify_waiters();
    }

    async fn keep(self: Rc<Self>) {
        let made = tokio::select! {
            made = timeout(CONNECT_LIMIT, connect(&self.address)) => made.unwrap_or(Err(LinkError::Late)),
            () = self.end.notified() => return,
        };
        self.connecting.set(false);
        match made {
            // It was not wanted any more before this task began.
            _ if self.closed.get() => {}
            Ok((connection, driver)) => {
                let end = self.end.notified();
                self.problem.borrow_mut().take();
                self.connection.replace(Some(connection));
                self.settled.notify_waiters();
                tokio::select! {
                    () = driver => drop(self.connection.borrow_mut().take()),
                    // Another one may be there by now.
                    () = end => {}
                }
            }
            Err(error) => {
                self.problem.replace(Some(error.to_string()));
                self.settled.notify_waiters();
            }
        }
    }
}

async fn connect(address: &RedisAddress) -> Result<(MultiplexedConnection, Driver), LinkError> {
    let (host, port) = address.hosts.first().ok_or(LinkError::NoHost)?;
    let stream = TcpStream::connect((host.as_str(), *port)).await?;
    stream.set_nodelay(true)?;
    let stream: Box<dyn Stream> = if address.tls {
        Box::new(tls::connect(stream, host, Trust::Bundle(AUTHORITIES.as_ref()), &[]).await?)
    } else {
        Box::new(stream)
    };
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let (connection, driver) =
        MultiplexedConnection::new_with_config(&login(address), stream, config).await?;
    Ok((connection, Box::pin(driver)))
}

fn login(address: &RedisAddress) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP2)
        .set_db(i64::from(address.database))
        // Redis 7.0 does not know that command, and the user of edges may not use it.
        .set_skip_set_lib_name();
    if !address.user.is_empty() {
        login = login.set_username(&address.user);
    }
    if !address.password.is_empty() {
        login = login.set_password(&address.password);
    }
    login
}
