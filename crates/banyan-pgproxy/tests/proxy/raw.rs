//! A client that speaks the protocol itself: pipelines, half messages, broken units.

use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::PASSWORD;

pub(crate) struct Raw {
    stream: TcpStream,
    inbox: Vec<u8>,
    pub(crate) port: u16,
    pub(crate) key: [u8; 8],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) tag: u8,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn message(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    out.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    out.extend(body);
}

pub(crate) fn query(out: &mut Vec<u8>, sql: &str) {
    message(out, b'Q', &[sql.as_bytes(), &[0]].concat());
}

pub(crate) fn parse(out: &mut Vec<u8>, name: &str, sql: &str) {
    message(
        out,
        b'P',
        &[name.as_bytes(), &[0], sql.as_bytes(), &[0, 0, 0]].concat(),
    );
}

/// Bind to the unnamed portal with text parameters, Execute.
pub(crate) fn run(out: &mut Vec<u8>, name: &str, parameters: &[&str]) {
    let mut body = vec![0];
    body.extend(name.as_bytes());
    body.extend([0, 0, 0]);
    body.extend(u16::try_from(parameters.len()).unwrap().to_be_bytes());
    for parameter in parameters {
        body.extend(u32::try_from(parameter.len()).unwrap().to_be_bytes());
        body.extend(parameter.as_bytes());
    }
    body.extend([0, 0]);
    message(out, b'B', &body);
    message(out, b'E', &[0, 0, 0, 0, 0]);
}

/// A statement.
pub(crate) fn describe(out: &mut Vec<u8>, name: &str) {
    message(out, b'D', &[b"S", name.as_bytes(), &[0]].concat());
}

/// The unnamed portal goes on: at most so many rows.
pub(crate) fn execute(out: &mut Vec<u8>, rows: u32) {
    message(out, b'E', &[&[0][..], &rows.to_be_bytes()].concat());
}

pub(crate) fn close(out: &mut Vec<u8>, name: &str) {
    message(out, b'C', &[b"S", name.as_bytes(), &[0]].concat());
}

pub(crate) fn sync(out: &mut Vec<u8>) {
    message(out, b'S', &[]);
}

impl Message {
    pub(crate) fn code(&self) -> String {
        let mut fields = self.body.split(|b| *b == 0).filter(|f| f.first() == Some(&b'C'));
        String::from_utf8_lossy(&fields.next().unwrap_or(b"C")[1..]).into_owned()
    }

    /// The columns of a row in text.
    pub(crate) fn columns(&self) -> Vec<String> {
        let mut rest = &self.body[2..];
        let mut columns = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
            columns.push(String::from_utf8_lossy(&after[..length]).into_owned());
            rest = &after[length..];
        }
        columns
    }
}

impl Raw {
    pub(crate) async fn connect(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let mut raw = Self {
            stream,
            inbox: Vec::new(),
            port,
            key: [0; 8],
        };
        raw.login().await?;
        Ok(raw)
    }

    async fn login(&mut self) -> std::io::Result<()> {
        let body = b"\0\x03\0\0user\0app\0database\0app\0\0";
        let mut out = u32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
        out.extend(body);
        self.send(&out).await?;
        let mut scram = ScramSha256::new(PASSWORD.as_bytes(), ChannelBinding::unsupported());
        loop {
            let found = self.next().await?;
            let mut out = Vec::new();
            match (found.tag, found.body.get(3)) {
                (b'R', Some(10)) => {
                    let mut body = [SCRAM_SHA_256.as_bytes(), &[0]].concat();
                    body.extend(u32::try_from(scram.message().len()).unwrap().to_be_bytes());
                    body.extend(scram.message());
                    message(&mut out, b'p', &body);
                }
                (b'R', Some(11)) => {
                    scram.update(&found.body[4..])?;
                    message(&mut out, b'p', scram.message());
                }
                (b'R', Some(12)) => scram.finish(&found.body[4..])?,
                (b'K', _) => self.key.copy_from_slice(&found.body),
                (b'Z', _) => return Ok(()),
                (b'E', _) => return Err(std::io::Error::other(found.code())),
                _ => {}
            }
            self.send(&out).await?;
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    pub(crate) async fn next(&mut self) -> std::io::Result<Message> {
        loop {
            if let Some(length) = self.inbox.get(1..5) {
                let total = u32::from_be_bytes(length.try_into().unwrap()) as usize + 1;
                if self.inbox.len() >= total {
                    let body = self.inbox[5..total].to_vec();
                    let tag = self.inbox[0];
                    self.inbox.drain(..total);
                    return Ok(Message { tag, body });
                }
            }
            let mut buffer = [0; 8192];
            let read =
                tokio::time::timeout(std::time::Duration::from_secs(60), self.stream.read(&mut buffer)).await;
            match read.expect("an answer comes")? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                n => self.inbox.extend_from_slice(&buffer[..n]),
            }
        }
    }

    /// Everything up to ReadyForQuery, without it, notices and parameters.
    pub(crate) async fn unit(&mut self) -> std::io::Result<Vec<Message>> {
        let mut found = Vec::new();
        loop {
            let message = self.next().await.map_err(|error| {
                let said: Vec<_> = found
                    .iter()
                    .map(|m: &Message| String::from_utf8_lossy(&m.body).into_owned())
                    .collect();
                std::io::Error::other(format!("{error} after {said:?}"))
            })?;
            match message.tag {
                b'Z' => return Ok(found),
                b'S' | b'N' => {}
                _ => found.push(message),
            }
        }
    }

    pub(crate) async fn cancel(port: u16, key: [u8; 8]) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let code = (1234_u32 << 16) | 5678;
        let bytes = [&16_u32.to_be_bytes()[..], &code.to_be_bytes(), &key].concat();
        stream.write_all(&bytes).await?;
        stream.read(&mut [0]).await.map(|_| ())
    }
}
