//! Releases that are kept: `.banyan/releases/N/` with `release.json` and copies of the app's own programs, so that a
//! restart or a rollback runs what was deployed and not what was built since.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use banyan_runtime::watched::{self, WatchedError};
use banyan_topology::{Release, ReleaseId, Topology};

use crate::programs;

/// Beside those in use.
const KEEP: usize = 10;

#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    #[error("failed to {operation} {path}")]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Content(#[from] WatchedError),
    #[error(
        "{0} changed while it was copied into the release; is a build running? Try again when it is done"
    )]
    Changed(PathBuf),
    #[error("{0} is not kept any more; `banyan deploy` makes a new release")]
    Missing(ReleaseId),
}

fn failed<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> ReleaseError + 'a {
    move |source| ReleaseError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

#[derive(Clone, Debug)]
pub struct Releases(PathBuf);

impl Releases {
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    pub fn all(&self) -> Result<BTreeMap<ReleaseId, Release>, ReleaseError> {
        let mut all = BTreeMap::new();
        for id in self.ids()? {
            if let Some(release) = watched::read(&self.folder(id).join("release.json"))? {
                all.insert(id, release);
            }
        }
        Ok(all)
    }

    pub fn get(&self, id: ReleaseId) -> Result<Release, ReleaseError> {
        watched::read(&self.folder(id).join("release.json"))?.ok_or(ReleaseError::Missing(id))
    }

    /// Where the copy of a program lies, by the path that commands name it with.
    pub fn program(&self, release: &Release, path: &str) -> Option<PathBuf> {
        let digest = release.programs.get(path)?;
        Some(self.folder(release.id).join(copy_name(path, digest)))
    }

    /// Keeps a release: it is there whole, or not at all. A leftover of the same number never ran and is replaced.
    pub fn store(&self, release: &Release, app: &Path) -> Result<(), ReleaseError> {
        let folder = self.folder(release.id);
        let temporary = folder.with_extension("new");
        for old in [&temporary, &folder] {
            match fs::remove_dir_all(old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("replace", old)(error));
                }
                _ => {}
            }
        }
        fs::create_dir_all(&temporary).map_err(failed("create", &temporary))?;
        // The app's user passes through to its program.
        fs::set_permissions(&temporary, Permissions::from_mode(0o711)).map_err(failed("open", &temporary))?;
        for (path, digest) in &release.programs {
            copy_program(&app.join(path), digest, &temporary.join(copy_name(path, digest)))?;
        }
        let description = temporary.join("release.json");
        watched::publish(&description, release)?;
        // Nobody else needs to know even the digest of the secrets.
        fs::set_permissions(&description, Permissions::from_mode(0o600))
            .map_err(failed("protect", &description))?;
        fs::rename(&temporary, &folder).map_err(failed("keep", &folder))?;
        File::open(&self.0)
            .and_then(|folder| folder.sync_all())
            .map_err(failed("sync", &self.0))
    }

    /// Removes old releases but the last ones and those in use.
    pub fn prune(&self, in_use: &BTreeSet<ReleaseId>) -> Result<(), ReleaseError> {
        for id in self.ids()?.into_iter().rev().skip(KEEP) {
            if !in_use.contains(&id) {
                let folder = self.folder(id);
                fs::remove_dir_all(&folder).map_err(failed("remove", &folder))?;
            }
        }
        Ok(())
    }

    fn ids(&self) -> Result<Vec<ReleaseId>, ReleaseError> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("list", &self.0)(error)),
        };
        let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
        let mut ids: Vec<ReleaseId> = entries.filter_map(number).map(ReleaseId).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    fn folder(&self, id: ReleaseId) -> PathBuf {
        self.0.join(id.0.to_string())
    }
}

/// Releases that run or are to run.
pub fn in_use(topology: &Topology) -> BTreeSet<ReleaseId> {
    let running = topology.instances.keys().map(|id| id.release);
    running.chain(topology.release).collect()
}

/// Two programs of one name in different folders stay apart.
fn copy_name(path: &str, digest: &str) -> String {
    let name = Path::new(path)
        .file_name()
        .map_or_else(|| "program".into(), |name| name.to_string_lossy());
    format!("{}-{name}", digest.get(..8).unwrap_or(digest))
}

fn copy_program(from: &Path, digest: &str, to: &Path) -> Result<(), ReleaseError> {
    fs::copy(from, to).map_err(failed("copy", from))?;
    if programs::digest(to).map_err(failed("read", to))? != digest {
        return Err(ReleaseError::Changed(from.to_owned()));
    }
    fs::set_permissions(to, Permissions::from_mode(0o755)).map_err(failed("make executable", to))?;
    File::open(to)
        .and_then(|file| file.sync_all())
        .map_err(failed("sync", to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(id: u32, programs: BTreeMap<String, String>) -> Release {
        Release {
            id: ReleaseId(id),
            dir: ".".into(),
            user: None,
            database_url: None,
            redis: BTreeMap::new(),
            proxied: false,
            proxy_port: None,
            commands: BTreeMap::new(),
            release_command: None,
            files: Vec::new(),
            programs,
            secrets_digest: String::new(),
        }
    }

    #[test]
    fn a_kept_program_is_the_one_that_was_deployed() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("serve");
        fs::write(&program, b"\x7fELF one").unwrap();
        let digest = programs::digest(&program).unwrap();
        let releases = Releases::new(folder.path().join("releases"));
        let kept = release(3, [("serve".to_owned(), digest.clone())].into());
        releases.store(&kept, folder.path()).unwrap();
        fs::write(&program, b"\x7fELF two").unwrap();

        assert_eq!(releases.get(ReleaseId(3)).unwrap(), kept);
        let copy = releases.program(&kept, "serve").unwrap();
        assert_eq!(fs::read(copy).unwrap(), b"\x7fELF one");
        let changed = release(4, [("serve".to_owned(), digest)].into());
        assert!(matches!(
            releases.store(&changed, folder.path()),
            Err(ReleaseError::Changed(_))
        ));
        assert_eq!(releases.all().unwrap().len(), 1);
    }

    #[test]
    fn old_releases_go_unless_they_are_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let releases = Releases::new(folder.path());
        for id in 1..=14 {
            releases
                .store(&release(id, BTreeMap::new()), folder.path())
                .unwrap();
        }
        releases.prune(&[ReleaseId(2)].into()).unwrap();
        let left: Vec<u32> = releases.all().unwrap().keys().map(|id| id.0).collect();
        assert_eq!(left, [2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    }
}
