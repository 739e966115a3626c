//! Where the data directory lies.
//!
//! In the state folder (`data/postgres`). When root runs Banyan and the server's user cannot reach that (a clone in
//! /root), under /var/lib/banyan instead, with a symbolic link in the state folder.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use banyan_topology::NodeId;
use sha2::{Digest, Sha256};

use super::{PostgresError, io_error};
use crate::account;
use crate::child::{ChildId, RunAs};
use crate::engine::identity;

const ELSEWHERE: &str = "/var/lib/banyan";

/// Of a server's child and folder. The first has no number: it was there before others were thought of.
pub(super) fn name(node: NodeId) -> String {
    match node {
        NodeId::FIRST => "postgres".to_owned(),
        other => format!("postgres-{other}"),
    }
}

/// The data directory, which need not exist yet; its parent does.
pub fn place(state: &Path, app: &str, run_as: &RunAs, node: NodeId) -> Result<PathBuf, PostgresError> {
    let state = fs::canonicalize(state).map_err(io_error("find", state))?;
    let inside = state.join("data").join(name(node));
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
    let outside = elsewhere(&state, app).join(name(node));
    make_parent(&outside)?;
    std::os::unix::fs::symlink(&outside, &inside).map_err(io_error("link", &inside))?;
    Ok(outside)
}

/// Two installations of one name never meet.
fn elsewhere(state: &Path, app: &str) -> PathBuf {
    let digest = Sha256::digest(state.as_os_str().as_encoded_bytes());
    let hex: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    Path::new(ELSEWHERE).join(format!("{app}-{hex}"))
}

/// The newest timeline that a data directory knows: each promotion begins one. `None`: there is no data.
pub fn timeline(state: &Path, node: NodeId) -> Option<u32> {
    let data = state.join("data").join(name(node));
    if !data.join("PG_VERSION").exists() {
        return None;
    }
    Some(newest_timeline(&data))
}

pub(super) fn newest_timeline(data: &Path) -> u32 {
    let histories = fs::read_dir(data.join("pg_wal")).into_iter().flatten().flatten();
    let number = |entry: fs::DirEntry| {
        let name = entry.file_name();
        u32::from_str_radix(name.to_str()?.strip_suffix(".history")?, 16).ok()
    };
    histories.filter_map(number).max().unwrap_or(1)
}

/// The servers that have a folder.
fn nodes(state: &Path) -> Vec<NodeId> {
    let entries = fs::read_dir(state.join("data")).into_iter().flatten().flatten();
    let named = |entry: fs::DirEntry| super::node_of(&ChildId(entry.file_name().to_str()?.to_owned()));
    let mut found: Vec<NodeId> = entries.filter_map(named).collect();
    found.sort_unstable();
    found
}

fn make_parent(data: &Path) -> Result<(), PostgresError> {
    let parent = data.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(parent)
        .map_err(io_error("create", parent))
}

/// Deletes every data directory for good. Nothing else in Banyan does; refuses while a server runs in one.
/// `None`: there was none. Else the first.
pub fn destroy(state: &Path) -> Result<Option<PathBuf>, PostgresError> {
    let mut nodes = nodes(state);
    if !nodes.contains(&NodeId::FIRST) {
        nodes.insert(0, NodeId::FIRST);
    }
    let place = |node: &NodeId| {
        let inside = state.join("data").join(name(*node));
        let data = fs::read_link(&inside).unwrap_or_else(|_not_a_link| inside.clone());
        (inside, data)
    };
    let places: Vec<_> = nodes.iter().map(place).collect();
    for (_, data) in &places {
        if let Some(pid) = super::running_server(data) {
            return Err(PostgresError::AnotherServer {
                pid,
                data: data.clone(),
            });
        }
    }
    let mut first = None;
    for (inside, data) in places {
        let existed = delete(&inside, &data)?;
        first = first.or(existed.then_some(data));
    }
    Ok(first)
}

fn delete(inside: &Path, data: &Path) -> Result<bool, PostgresError> {
    let existed = data.is_dir();
    for folder in [
        super::init::unfinished(data),
        super::replica::former(data),
        data.to_owned(),
    ] {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("delete", &folder)(error));
            }
            _ => {}
        }
    }
    for file in super::backup::beside(data) {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("delete", &file)(error));
            }
            _ => {}
        }
    }
    if data != inside {
        fs::remove_file(inside).map_err(io_error("delete the link", inside))?;
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
        let one = elsewhere(Path::new("/root/a/.banyan"), "photos");
        let other = elsewhere(Path::new("/root/b/.banyan"), "photos");
        assert_ne!(one, other);
        assert!(one.starts_with("/var/lib/banyan"), "{}", one.display());
    }

    #[test]
    fn destroy_removes_the_data_and_says_what() {
        let state = tempfile::tempdir().unwrap();
        assert!(destroy(state.path()).unwrap().is_none());
        let data = [NodeId(1), NodeId(2)].map(|node| {
            let data = place(state.path(), "photos", &RunAs::Same, node).unwrap();
            fs::create_dir(&data).unwrap();
            fs::write(data.join("PG_VERSION"), "15\n").unwrap();
            data
        });
        assert!(destroy(state.path()).unwrap().is_some());
        assert!(data.iter().all(|data| !data.exists()));
    }
}
