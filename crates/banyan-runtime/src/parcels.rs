//! Connections passed from a process that ends to the one that goes on, each with what is known of it (SCM_RIGHTS over a
//! unix socket). The other end of the connection notices nothing: bytes that it has sent wait in the socket.
//!
//! The taker opens a [`Door`](crate::handover::Door) and says which form of messages it understands; a giver of another
//! form gives nothing. The socket is 0600, and both sides check that the other runs as the same user (or root).

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

use crate::handover::{Asker, check_peer};

/// Neither side waits longer for the other to take what was sent.
const LIMIT: Duration = Duration::from_secs(5);
/// Longer messages are not taken.
const MOST: usize = 16 * 1024 * 1024;

/// A connection on its way.
#[derive(Debug)]
pub struct Parcel {
    pub message: Vec<u8>,
    pub socket: OwnedFd,
}

/// Who gives.
#[derive(Debug)]
pub struct Giver(UnixStream);

/// Who takes.
#[derive(Debug)]
pub struct Taker(UnixStream);

impl Giver {
    /// Blocking, for a moment. `form`: of the messages.
    ///
    /// # Errors
    /// Nobody is there, or somebody who understands another form.
    pub fn find(path: &Path, form: u8) -> io::Result<Self> {
        let mut stream = UnixStream::connect(path)?;
        check_peer(&stream)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        let mut theirs = [0];
        stream.read_exact(&mut theirs)?;
        if theirs != [form] {
            return Err(io::Error::other("it takes connections in another form"));
        }
        Ok(Self(stream))
    }

    /// Blocking, for a moment. Our own copy of the socket is closed.
    ///
    /// # Errors
    /// The taker is gone or does not read: nobody has the connection then.
    pub fn give(&mut self, parcel: Parcel) -> io::Result<()> {
        let length = u32::try_from(parcel.message.len())
            .ok()
            .filter(|length| *length as usize <= MOST);
        let length = length.ok_or_else(|| io::Error::other("too much is known of a connection"))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        let fds = [parcel.socket.as_fd()];
        rights.push(SendAncillaryMessage::ScmRights(&fds));
        let head = length.to_be_bytes();
        let sent = rustix::net::sendmsg(&self.0, &[IoSlice::new(&head)], &mut rights, SendFlags::NOSIGNAL)?;
        self.0.write_all(&head[sent..])?;
        self.0.write_all(&parcel.message)
    }
}

impl Taker {
    /// Tells the giver what is understood.
    ///
    /// # Errors
    /// It is gone.
    pub fn meet(giver: Asker, form: u8) -> io::Result<Self> {
        let mut stream = giver.into_stream();
        stream.write_all(&[form])?;
        Ok(Self(stream))
    }

    /// The next one; `None`: the giver has ended. Blocking.
    ///
    /// # Errors
    /// The giver broke off, or sent what makes no sense.
    pub fn take(&mut self) -> io::Result<Option<Parcel>> {
        let mut head = [0; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let received = {
            let mut into = [IoSliceMut::new(&mut head)];
            rustix::net::recvmsg(&self.0, &mut into, &mut rights, RecvFlags::CMSG_CLOEXEC)?
        };
        if received.bytes == 0 {
            return Ok(None);
        }
        let socket = rights.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let socket = socket.ok_or_else(|| invalid("a message came without its connection"))?;
        self.0.read_exact(&mut head[received.bytes..])?;
        let length = u32::from_be_bytes(head) as usize;
        if length > MOST {
            return Err(invalid("a message is too long"));
        }
        let mut message = vec![0; length];
        self.0.read_exact(&mut message)?;
        Ok(Some(Parcel { message, socket }))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::handover::Door;

    #[expect(clippy::disallowed_methods, reason = "the other process, played by a thread")]
    #[tokio::test]
    async fn a_connection_goes_on_with_whoever_takes_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clients.sock");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        client.write_all(b"sent before").unwrap();
        let door = Door::open(&path).unwrap();
        let giving = std::thread::spawn(move || {
            assert!(Giver::find(&path, 2).is_err(), "another form");
            let parcel = Parcel {
                message: vec![7; 100_000],
                socket: accepted.into(),
            };
            Giver::find(&path, 1).unwrap().give(parcel).unwrap();
        });
        drop(Taker::meet(door.asked().await.unwrap(), 1).unwrap());
        let mut taker = Taker::meet(door.asked().await.unwrap(), 1).unwrap();
        let Parcel { message, socket } = taker.take().unwrap().unwrap();
        assert_eq!(message, [7; 100_000]);
        giving.join().unwrap();
        assert!(taker.take().unwrap().is_none());
        let mut taken = TcpStream::from(socket);
        let mut heard = [0; 11];
        taken.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"sent before");
        taken.write_all(b"!").unwrap();
        client.read_exact(&mut [0]).unwrap();
    }
}
