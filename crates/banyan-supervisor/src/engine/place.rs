//! Where the data of a server lies.
//!
//! In the state folder (`data/postgres`, `data/redis-sessions`). When root runs Banyan and the server's user cannot reach
//! that (a clone in /root), under /var/lib/banyan instead, with a symbolic link in the state folder.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::files::FileError;
use super::identity;
use crate::account;
use crate::child::RunAs;

const ELSEWHERE: &str = "/var/lib/banyan";

#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    #[error("there is no user `{0}`")]
    NoUser(String),
    #[error(transparent)]
    File(#[from] FileError),
}

/// The data folder of that name, which need not exist yet; its parent does.
pub(super) fn place(state: &Path, app: &str, run_as: &RunAs, name: &str) -> Result<PathBuf, PlaceError> {
    let state = fs::canonicalize(state).map_err(FileError::new("find", state))?;
    let inside = state.join("data").join(name);
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
    let account = account::find(user).ok_or_else(|| PlaceError::NoUser(user.clone()))?;
    if identity::reaches(&state.join("data"), &account) {
        return Ok(inside);
    }
    let outside = own_folder(Path::new(ELSEWHERE), &state, app).join(name);
    make_parent(&outside)?;
    link(&inside, &outside)?;
    Ok(outside)
}

pub(super) fn link(inside: &Path, outside: &Path) -> Result<(), FileError> {
    std::os::unix::fs::symlink(outside, inside).map_err(FileError::new("link", inside))
}

/// The data folder of that name as it is: in the state folder, and behind a link if it is one.
pub(super) fn found(state: &Path, name: &str) -> (PathBuf, PathBuf) {
    let inside = state.join("data").join(name);
    let data = fs::read_link(&inside).unwrap_or_else(|_not_a_link| inside.clone());
    (inside, data)
}

/// Two installations of one name never meet.
pub(super) fn own_folder(dir: &Path, state: &Path, app: &str) -> PathBuf {
    let digest = Sha256::digest(state.as_os_str().as_encoded_bytes());
    let hex: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    dir.join(format!("{app}-{hex}"))
}

pub(super) fn make_parent(data: &Path) -> Result<(), FileError> {
    let parent = data.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(parent)
        .map_err(FileError::new("create", parent))
}

/// Deletes what [`found`] has found, and these folders that belong to it. True: there was data.
pub(super) fn delete(inside: &Path, data: &Path, also: &[PathBuf]) -> Result<bool, FileError> {
    let existed = data.is_dir();
    for folder in also.iter().map(PathBuf::as_path).chain([data]) {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::new("delete", folder)(error));
            }
            _ => {}
        }
    }
    if data != inside {
        fs::remove_file(inside).map_err(FileError::new("delete the link", inside))?;
        // Only when empty: it is the installation's own folder.
        data.parent().map(fs::remove_dir).transpose().ok();
    }
    Ok(existed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installations_of_one_name_have_places_of_their_own() {
        let of = |state| own_folder(Path::new(ELSEWHERE), Path::new(state), "photos");
        let (one, other) = (of("/root/a/.banyan"), of("/root/b/.banyan"));
        assert_ne!(one, other);
        assert!(one.starts_with("/var/lib/banyan"), "{}", one.display());
    }
}
