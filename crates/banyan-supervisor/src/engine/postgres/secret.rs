//! Passwords of this installation: made once from the system's randomness, kept in files that only we can read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rand::TryRng;
use rand::rngs::SysRng;

use super::PostgresError;
use super::files::{Owner, write_private};

/// 256 bits in hexadecimal: nothing in it needs quoting in a URL, an environment or SQL.
const BYTES: usize = 32;

pub(super) fn path(secrets: &Path, role: &str) -> PathBuf {
    secrets.join(format!("postgres-{role}"))
}

/// The role's password; made and kept if there is none yet.
pub(super) fn password(secrets: &Path, role: &str) -> Result<String, PostgresError> {
    let path = path(secrets, role);
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| PostgresError::File {
            operation,
            path,
            source,
        }
    };
    match fs::read_to_string(&path) {
        Ok(text) if text.len() >= BYTES => Ok(text.trim().to_owned()),
        Ok(_) => Err(failed("use (it is cut off)", &path)(
            io::ErrorKind::InvalidData.into(),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let password = generate().map_err(|source| PostgresError::File {
                operation: "find randomness for",
                path: path.clone(),
                source,
            })?;
            write_private(&path, password.as_bytes(), &Owner::SELF).map_err(failed("write", &path))?;
            Ok(password)
        }
        Err(error) => Err(failed("read", &path)(error)),
    }
}

fn generate() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
