//! Ports for tests, each held by a file lock for as long as its [`Port`] lives.
//!
//! Binding port 0 and closing it again would hand the same number to two test processes now and then; the lock does not.
//! Range: 30000-32767, above the instances of Banyan (20000-29999) and below the kernel's ephemeral ports (32768…).

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use rand::RngExt as _;
use rustix::fs::FlockOperation;

const RANGE: std::ops::Range<u16> = 30_000..32_768;
const ATTEMPTS: usize = 2_000;

/// A port of 127.0.0.1 that no other test has while this value lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// # Panics
    /// When the lock directory cannot be used or every tried port is taken: the machine is not fit for tests.
    pub fn free() -> Self {
        let dir = lock_dir().expect("failed to create the directory of port locks");
        let mut rng = rand::rng();
        for _ in 0..ATTEMPTS {
            let number = rng.random_range(RANGE);
            if let Ok(Some(lock)) = lock(&dir.join(number.to_string()))
                && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
            {
                return Self { number, _lock: lock };
            }
        }
        panic!("no free port in {RANGE:?} after {ATTEMPTS} attempts");
    }

    pub fn number(&self) -> u16 {
        self.number
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

/// One directory per user: files made by root could not be locked by others.
fn lock_dir() -> io::Result<PathBuf> {
    let uid = rustix::process::getuid().as_raw();
    let dir = std::env::temp_dir().join(format!("banyan-test-ports-{uid}"));
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn lock(path: &std::path::Path) -> io::Result<Option<File>> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_held_at_the_same_time_differ() {
        let ports: Vec<Port> = (0..50).map(|_| Port::free()).collect();
        let numbers: std::collections::BTreeSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), ports.len());
    }

    #[test]
    fn a_dropped_port_can_be_locked_again() {
        let port = Port::free();
        let path = lock_dir().unwrap().join(port.number().to_string());
        assert!(lock(&path).unwrap().is_none());
        drop(port);
        assert!(lock(&path).unwrap().is_some());
    }
}
