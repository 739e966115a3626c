//! Logging in to a server: SCRAM by the client's key, MD5 by the stored hash, or a password of a server of the user's own.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use banyan_runtime::Clock;
use banyan_topology::NodeId;

use super::known::Known;
use super::stream::{Address, Stream};
use super::{Backend, Copying, Info, Unnamed};
use crate::session::settings::{Parameters, Settings};
use crate::wire::message::{self, put_text};
use crate::wire::startup::CancelKey;
use crate::wire::{frame, scram};
use crate::worker::Shop;

/// How a pool proves who it is. Shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// What the client proved, and what the server proves itself by.
    Scram {
        client_key: scram::Key,
        server_key: scram::Key,
    },
    /// The stored `md5...`.
    Md5(String),
    /// Of a server of the user's own, from a file of mode 0600.
    Password(String),
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("failed to connect to {address}: {source}")]
    Unreachable {
        address: Address,
        #[source]
        source: io::Error,
    },
    #[error("the connection broke during login: {0}")]
    Broken(#[source] io::Error),
    /// The server's words.
    #[error("{message}")]
    Refused { code: String, message: String },
    #[error("the server's login makes no sense: {0}")]
    Protocol(&'static str),
}

impl ConnectError {
    /// The server is not there, ends or begins. One that is slow or full is not meant.
    pub(crate) fn is_end(&self) -> bool {
        match self {
            // A certificate that is not believed is no crash.
            Self::Unreachable { source, .. } => {
                !matches!(source.kind(), io::ErrorKind::TimedOut | io::ErrorKind::Other)
            }
            Self::Broken(_) => true,
            Self::Refused { code, .. } => ends(code.as_bytes()),
            Self::Protocol(_) => false,
        }
    }

    /// Trying again soon may help: it starts, is full, or is not there.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => source.kind() != io::ErrorKind::Other,
            Self::Broken(_) => true,
            Self::Refused { code, .. } => code.starts_with("57P") || code.starts_with("53"),
            Self::Protocol(_) => false,
        }
    }
}

/// What a server says that stops, has crashed or starts (PostgreSQL documentation, appendix A).
pub(crate) fn ends(code: &[u8]) -> bool {
    matches!(code, b"57P01" | b"57P02" | b"57P03")
}

pub(crate) struct Login<'a> {
    pub(crate) address: &'a Address,
    pub(crate) user: &'a str,
    pub(crate) database: &'a str,
    pub(crate) credentials: &'a Credentials,
    pub(crate) node: NodeId,
}

async fn enter(login: &Login<'_>) -> Result<(Talk, Rc<Parameters>, CancelKey), ConnectError> {
    let stream = Stream::connect(login.address).await;
    let stream = stream.map_err(|source| ConnectError::Unreachable {
        address: login.address.clone(),
        source,
    })?;
    let mut talk = Talk {
        stream,
        inbox: Vec::new(),
        outbox: Vec::new(),
    };
    talk.start(login);
    talk.authenticate(login).await?;
    let (parameters, key) = talk.greeting().await?;
    Ok((talk, parameters, key))
}

/// The last row that `sql` brings, on a connection for it alone. The caller sets the deadline.
pub(crate) async fn question(login: Login<'_>, sql: &str) -> Result<Vec<Option<String>>, ConnectError> {
    let (mut talk, ..) = enter(&login).await?;
    message::query(&mut talk.outbox, sql);
    let mut row = Vec::new();
    loop {
        match talk.next().await? {
            (b'D', body) => row = message::read_row(&body).unwrap_or_default(),
            (b'Z', _) => return Ok(row),
            _ => {}
        }
    }
}

/// A backend that is ready. The caller sets the deadline.
pub(crate) async fn connect(login: Login<'_>, id: u64, shop: &Shop) -> Result<Backend, ConnectError> {
    let (talk, parameters, key) = enter(&login).await?;
    let now = Clock.now();
    Ok(Backend {
        id,
        stream: talk.stream,
        address: login.address.clone(),
        key,
        born: now,
        since: now,
        parameters: shop.intern_parameters(Rc::unwrap_or_clone(parameters)),
        settings: shop.intern_settings(Settings::default()),
        known: Known::default(),
        unnamed: Unnamed::Nothing,
        tenant: 0,
        tenure: 0,
        expected: VecDeque::new(),
        unsynced: super::Unsynced::Nothing,
        status: b'I',
        skipping: false,
        copying: Copying::No,
        failed: false,
        told: false,
        failure: None,
        row: None,
        inbox: Vec::new(),
        passing: 0,
        pass_hidden: false,
        outbox: Vec::new(),
        stale: false,
        spent: false,
        failovers: 0,
        guard: None,
        farewell: None,
        unclean: false,
        sequences: false,
        free_us: 0,
        cancels: Rc::new(Cell::new(0)),
        info: Rc::new(Info {
            id,
            node: login.node,
            user: login.user.into(),
            process: key.process,
            born: now,
            client: Cell::new(0),
            units: Cell::new(0),
            statements: Cell::new(0),
        }),
    })
}

