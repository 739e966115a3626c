//! Listening sockets passed from a running process to the one that replaces it (SCM_RIGHTS over a unix socket).
//!
//! Both then hold the very same sockets: whatever waits in their queues is taken by whoever accepts next, and the end of
//! one process closes nothing. SO_REUSEPORT alone would lose what waits in the queue of a socket that closes.
//!
//! The socket is 0600, and both sides check that the other runs as the same user (or root). One process is asked at a
//! time; each answer is bounded by `LIMIT`.

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use tokio::net::UnixListener;

use crate::Tasks;

/// Neither side waits longer for the other.
const LIMIT: Duration = Duration::from_secs(2);
/// After a door that failed, or an answer that did not come.
const AGAIN: Duration = Duration::from_millis(200);
/// So often a running process is asked that is too busy to answer, each time for up to [`LIMIT`].
const ASKED: usize = 5;
/// More sockets than this are not taken.
const MOST: usize = 4096;

/// One listening socket on its way.
#[derive(Debug)]
pub struct Passed {
    /// The address as configured, by which the next process finds it; port 0 may stand for any.
    pub asked: SocketAddr,
    pub socket: OwnedFd,
}

/// Where the next process asks.
#[derive(Debug)]
pub struct Door {
    inner: UnixListener,
    path: PathBuf,
    file: Option<(u64, u64)>,
}

/// A peer that asked and may be answered.
#[derive(Debug)]
pub struct Asker(UnixStream);

impl Door {
    /// Takes the path over from whoever had it. The file is left behind at the end: it may be the next one's already.
    pub fn open(path: &Path) -> io::Result<Self> {
        let new = path.with_extension("new");
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let inner = UnixListener::bind(&new)?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&new, path)?;
        Ok(Self {
            inner,
            file: file(path),
            path: path.to_owned(),
        })
    }

    /// Whether somebody is found at the path: we, or the next process. One that took it over and died is not.
    pub fn is_found(&self) -> bool {
        (self.file.is_some() && file(&self.path) == self.file) || UnixStream::connect(&self.path).is_ok()
    }

    pub async fn asked(&self) -> io::Result<Asker> {
        let (stream, _) = self.inner.accept().await?;
        let stream = stream.into_std()?;
        check_peer(&stream)?;
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(LIMIT))?;
        Ok(Asker(stream))
    }
}

impl Asker {
    /// For parcels ([`crate::parcels`]).
    pub(crate) fn into_stream(self) -> UnixStream {
        self.0
    }

    /// Blocking, for a moment. Our own copies may be closed afterwards.
    pub fn give(mut self, sockets: &[Passed]) -> io::Result<()> {
        for Passed { asked, socket } in sockets {
            let asked = asked.to_string();
            let length = [u8::try_from(asked.len()).unwrap_or(u8::MAX)];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut rights = SendAncillaryBuffer::new(&mut space);
            let fds = [socket.as_fd()];
            rights.push(SendAncillaryMessage::ScmRights(&fds));
            rustix::net::sendmsg(
                &self.0,
                &[IoSlice::new(&length)],
                &mut rights,
                SendFlags::NOSIGNAL,
            )?;
            self.0.write_all(asked.as_bytes())?;
        }
        self.0.write_all(&[0])
    }
}

