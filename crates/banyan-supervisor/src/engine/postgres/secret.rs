//! Passwords of PostgreSQL's roles, and what the server stores of them.

use std::fs;
use std::io;
use std::path::Path;

use super::PostgresError;
use crate::engine::files::{Owner, write_private};
use crate::engine::secret;

fn name(role: &str) -> String {
    format!("postgres-{role}")
}

/// The role's password; made and kept if there is none yet.
pub(super) fn password(secrets: &Path, role: &str) -> Result<String, PostgresError> {
    Ok(secret::password(secrets, &name(role))?)
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
