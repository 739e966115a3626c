//! A connection on a listener that speaks no HTTP, and the names on https listeners that are passed on undecrypted.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::connection::begin;
use super::streams::To;
use super::{Core, Peer};
use crate::forward::stream::pass;
use crate::sni::{self, Parsed};

/// Read at a time.
const PIECE: usize = 4096;
/// Fatal, unrecognized_name (RFC 6066 §3).
const NOBODY: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// `asked`: the listener's configured address.
pub(super) async fn serve(core: Rc<Core>, client: TcpStream, asked: SocketAddr, peer: Rc<Peer>) {
    let Some(stream) = core.stream(asked) else { return };
    let (begun, group) = match &stream.to {
        To::Group(group) => (Vec::new(), group.clone()),
        To::Names(_) => {
            let Some((begun, name)) = begin(&core, hello(&client)).await else {
                return stream.cells.refused.increment();
            };
            (begun, stream.named(name.as_deref()))
        }
    };
    match group {
        Some(group) => pass(&core, &stream, &group, client, &begun, &peer).await,
        None => {
            stream.cells.refused.increment();
            refuse(client, !begun.is_empty()).await;
        }
    }
}

async fn refuse(mut client: TcpStream, speaks_tls: bool) {
    if speaks_tls {
        // A client that has gone does not hear it.
        let _gone = client.write_all(&NOBODY).await;
        let _gone = client.shutdown().await;
    }
}

/// The name on an https listener: `Err` the bytes of a handshake that is ours, `Ok` it was passed on (or broke off).
pub(super) async fn passed_by_name(
    core: &Rc<Core>,
    client: TcpStream,
    peer: Rc<Peer>,
) -> Result<(), (TcpStream, Vec<u8>, Rc<Peer>)> {
    let Some(stream) = core.passthrough() else {
        return Err((client, Vec::new(), peer));
    };
    let Some((begun, name)) = begin(core, hello(&client)).await else {
        return Ok(());
    };
    match stream.named(name.as_deref()) {
        Some(group) => pass(core, &stream, &group, client, &begun, &peer).await,
        None => return Err((client, begun, peer)),
    }
    Ok(())
}

/// Everything up to the end of the ClientHello, and the name in it.
async fn hello(client: &TcpStream) -> io::Result<(Vec<u8>, Option<String>)> {
    let mut begun = Vec::new();
    loop {
        client.readable().await?;
        match read_some(client, &mut begun) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        match sni::parse(&begun) {
            Ok(Parsed::Whole { name }) => return Ok((begun, name)),
            Ok(Parsed::Partial) => {}
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}

/// The buffer is on the stack only while it is used, not in the waiting task.
fn read_some(client: &TcpStream, begun: &mut Vec<u8>) -> io::Result<usize> {
    let mut bytes = [0_u8; PIECE];
    let count = client.try_read(&mut bytes)?;
    begun.extend_from_slice(&bytes[..count]);
    Ok(count)
}