/// Asks whoever is at the path for its sockets; nobody there: none. Blocking, for a moment.
pub fn ask(path: &Path) -> io::Result<Vec<(SocketAddr, TcpListener)>> {
    let mut stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    check_peer(&stream)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut sockets = Vec::new();
    while let Some(socket) = next(&mut stream)? {
        if sockets.len() == MOST {
            return Err(io::Error::other("too many sockets"));
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Listening sockets by the address that was configured for them.
pub type Inherited = HashMap<SocketAddr, Vec<TcpListener>>;

/// What the process at the path has; nothing when there is none. A busy one is asked again: without its sockets, what waits
/// in their queues would be lost at its end.
pub async fn inherit(path: PathBuf, tasks: &Tasks) -> Inherited {
    for _ in 0..ASKED {
        let path = path.clone();
        match tasks.spawn_blocking(move || ask(&path)).await {
            Ok(Ok(sockets)) => return by_address(sockets),
            Ok(Err(error)) => tracing::warn!(%error, "the running process does not pass its sockets on"),
            Err(_panic) => {
                tracing::error!("asking the running process for its sockets ended by a bug");
                break;
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
    Inherited::new()
}

fn by_address(sockets: Vec<(SocketAddr, TcpListener)>) -> Inherited {
    let mut inherited = Inherited::new();
    for (address, socket) in sockets {
        inherited.entry(address).or_default().push(socket);
    }
    inherited
}

/// The next process that asks; never, while there is no door.
pub async fn asked(door: Option<&Door>) -> Option<Asker> {
    let Some(door) = door else {
        return std::future::pending().await;
    };
    match door.asked().await {
        Ok(asker) => Some(asker),
        Err(error) => {
            tracing::warn!(%error, "a hand-over was not begun");
            tokio::time::sleep(AGAIN).await;
            None
        }
    }
}

fn next(stream: &mut UnixStream) -> io::Result<Option<(SocketAddr, TcpListener)>> {
    let mut length = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut length)];
    let received = rustix::net::recvmsg(&*stream, &mut into, &mut rights, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if length[0] == 0 {
        return Ok(None);
    }
    let socket = rights.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    let mut asked = vec![0; usize::from(length[0])];
    stream.read_exact(&mut asked)?;
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let asked = std::str::from_utf8(&asked)
        .ok()
        .and_then(|text| text.parse().ok());
    let asked = asked.ok_or_else(|| invalid("a socket came without its address"))?;
    let socket = TcpListener::from(socket.ok_or_else(|| invalid("an address came without its socket"))?);
    if !rustix::net::sockopt::socket_acceptconn(&socket)? {
        return Err(invalid("a socket that does not listen"));
    }
    Ok(Some((asked, socket)))
}

pub(crate) fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?.uid;
    if peer == rustix::process::geteuid() || peer.is_root() {
        return Ok(());
    }
    let why = format!("user {} may not take part in a hand-over", peer.as_raw());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// Tells a file from one that took its name.
fn file(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;
    use crate::listener;

    #[expect(clippy::disallowed_methods, reason = "the next process, played by a thread")]
    async fn passed(path: &Path, sockets: Vec<Passed>) -> Vec<(SocketAddr, TcpListener)> {
        let door = Door::open(path).unwrap();
        let asking = path.to_owned();
        let asker = std::thread::spawn(move || ask(&asking).unwrap());
        door.asked().await.unwrap().give(&sockets).unwrap();
        drop(sockets);
        asker.join().unwrap()
    }

    #[tokio::test]
    async fn what_waits_in_a_queue_outlives_the_one_who_passed_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let ours = listener::bind_per_core(any, 3).unwrap();
        let address = ours[0].local_addr().unwrap();
        let mut clients: Vec<TcpStream> = (0..16).map(|_| TcpStream::connect(address).unwrap()).collect();
        let sockets = ours.into_iter().map(|socket| Passed {
            asked: any,
            socket: socket.into(),
        });
        let taken = passed(&folder.path().join("handover.sock"), sockets.collect()).await;
        assert!(taken.iter().all(|(asked, _)| *asked == any) && taken.len() == 3);
        let mut accepted = 0;
        for (_, socket) in &taken {
            while let Ok((mut stream, _)) = socket.accept() {
                stream.write_all(b"!").unwrap();
                accepted += 1;
            }
        }
        assert_eq!(accepted, 16);
        for client in &mut clients {
            client.read_exact(&mut [0]).unwrap();
        }
    }

    #[tokio::test]
    async fn nobody_there_is_no_socket_and_a_door_taken_by_a_dead_one_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handover.sock");
        assert!(ask(&path).unwrap().is_empty());
        let first = Door::open(&path).unwrap();
        assert!(first.is_found());
        let second = Door::open(&path).unwrap();
        assert!(first.is_found(), "the second is alive");
        drop(second);
        assert!(!first.is_found());
        assert!(ask(&path).unwrap().is_empty());
    }
}
