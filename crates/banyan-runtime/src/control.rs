//! The control socket: JSON lines over a unix socket, peers of the same user (or root) only.
//!
//! A client sends one request line; the server answers with any number of lines and closes. Roles keep one connection
//! and send a report per line. Limits: 1 MiB per line.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};

const LINE_LIMIT: u64 = 1 << 20;
/// After a peer that could not be accepted.
const AGAIN: Duration = Duration::from_millis(50);

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("failed to {operation} the control socket {path}")]
    Socket {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the control connection broke")]
    Broken(#[source] io::Error),
    #[error(
        "the other side of the control connection sent something unexpected (another version of banyan?)"
    )]
    Content(#[source] serde_json::Error),
    #[error("user {uid} may not use this control socket")]
    Peer { uid: u32 },
}

/// A bound control socket, mode 0600.
pub struct Listener {
    inner: UnixListener,
    path: PathBuf,
}

/// One peer; lines in both directions.
pub struct Connection {
    reader: Reader,
    writer: Writer,
}

pub struct Reader(BufReader<OwnedReadHalf>);
pub struct Writer(OwnedWriteHalf);

impl Listener {
    /// Binds; a socket file left by a dead controller is replaced (the caller holds the installation's lock).
    pub fn bind(path: &Path) -> Result<Self, ControlError> {
        let fail = |operation| {
            move |source| ControlError::Socket {
                operation,
                path: path.to_owned(),
                source,
            }
        };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail("replace")(error)),
            _ => {}
        }
        let inner = UnixListener::bind(path).map_err(fail("bind"))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(fail("protect"))?;
        Ok(Self {
            inner,
            path: path.to_owned(),
        })
    }

    /// The next peer that may talk to us.
    pub async fn accept(&self) -> Result<Connection, ControlError> {
        let fail = |operation| {
            move |source| ControlError::Socket {
                operation,
                path: self.path.clone(),
                source,
            }
        };
        let (stream, _) = self.inner.accept().await.map_err(fail("accept on"))?;
        let uid = stream.peer_cred().map_err(fail("identify a peer of"))?.uid();
        let ours = rustix::process::geteuid().as_raw();
        if uid != ours && uid != 0 {
            return Err(ControlError::Peer { uid });
        }
        Ok(Connection::new(stream))
    }
}

/// Answers each peer with one value that `say` asks for, and closes; returns when there is nothing more to say. `what`: of
/// whom, for the log.
pub async fn tell<T: Serialize, F: Future<Output = Option<T>>>(
    listener: &Listener,
    what: &'static str,
    say: impl Fn() -> F,
) {
    loop {
        match listener.accept().await {
            Ok(mut connection) => {
                let Some(value) = say().await else { return };
                if let Err(error) = connection.send(&value).await {
                    tracing::debug!(%error, what, "an answer was not taken");
                }
            }
            Err(error) => {
                tracing::debug!(%error, what, "a peer was refused");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

impl Connection {
    fn new(stream: UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader: Reader(BufReader::new(reader)),
            writer: Writer(writer),
        }
    }

    pub async fn connect(path: &Path) -> Result<Self, ControlError> {
        UnixStream::connect(path)
            .await
            .map(Self::new)
            .map_err(|source| ControlError::Socket {
                operation: "connect to",
                path: path.to_owned(),
                source,
            })
    }

    pub fn split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }

    pub async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), ControlError> {
        self.writer.send(message).await
    }

    pub async fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ControlError> {
        self.reader.receive().await
    }
}

impl Writer {
    pub async fn send<T: Serialize>(&mut self, message: &T) -> Result<(), ControlError> {
        let mut line = serde_json::to_vec(message).map_err(ControlError::Content)?;
        line.push(b'\n');
        self.0.write_all(&line).await.map_err(ControlError::Broken)
    }
}

impl Reader {
    /// The next line; `None` when the peer has closed.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ControlError> {
        let mut line = Vec::new();
        let read = (&mut self.0).take(LINE_LIMIT).read_until(b'\n', &mut line).await;
        if read.map_err(ControlError::Broken)? == 0 {
            return Ok(None);
        }
        serde_json::from_slice(&line)
            .map(Some)
            .map_err(ControlError::Content)
    }
}
