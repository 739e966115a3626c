//! Where the data directory lies.
//!
//! In the state folder (`data/postgres`). When root runs Banyan and the server's user cannot reach that (a clone in
//! /root), under /var/lib/banyan instead, with a symbolic link in the state folder.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{PostgresError, io_error};
use crate::account;
use crate::child::RunAs;
use crate::engine::identity;

const ELSEWHERE: &str = "/var/lib/banyan";

/// The data directory, which need not exist yet; its parent does.
pub fn place(state: &Path, app: &str, run_as: &RunAs) -> Result<PathBuf, PostgresError> {
    let state = fs::canonicalize(state).map_err(io_error("find", state))?;
    let inside = state.join("data").join("postgres");
    make_parent(&inside)?;
    match fs::read_link(&inside) {
        // Decided before; the data stays where it is.
        Ok(target) => {
            make_parent(&target)?;
            return Ok(target);
        }
        Err(_) if inside.is_dir() => return Ok(inside),
        Err(_) => {}
    }
    let RunAs::User(user) = run_as else {
        return Ok(inside);
    };
    let account = account::find(user).ok_or_else(|| PostgresError::NoUser { user: user.clone() })?;
    if identity::reaches(&state.join("data"), &account) {
        return Ok(inside);
    }
    let outside = elsewhere(&state, app);
    make_parent(&outside)?;
    std::os::unix::fs::symlink(&outside, &inside).map_err(io_error("link", &inside))?;
    Ok(outside)
}

/// Two installations of one name never meet.
fn elsewhere(state: &Path, app: &str) -> PathBuf {
    let digest = Sha256::digest(state.as_os_str().as_encoded_bytes());
    let hex: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    Path::new(ELSEWHERE).join(format!("{app}-{hex}")).join("postgres")
}

fn make_parent(data: &Path) -> Result<(), PostgresError> {
    let parent = data.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(parent)
        .map_err(io_error("create", parent))
}

/// Deletes the data directory for good. Nothing else in Banyan does; refuses while a server runs in it.
/// `None`: there was none.
pub fn destroy(state: &Path) -> Result<Option<PathBuf>, PostgresError> {
    let inside = state.join("data").join("postgres");
    let data = fs::read_link(&inside).unwrap_or_else(|_not_a_link| inside.clone());
    if let Some(pid) = super::running_server(&data) {
        return Err(PostgresError::AnotherServer { pid, data });
    }
    let existed = data.is_dir();
    for folder in [super::init::unfinished(&data), data.clone()] {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("delete", &folder)(error));
            }
            _ => {}
        }
    }
    if data != inside {
        fs::remove_file(&inside).map_err(io_error("delete the link", &inside))?;
        // Only when empty: it is the installation's own folder.
        data.parent().map(fs::remove_dir).transpose().ok();
    }
    Ok(existed.then_some(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installations_of_one_name_have_places_of_their_own() {
        let one = elsewhere(Path::new("/root/a/.banyan"), "photos");
        let other = elsewhere(Path::new("/root/b/.banyan"), "photos");
        assert_ne!(one, other);
        assert!(one.starts_with("/var/lib/banyan"), "{}", one.display());
    }

    #[test]
    fn destroy_removes_the_data_and_says_what() {
        let state = tempfile::tempdir().unwrap();
        assert!(destroy(state.path()).unwrap().is_none());
        let data = place(state.path(), "photos", &RunAs::Same).unwrap();
        fs::create_dir(&data).unwrap();
        fs::write(data.join("PG_VERSION"), "15\n").unwrap();
        assert!(destroy(state.path()).unwrap().is_some());
        assert!(!data.exists());
    }
}
