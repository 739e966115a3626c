//! The data directory: made whole under another name and then renamed, so a half one is never taken for good.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{PostgresError, SUPERUSER, Server, backup, io_error, least, replica, secret, settings, version};
use crate::child::{ChildId, ChildSpec, Handle, Probe, StopSignal};
use crate::engine::files::{create_private_dir, sync_parent, write_private};

/// Some seconds usually; slow disks need more.
const LIMIT: Duration = Duration::from_secs(300);
const INCLUDE: &str = "include = 'banyan.conf'";

/// Where a data directory is until it is whole.
pub(super) fn unfinished(data: &Path) -> PathBuf {
    with_suffix(data, ".unfinished")
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes the data directory if there is none, and writes Banyan's settings into it.
pub(super) async fn prepare(server: &Server, handle: &Handle) -> Result<(), PostgresError> {
    match version::of_data(&server.data)? {
        Some(data) if data != server.database.version => {
            return Err(PostgresError::OtherMajor {
                wanted: server.database.version,
                data,
            });
        }
        Some(_) => {}
        None => create(server, handle).await?,
    }
    configure(server, &server.data)
}

/// Into place, durably, once it is whole. Replaces an empty directory, and fails on any other.
pub(super) fn put_in_place(folder: &Path, data: &Path) -> Result<(), PostgresError> {
    fs::rename(folder, data).map_err(io_error("rename into place", data))?;
    sync_parent(data).map_err(io_error("sync the folder of", data))
}

async fn create(server: &Server, handle: &Handle) -> Result<(), PostgresError> {
    let folder = unfinished(&server.data);
    end_earlier(initdb(server, &server.data, &server.data), handle).await;
    clear(&folder)?;
    let owner = server.owner();
    create_private_dir(&folder, &owner).map_err(io_error("create", &folder))?;
    let password_file = with_suffix(&server.data, ".password");
    let password = secret::password(&server.secrets, SUPERUSER)?;
    write_private(&password_file, password.as_bytes(), &owner).map_err(io_error("write", &password_file))?;
    let made = run_initdb(server, handle, &folder, &password_file).await;
    fs::remove_file(&password_file).map_err(io_error("delete", &password_file))?;
    if let Err(error) = made {
        clear(&folder)?;
        return Err(error);
    }
    include_settings(server, &folder)?;
    put_in_place(&folder, &server.data)
}

/// Of an earlier attempt that was cut short: never a data directory that was in use.
pub(super) fn clear(folder: &Path) -> Result<(), PostgresError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("clear", folder)(error)),
        _ => Ok(()),
    }
}

/// Of a controller that was killed meanwhile: it would write into what is deleted here.
pub(super) async fn end_earlier(spec: ChildSpec, handle: &Handle) {
    let survivors = handle.survivors().await;
    if let Some(survivor) = survivors.iter().find(|survivor| survivor.id == spec.id) {
        let id = spec.id.clone();
        handle.adopt(spec, survivor).await;
        handle.stop(&id).await;
    }
}

fn initdb(server: &Server, folder: &Path, password_file: &Path) -> ChildSpec {
    let argument = |name: &str, path: &Path| format!("{name}={}", path.display());
    let argv = vec![
        server.bin.join("initdb").display().to_string(),
        argument("--pgdata", folder),
        argument("--pwfile", password_file),
        format!("--username={SUPERUSER}"),
        "--auth=scram-sha-256".to_owned(),
        "--data-checksums".to_owned(),
        "--encoding=UTF8".to_owned(),
        "--locale=C.UTF-8".to_owned(),
    ];
    ChildSpec {
        id: ChildId("initdb".to_owned()),
        argv,
        ready: Probe::Running {
            for_at_least: Duration::ZERO,
        },
        live: None,
        stop: StopSignal::Terminate,
        port: None,
        ..server.spec()
    }
}

async fn run_initdb(
    server: &Server,
    handle: &Handle,
    folder: &Path,
    password_file: &Path,
) -> Result<(), PostgresError> {
    let spec = initdb(server, folder, password_file);
    let outcome = handle.run(spec, LIMIT).await?;
    if outcome.success {
        return Ok(());
    }
    Err(server
        .known_trouble(&outcome.log_tail)
        .unwrap_or(PostgresError::Initdb {
            exit: outcome.exit,
            log_tail: outcome.log_tail,
        }))
}

/// In postgresql.conf, as its last line: what comes later wins.
fn include_settings(server: &Server, folder: &Path) -> Result<(), PostgresError> {
    let path = folder.join("postgresql.conf");
    let text = fs::read_to_string(&path).map_err(io_error("read", &path))?;
    if text.lines().any(|line| line.trim() == INCLUDE) {
        return Ok(());
    }
    let text = format!("{text}\n{INCLUDE}\n");
    write_private(&path, text.as_bytes(), &server.owner()).map_err(io_error("write", &path))
}

/// What the server is, primary or replica, with its settings: as its files say at its next start or reload.
pub(super) fn configure(server: &Server, data: &Path) -> Result<(), PostgresError> {
    include_settings(server, data)?;
    let following = replica::connection(server, data)?;
    backup::configure(server)?;
    let stores = server.database.backup.as_ref();
    // In data's own folder: the folder may be renamed before it is used.
    let archive = stores.map(|_| backup::archive_command(&server.data, server.stanza()));
    let least = match !server.is_primary() || replica::is_marked(data) {
        true => least::of(&server.control_file(data)?),
        false => Vec::new(),
    };
    let beside = settings::Beside {
        following: following.as_deref(),
        archive: archive.as_deref(),
        least: &least,
    };
    let tuned = settings::config_file(&server.database, server.node, beside)?;
    for (name, text) in [
        ("banyan.conf", tuned.as_str()),
        ("pg_hba.conf", settings::access_file()),
    ] {
        let path = data.join(name);
        write_private(&path, text.as_bytes(), &server.owner()).map_err(io_error("write", &path))?;
    }
    replica::mark(server, data)
}
