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

/// What the server stores of the role's password: the same one each time, since the salt in it is what clients of the
/// proxy proved themselves by.
pub(super) fn verifier(secrets: &Path, role: &str) -> Result<String, PostgresError> {
    let path = secrets.join(format!("postgres-{role}.verifier"));
    match fs::read_to_string(&path) {
        Ok(text) if text.starts_with("SCRAM-SHA-256$") => return Ok(text),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => {
            return Err(PostgresError::File {
                operation: "read",
                path,
                source,
            });
        }
    }
    let password = password(secrets, role)?;
    let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
    write_private(&path, verifier.as_bytes(), &Owner::SELF).map_err(|source| PostgresError::File {
        operation: "write",
        path,
        source,
    })?;
    Ok(verifier)
}

fn generate() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
