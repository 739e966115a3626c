//! Waiting on a file descriptor that tokio has no type for: inotify, pidfd.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Registers `fd` with the current runtime.
#[expect(
    deprecated,
    reason = "the safe constructor is deprecated because a foreign AsRawFd may lie; an OwnedFd cannot, and unsafe is forbidden here"
)]
pub fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}
