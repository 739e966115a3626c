//! One conversation with a Redis, in RESP2: a command, its reply, the next command.
//!
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>. For the few commands of the control plane: replies of
//! at most 1 MiB, no pipelining. The limit of time is the caller's.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const REPLY_LIMIT: usize = 1 << 20;
/// Replies within replies: none of the commands used here has more than two levels.
const DEPTH: u32 = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A simple or a bulk string.
    Text(String),
    Integer(i64),
    Null,
    List(Vec<Reply>),
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// Its own words: `NOAUTH Authentication required.`
    #[error("{0}")]
    Refused(String),
    #[error("what answers is no Redis")]
    Protocol,
}

#[derive(Debug)]
pub struct Client<S> {
    stream: S,
    received: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// An empty user is `default`; without a password there is nothing to log in with.
    pub async fn log_in(&mut self, user: &str, password: &str) -> Result<(), ClientError> {
        if password.is_empty() {
            return Ok(());
        }
        let words = match user {
            "" => vec!["AUTH", password],
            user => vec!["AUTH", user, password],
        };
        self.ask(&words).await.map(drop)
    }

    pub async fn ask(&mut self, words: &[&str]) -> Result<Reply, ClientError> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.write_all(command.as_bytes()).await?;
        self.stream.flush().await?;
        loop {
            if let Some((reply, used)) = parse(&self.received, DEPTH)? {
                self.received.drain(..used);
                return reply.map_err(ClientError::Refused);
            }
            if self.received.len() > REPLY_LIMIT {
                return Err(ClientError::Protocol);
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// A command whose reply is text.
    pub async fn text(&mut self, words: &[&str]) -> Result<String, ClientError> {
        match self.ask(words).await? {
            Reply::Text(text) => Ok(text),
            _ => Err(ClientError::Protocol),
        }
    }
}

/// What a server says: a reply, or an error in its words.
type Said = Result<Reply, String>;

/// The reply at the beginning, and how many bytes it took; `None`: not all of it is there.
fn parse(bytes: &[u8], depth: u32) -> Result<Option<(Said, usize)>, ClientError> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let (Some(kind), Ok(line)) = (
        bytes.first(),
        std::str::from_utf8(bytes.get(1..end).unwrap_or_default()),
    ) else {
        return Err(ClientError::Protocol);
    };
    let after = end + 2;
    let number = || line.parse::<i64>().map_err(|_| ClientError::Protocol);
    let said = match kind {
        b'+' => Ok(Reply::Text(line.to_owned())),
        b'-' => Err(line.to_owned()),
        b':' => Ok(Reply::Integer(number()?)),
        b'$' | b'*' if number()? < 0 => Ok(Reply::Null),
        b'$' => {
            let length = usize::try_from(number()?).map_err(|_| ClientError::Protocol)?;
            if length > REPLY_LIMIT {
                return Err(ClientError::Protocol);
            }
            let Some(content) = bytes.get(after..after + length + 2) else {
                return Ok(None);
            };
            let text = String::from_utf8_lossy(&content[..length]).into_owned();
            return Ok(Some((Ok(Reply::Text(text)), after + length + 2)));
        }
        b'*' => return list(bytes, after, number()?, depth),
        _ => return Err(ClientError::Protocol),
    };
    Ok(Some((said, after)))
}

fn list(bytes: &[u8], mut at: usize, length: i64, depth: u32) -> Result<Option<(Said, usize)>, ClientError> {
    let depth = depth.checked_sub(1).ok_or(ClientError::Protocol)?;
    let mut items = Vec::new();
    for _ in 0..length {
        let Some((said, used)) = parse(bytes.get(at..).unwrap_or_default(), depth)? else {
            return Ok(None);
        };
        items.push(said.unwrap_or_else(Reply::Text));
        at += used;
    }
    Ok(Some((Ok(Reply::List(items)), at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Said {
        let (said, used) = parse(bytes, DEPTH).unwrap().unwrap();
        assert_eq!(used, bytes.len());
        // A part of it is not yet an answer, and never another one.
        for end in 0..bytes.len() {
            assert!(parse(&bytes[..end], DEPTH).unwrap().is_none(), "{end}");
        }
        said
    }

    #[test]
    fn replies_are_read_once_they_are_whole() {
        assert_eq!(whole(b"+PONG\r\n"), Ok(Reply::Text("PONG".into())));
        assert_eq!(
            whole(b"-NOAUTH Authentication required.\r\n"),
            Err("NOAUTH Authentication required.".into())
        );
        assert_eq!(whole(b":-3\r\n"), Ok(Reply::Integer(-3)));
        assert_eq!(whole(b"$-1\r\n"), Ok(Reply::Null));
        assert_eq!(whole(b"$4\r\na\r\nb\r\n"), Ok(Reply::Text("a\r\nb".into())));
        assert_eq!(
            whole(b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n"),
            Ok(Reply::List(vec![
                Reply::Text("a".into()),
                Reply::List(vec![Reply::Integer(1)])
            ]))
        );
    }

    #[test]
    fn what_is_no_redis_is_told_from_one() {
        for other in ["HTTP/1.1 400 Bad Request\r\n", "$99999999999\r\n", "$x\r\n"] {
            assert!(matches!(
                parse(other.as_bytes(), DEPTH),
                Err(ClientError::Protocol)
            ));
        }
        let deep = b"*1\r\n".repeat(20);
        assert!(matches!(parse(&deep, DEPTH), Err(ClientError::Protocol)));
    }
}
