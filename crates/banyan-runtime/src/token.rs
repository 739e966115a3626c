//! What a person or a program shows to be let in: in a file of mode 0600, made once.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};

use crate::private;

const BYTES: usize = 32;

/// How long it takes says nothing of where they differ: digests are compared, and all of their bytes.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (Sha256::digest(a), Sha256::digest(b));
    let differs = a.iter().zip(b.iter()).fold(0, |sum, (a, b)| sum | (a ^ b));
    differs == 0
}

/// Nobody else may read it, and it is not empty.
pub fn read(path: &Path) -> io::Result<String> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(io::Error::other("others may read it: chmod 600"));
    }
    let token = fs::read_to_string(path)?.trim().to_owned();
    if token.len() < 16 {
        return Err(io::Error::other("it has less than 16 characters"));
    }
    Ok(token)
}

/// Where there is none yet.
pub fn make(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let mut bytes = [0; BYTES];
    SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    private::replace(path, format!("{token}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_made_once_private_and_unguessable() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("token");
        make(&path).unwrap();
        let token = read(&path).unwrap();
        make(&path).unwrap();
        assert_eq!((read(&path).unwrap(), token.len()), (token.clone(), 64));
        assert!(same(token.as_bytes(), token.as_bytes()));
        assert!(!same(b"", token.as_bytes()) && !same(&token.as_bytes()[1..], token.as_bytes()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("chmod 600"));
    }
}
