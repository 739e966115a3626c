//! Files and folders that another user's program reads: written by root, owned by that user, never through a link.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::account;
use crate::child::RunAs;

/// Something failed with a file or folder.
#[derive(Debug, thiserror::Error)]
#[error("failed to {operation} {path}")]
pub struct FileError {
    pub operation: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

impl FileError {
    pub(crate) fn new<'a>(
        operation: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self {
            operation,
            path: path.to_owned(),
            source,
        }
    }
}

/// Who owns what is written; `None`: who runs this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(Option<(u32, u32)>);

impl Owner {
    pub(crate) const SELF: Self = Self(None);

    pub(crate) fn of(run_as: &RunAs) -> Self {
        Self(match run_as {
            RunAs::Same => None,
            RunAs::User(user) => account::find(user).map(|account| (account.uid, account.gid)),
        })
    }

    pub(crate) fn take(self, path: &Path) -> io::Result<()> {
        match self.0 {
            Some((uid, gid)) => std::os::unix::fs::lchown(path, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }
}

/// Replaces `path`, mode 0600, atomically and durably. The folder may belong to a user we do not trust: the temporary
/// file is made anew, so a link planted there is not followed.
pub(crate) fn write_private(path: &Path, content: &[u8], owner: &Owner) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".banyan-new");
    let temporary = Path::new(&temporary);
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)?;
    if let Some((uid, gid)) = owner.0 {
        std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
    }
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    sync_parent(path)
}

/// Makes a folder of mode 0700; it must not exist.
pub(crate) fn create_private_dir(path: &Path, owner: &Owner) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    owner.take(path)
}

pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
