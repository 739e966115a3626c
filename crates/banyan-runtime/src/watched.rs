//! A versioned file: written whole (temporary name, fsync, rename), watched by its reader.
//!
//! The reader watches the directory (a rename replaces the inode) and also looks each second, so a lost event costs a
//! second, not a state. Which version is acceptable is the caller's decision: epochs live in the value.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::unix::AsyncFd;

const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum WatchedError {
    #[error("failed to {operation} {path}")]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} does not hold what is expected there")]
    Content {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
}

fn io_error<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> WatchedError + 'a {
    move |source| WatchedError::Io {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// Replaces the file at `path` by `value` as JSON; a reader sees the old or the new, never a part. Durable on return.
pub fn publish<T: Serialize>(path: &Path, value: &T) -> Result<(), WatchedError> {
    let text = serde_json::to_vec_pretty(value).map_err(|source| WatchedError::Content {
        path: path.to_owned(),
        source,
    })?;
    replace(path, &text)
}

/// Replaces the file at `path` by `bytes`, atomically and durably.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), WatchedError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary).map_err(io_error("create", &temporary))?;
    file.write_all(bytes).map_err(io_error("write", &temporary))?;
    file.sync_all().map_err(io_error("sync", &temporary))?;
    fs::rename(&temporary, path).map_err(io_error("rename into place", path))?;
    File::open(directory)
        .and_then(|d| d.sync_all())
        .map_err(io_error("sync", directory))
}

/// The value at `path`; `None` when there is no file.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, WatchedError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| WatchedError::Content {
                path: path.to_owned(),
                source,
            }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

/// Waits for changes of one file.
pub struct Watch {
    path: PathBuf,
    inotify: AsyncFd<OwnedFd>,
}

impl Watch {
    /// Needs a tokio runtime. The directory must exist; the file need not.
    pub fn new(path: &Path) -> Result<Self, WatchedError> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let watch = || -> io::Result<AsyncFd<OwnedFd>> {
            let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
            inotify::add_watch(
                &fd,
                directory,
                inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CLOSE_WRITE,
            )?;
            crate::fd::watch(fd)
        };
        Ok(Self {
            path: path.to_owned(),
            inotify: watch().map_err(io_error("watch", directory))?,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns after something changed in the directory, or after a second: read again either way.
    pub async fn changed(&mut self) {
        let Ok(Ok(mut guard)) = tokio::time::timeout(LOOK_EVERY, self.inotify.readable()).await else {
            return;
        };
        let mut events = [0_u8; 4096];
        while rustix::io::read(self.inotify.get_ref(), &mut events).is_ok_and(|n| n > 0) {}
        guard.clear_ready();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_sees_each_published_value_whole() {
        let directory = std::env::temp_dir().join(format!("banyan-watched-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("value.json");
        let mut watch = Watch::new(&path).unwrap();
        assert_eq!(read::<u64>(&path).unwrap(), None);
        for value in 1..=3_u64 {
            publish(&path, &value).unwrap();
            while read::<u64>(&path).unwrap() != Some(value) {
                watch.changed().await;
            }
        }
        fs::write(&path, b"{torn").unwrap();
        assert!(matches!(read::<u64>(&path), Err(WatchedError::Content { .. })));
        fs::remove_dir_all(&directory).unwrap();
    }
}
