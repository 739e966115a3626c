//! Binding TCP ports: one socket per core on the same address by SO_REUSEPORT.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted, per socket (the kernel's `somaxconn` caps it).
const BACKLOG: i32 = 4096;

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{address} is in use by another program; choose another port or stop that program")]
    InUse { address: SocketAddr },
    #[error("not permitted to listen on {address}; ports below 1024 need root or CAP_NET_BIND_SERVICE")]
    NotPermitted { address: SocketAddr },
    #[error("failed to listen on {address}")]
    Other {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

impl BindError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address },
            io::ErrorKind::PermissionDenied => Self::NotPermitted { address },
            _ => Self::Other { address, source },
        }
    }
}

/// `count` sockets on `address`, all bound before the first is returned. Port 0 gives all the same free port.
///
/// SO_REUSEPORT would let a second program of the same user share the port silently, so a plain bind is tried first.
pub fn bind_per_core(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, BindError> {
    let fail = |source| BindError::new(address, source);
    let probe = socket(address).map_err(fail)?;
    probe.bind(&address.into()).map_err(fail)?;
    let bound = probe.local_addr().map_err(fail)?.as_socket().unwrap_or(address);
    drop(probe);
    share(bound, count)
}

/// Like [`bind_per_core`], beside sockets of this user that already listen there: for a hand-over.
pub fn share(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, BindError> {
    let fail = |source| BindError::new(address, source);
    let mut address = address;
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = socket(address).map_err(fail)?;
        socket.set_reuse_port(true).map_err(fail)?;
        socket.bind(&address.into()).map_err(fail)?;
        socket.listen(BACKLOG).map_err(fail)?;
        let listener: TcpListener = socket.into();
        address = listener.local_addr().map_err(fail)?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_one_call_share_a_port_and_a_second_call_is_refused() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = bind_per_core(any, 3).unwrap();
        let address = first[0].local_addr().unwrap();
        assert!(first.iter().all(|l| l.local_addr().unwrap() == address));
        assert!(matches!(bind_per_core(address, 1), Err(BindError::InUse { .. })));
    }
}
