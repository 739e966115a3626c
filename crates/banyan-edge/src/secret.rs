//! Secrets of the installation that edges make themselves: random bytes in a file that only its owner can read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rand::TryRng;
use rand::rngs::SysRng;

pub(crate) const BYTES: usize = 32;

/// That of this name; made and kept if there is none yet. Several edges may ask at once: all get the same.
pub(crate) fn secret(folder: &Path, name: &str) -> io::Result<[u8; BYTES]> {
    let path = folder.join(name);
    match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(folder, name)?;
            read(&path)
        }
        known => known,
    }
}

fn read(path: &Path) -> io::Result<[u8; BYTES]> {
    let bytes = fs::read(path)?;
    bytes.try_into().map_err(|_| io::ErrorKind::InvalidData.into())
}

fn make(folder: &Path, name: &str) -> io::Result<()> {
    let mut bytes = [0; BYTES];
    SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let unfinished = folder.join(format!("{name}.{}.new", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    // Fails where another edge was faster: then its bytes are everybody's.
    let kept = fs::hard_link(&unfinished, folder.join(name));
    fs::remove_file(&unfinished)?;
    match kept {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
