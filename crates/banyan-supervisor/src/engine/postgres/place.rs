//! Where the data directories lie: as any server's ([`place`](crate::engine::place)), or in the configured folder
//! (`DIR/NAME-0123abcd/postgres`) with a symbolic link in the state folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use banyan_topology::NodeId;

use super::{PostgresError, io_error};
use crate::account;
use crate::child::{ChildId, RunAs};
use crate::engine::{identity, place};

/// Of a server's child and folder. The first has no number: it was there before others were thought of.
pub(super) fn name(node: NodeId) -> String {
    match node {
        NodeId::FIRST => "postgres".to_owned(),
        other => format!("postgres-{other}"),
    }
}

/// The data directory, which need not exist yet; its parent does. `dir`: the configured folder.
pub fn place(
    state: &Path,
    app: &str,
    run_as: &RunAs,
    node: NodeId,
    dir: Option<&Path>,
) -> Result<PathBuf, PostgresError> {
    let Some(dir) = dir else {
        return Ok(place::place(state, app, run_as, &name(node))?);
    };
    let state = fs::canonicalize(state).map_err(io_error("find", state))?;
    let inside = state.join("data").join(name(node));
    place::make_parent(&inside)?;
    elsewhere(&inside, place::own_folder(dir, &state, app).join(name(node)))
}

/// In the configured folder. Its own folder there is made once: if it is away later, so is the disk.
fn elsewhere(inside: &Path, outside: PathBuf) -> Result<PathBuf, PostgresError> {
    let parent = outside.parent().unwrap_or(Path::new("/"));
    let leads_to = fs::read_link(inside);
    match leads_to {
        Ok(target) if target == outside && parent.is_dir() => return Ok(outside),
        Ok(target) if target == outside => {
            return Err(PostgresError::DataAway {
                folder: parent.to_owned(),
            });
        }
        // Left by a change that was cut short before anything was copied.
        Ok(target) if !target.join("PG_VERSION").exists() => {
            fs::remove_file(inside).map_err(io_error("delete the link", inside))?;
        }
        Err(_) if !inside.exists() => {}
        _ => {
            return Err(PostgresError::DataElsewhere {
                inside: inside.to_owned(),
                wanted: outside,
            });
        }
    }
    place::make_parent(&outside)?;
    place::link(inside, &outside)?;
    Ok(outside)
}

/// Why data cannot be in this folder; `None`: it can. Looks, and changes nothing. `size`: of the data, in bytes.
pub fn dir_problem(dir: &Path, state: &Path, run_as: &RunAs, size: u64) -> Option<String> {
    let shown = dir.display();
    if dir.starts_with(state) {
        return Some(format!("{shown} lies in the state folder; leave `dir` out"));
    }
    if !dir.is_dir() {
        return Some(format!(
            "{shown} is no folder; make it (`mkdir -p {shown}`), or mount its disk"
        ));
    }
    if let RunAs::User(user) = run_as
        && let Some(account) = account::find(user)
        && !identity::reaches(dir, &account)
    {
        return Some(format!(
            "user {user} cannot enter {shown}, and PostgreSQL runs as that user; `chmod o+x` it and the folders above"
        ));
    }
    if rustix::fs::access(dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_err() {
        return Some(format!(
            "{shown} cannot be written to by the user that runs banyan"
        ));
    }
    let disk = rustix::fs::statvfs(dir).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    // What is written while it is copied comes on top.
    let needed = size.saturating_add(size / 10);
    (free < needed).then(|| {
        let bytes = |number: u64| format!("{} MiB", number >> 20);
        format!(
            "{shown} has {} left, and the data needs {}; make room, or choose another disk",
            bytes(free),
            bytes(needed)
        )
    })
}

/// What the files of a data directory take, in bytes; what vanishes meanwhile is not counted.
pub fn size(data: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => bytes += metadata.blocks() * 512,
                Err(_) => {}
            }
        }
    }
    bytes
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

/// Deletes every data directory for good. Nothing else in Banyan does; refuses while a server runs in one.
/// `None`: there was none. Else the first.
pub fn destroy(state: &Path) -> Result<Option<PathBuf>, PostgresError> {
    let mut nodes = nodes(state);
    if !nodes.contains(&NodeId::FIRST) {
        nodes.insert(0, NodeId::FIRST);
    }
    let places: Vec<_> = nodes
        .iter()
        .map(|node| place::found(state, &name(*node)))
        .collect();
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
    for file in super::backup::beside(data) {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("delete", &file)(error));
            }
            _ => {}
        }
    }
    let also = [super::init::unfinished(data), super::replica::former(data)];
    Ok(place::delete(inside, data, &also)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destroy_removes_the_data_and_says_what() {
        let state = tempfile::tempdir().unwrap();
        assert!(destroy(state.path()).unwrap().is_none());
        let data = [NodeId(1), NodeId(2)].map(|node| {
            let data = place(state.path(), "photos", &RunAs::Same, node, None).unwrap();
            fs::create_dir(&data).unwrap();
            fs::write(data.join("PG_VERSION"), "15\n").unwrap();
            data
        });
        assert!(destroy(state.path()).unwrap().is_some());
        assert!(data.iter().all(|data| !data.exists()));
    }

    #[test]
    fn a_configured_folder_takes_the_data_once_and_is_missed_when_its_disk_is_away() {
        let (state, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |node, dir: &Path| place(state.path(), "photos", &RunAs::Same, node, Some(dir));
        let data = at(NodeId(1), disk.path()).unwrap();
        assert!(data.starts_with(disk.path()));
        fs::create_dir(&data).unwrap();
        fs::write(data.join("PG_VERSION"), "15\n").unwrap();
        assert_eq!(at(NodeId(1), disk.path()).unwrap(), data);
        assert_eq!(timeline(state.path(), NodeId(1)), Some(1));
        let other = tempfile::tempdir().unwrap();
        let refused = at(NodeId(1), other.path()).unwrap_err();
        assert!(
            matches!(refused, PostgresError::DataElsewhere { .. }),
            "{refused}"
        );
        fs::rename(data.parent().unwrap(), disk.path().join("unmounted")).unwrap();
        let away = at(NodeId(1), disk.path()).unwrap_err();
        assert!(matches!(away, PostgresError::DataAway { .. }), "{away}");
    }

    #[test]
    fn a_folder_that_cannot_take_the_data_is_told() {
        let (state, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let problem = |dir: &Path, size| dir_problem(dir, state.path(), &RunAs::Same, size);
        assert_eq!(problem(disk.path(), 1 << 20), None);
        assert!(
            problem(disk.path(), u64::MAX / 2)
                .unwrap()
                .contains("left, and the data needs")
        );
        assert!(problem(&disk.path().join("no"), 0).unwrap().contains("mkdir -p"));
        assert!(
            problem(&state.path().join("data"), 0)
                .unwrap()
                .contains("leave `dir` out")
        );
    }
}