struct Talk {
    stream: Stream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
}

impl Talk {
    fn start(&mut self, login: &Login<'_>) {
        let mut body = (3_u32 << 16).to_be_bytes().to_vec();
        for (name, value) in [("user", login.user), ("database", login.database)] {
            put_text(&mut body, name.as_bytes());
            put_text(&mut body, value.as_bytes());
        }
        body.push(0);
        let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
        self.outbox.extend(length.to_be_bytes());
        self.outbox.extend(body);
    }

    /// The next message that is no notice: type and body.
    async fn next(&mut self) -> Result<(u8, Vec<u8>), ConnectError> {
        self.stream
            .drain(&mut self.outbox)
            .await
            .map_err(ConnectError::Broken)?;
        loop {
            let head = frame::from_server(&self.inbox).map_err(|_| ConnectError::Protocol("a length"))?;
            if let Some(head) = head.filter(|head| self.inbox.len() >= head.total()) {
                let body = self.inbox[frame::HEADER..head.total()].to_vec();
                self.inbox.drain(..head.total());
                match head.tag {
                    b'N' => continue,
                    b'E' => return Err(refused(&body)),
                    tag => return Ok((tag, body)),
                }
            }
            if self.inbox.len() > 64 * 1024 {
                return Err(ConnectError::Protocol("too long"));
            }
            let mut buffer = [0; 1024];
            match self
                .stream
                .read(&mut buffer)
                .await
                .map_err(ConnectError::Broken)?
            {
                0 => return Err(ConnectError::Broken(io::ErrorKind::UnexpectedEof.into())),
                n => self.inbox.extend_from_slice(&buffer[..n]),
            }
        }
    }

    /// The next authentication request: its number and data.
    async fn request(&mut self) -> Result<(u32, Vec<u8>), ConnectError> {
        let (tag, body) = self.next().await?;
        let kind = body.first_chunk::<4>().filter(|_| tag == b'R');
        let kind = kind.ok_or(ConnectError::Protocol("no authentication request"))?;
        Ok((u32::from_be_bytes(*kind), body[4..].to_vec()))
    }

    async fn authenticate(&mut self, login: &Login<'_>) -> Result<(), ConnectError> {
        let (kind, data) = self.request().await?;
        match kind {
            // Only a server whose pg_hba.conf trusts this machine says so.
            0 => return Ok(()),
            10 => self.scram(login.credentials, &data).await?,
            5 => self.md5(login, &data)?,
            3 => match login.credentials {
                // Only on this machine would that be right; over a network it would tell the password.
                Credentials::Password(password) if matches!(login.address, Address::Unix(_)) => {
                    self.answer(|body| put_text(body, password.as_bytes()));
                }
                _ => return Err(ConnectError::Protocol("it asks for a password in clear text")),
            },
            _ => {
                return Err(ConnectError::Protocol(
                    "an authentication that the proxy does not speak",
                ));
            }
        }
        match self.request().await? {
            (0, _) => Ok(()),
            _ => Err(ConnectError::Protocol("authentication does not end")),
        }
    }

    fn answer(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        message::write(&mut self.outbox, b'p', fill);
    }

    fn md5(&mut self, login: &Login<'_>, salt: &[u8]) -> Result<(), ConnectError> {
        let salt: [u8; 4] = salt
            .try_into()
            .map_err(|_| ConnectError::Protocol("an MD5 salt"))?;
        let answer = match login.credentials {
            Credentials::Md5(stored) => super::connect::md5_answer(stored, salt),
            Credentials::Password(password) => {
                postgres_protocol::authentication::md5_hash(login.user.as_bytes(), password.as_bytes(), salt)
            }
            Credentials::Scram { .. } => {
                return Err(ConnectError::Protocol("it asks for MD5, the verifier is SCRAM"));
            }
        };
        self.answer(|body| put_text(body, answer.as_bytes()));
        Ok(())
    }

