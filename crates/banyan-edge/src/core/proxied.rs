//! Reads a PROXY header off a connection: exactly its bytes, so that whoever speaks next finds the client's own.

use std::future::poll_fn;
use std::io;
use std::task::ready;

use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use crate::proxy_protocol::{self, Ends, LONGEST, Parsed};

/// `None`: the proxy speaks for itself. The caller keeps the time.
pub(super) async fn read(stream: &TcpStream) -> io::Result<Option<Ends>> {
    let mut head = Vec::new();
    loop {
        let parsed = look(stream, &head).await?;
        let wanted = match parsed {
            (Parsed::Partial, seen) => seen,
            (Parsed::Whole { used, .. }, _) => used - head.len(),
        };
        let taken = take(stream, &mut head, wanted)?;
        if let (Parsed::Whole { ends, .. }, _) = parsed
            && taken == wanted
        {
            return Ok(ends);
        }
    }
}

/// What has come so far means, and how much of it was not taken yet. The buffer is on the stack only while it is used.
async fn look(stream: &TcpStream, head: &[u8]) -> io::Result<(Parsed, usize)> {
    poll_fn(|cx| {
        let mut bytes = [0_u8; LONGEST];
        bytes[..head.len()].copy_from_slice(head);
        let mut next = ReadBuf::new(&mut bytes[head.len()..]);
        let seen = ready!(stream.poll_peek(cx, &mut next))?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into()).into();
        }
        let parsed = proxy_protocol::parse(&bytes[..head.len() + seen]);
        parsed
            .map(|parsed| (parsed, seen))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
            .into()
    })
    .await
}

fn take(stream: &TcpStream, head: &mut Vec<u8>, wanted: usize) -> io::Result<usize> {
    let mut bytes = [0_u8; LONGEST];
    match stream.try_read(&mut bytes[..wanted]) {
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(count) => {
            head.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(error),
    }
}