    async fn scram(&mut self, credentials: &Credentials, mechanisms: &[u8]) -> Result<(), ConnectError> {
        let offered = mechanisms
            .split(|b| *b == 0)
            .any(|m| m == scram::MECHANISM.as_bytes());
        if !offered {
            return Err(ConnectError::Protocol("no mechanism that the proxy speaks"));
        }
        match credentials {
            Credentials::Scram {
                client_key,
                server_key,
            } => {
                let mut client = scram::Client::new(*client_key, *server_key, &nonce());
                self.first(client.first().as_bytes());
                let server_first = self.expect_request(11).await?;
                let answer = client.answer(&server_first);
                let answer = answer.map_err(|_| ConnectError::Protocol("SCRAM"))?;
                self.answer(|body| body.extend(answer.as_bytes()));
                let server_final = self.expect_request(12).await?;
                client
                    .verify(&server_final)
                    .map_err(|_| ConnectError::Protocol("the server does not know the verifier"))
            }
            Credentials::Password(password) => {
                let fail = |_| ConnectError::Protocol("SCRAM");
                let mut client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
                self.first(client.message());
                client.update(&self.expect_request(11).await?).map_err(fail)?;
                self.answer(|body| body.extend(client.message()));
                client.finish(&self.expect_request(12).await?).map_err(fail)
            }
            Credentials::Md5(_) => Err(ConnectError::Protocol("it asks for SCRAM, the verifier is MD5")),
        }
    }

    fn first(&mut self, text: &[u8]) {
        self.answer(|body| {
            put_text(body, scram::MECHANISM.as_bytes());
            body.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            body.extend(text);
        });
    }

    async fn expect_request(&mut self, kind: u32) -> Result<Vec<u8>, ConnectError> {
        match self.request().await? {
            (found, data) if found == kind => Ok(data),
            _ => Err(ConnectError::Protocol("SCRAM out of order")),
        }
    }

    /// What follows the login, up to the first ReadyForQuery.
    async fn greeting(&mut self) -> Result<(Rc<Parameters>, CancelKey), ConnectError> {
        let mut parameters = Rc::<Parameters>::default();
        let mut key = None;
        loop {
            let (tag, body) = self.next().await?;
            match tag {
                b'S' => {
                    if let Some((name, value)) = message::read_parameter(&body) {
                        parameters.set(name, value);
                    }
                }
                b'K' => key = body.first_chunk::<8>().copied(),
                b'Z' => break,
                _ => return Err(ConnectError::Protocol("a message before it was ready")),
            }
        }
        if !self.inbox.is_empty() {
            return Err(ConnectError::Protocol("more than was asked for"));
        }
        let key = u64::from_be_bytes(key.ok_or(ConnectError::Protocol("no cancel key"))?);
        let key = CancelKey {
            process: (key >> 32) as u32,
            secret: key as u32,
        };
        Ok((parameters, key))
    }
}

fn refused(body: &[u8]) -> ConnectError {
    let field = |kind| {
        let text = message::error_field(body, kind).unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    };
    ConnectError::Refused {
        code: field(b'C'),
        message: field(b'M'),
    }
}

/// The answer to an MD5 challenge by the stored hash (`md5` and 32 digits).
pub(crate) fn md5_answer(stored: &str, salt: [u8; 4]) -> String {
    use md5::{Digest, Md5};
    let inner = stored.strip_prefix("md5").unwrap_or(stored);
    let mut hash = Md5::new();
    hash.update(inner.as_bytes());
    hash.update(salt);
    let mut answer = String::from("md5");
    for byte in hash.finalize() {
        answer.push_str(&format!("{byte:02x}"));
    }
    answer
}

/// 24 printable characters that nobody can guess.
pub(crate) fn nonce() -> String {
    use base64::Engine as _;
    let bytes: [u8; 18] = rand::random();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_md5_answers_as_the_password_does() {
        let stored = postgres_protocol::password::md5(b"secret", "ann");
        let expected = postgres_protocol::authentication::md5_hash(b"ann", b"secret", [1, 2, 3, 4]);
        assert_eq!(md5_answer(&stored, [1, 2, 3, 4]), expected);
    }
}
