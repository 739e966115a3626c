//! The folder of photos: `media/ab/<sha256>.<ext>`, written to `media/incoming` first, synced, then renamed.
//!
//! The name is the content, so a file never changes, two equal uploads are one file, and no crash leaves half of one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use super::sniff::{Format, NotAPicture, Picture, picture};

/// Older than any upload may last: left behind by a killed process.
const STALE: Duration = Duration::from_secs(3600);

#[derive(Debug, thiserror::Error)]
#[error("failed to {doing} {path}: {source}")]
pub(crate) struct MediaError {
    doing: &'static str,
    path: PathBuf,
    #[source]
    pub(super) source: io::Error,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum FinishError {
    #[error(transparent)]
    NotAPicture(#[from] NotAPicture),
    #[error(transparent)]
    Media(#[from] MediaError),
}

#[derive(Clone, Debug)]
pub(crate) struct MediaStore {
    dir: PathBuf,
}

/// A photo that is on disk for good.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// `<sha256>.<ext>`
    pub(crate) blob: String,
    pub(crate) bytes: u64,
    pub(crate) picture: Picture,
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MediaError {
    let path = path.to_owned();
    move |source| MediaError { doing, path, source }
}

impl MediaStore {
    /// Makes the folders and removes what killed processes left in `incoming`.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, MediaError> {
        let dir = data_dir.join("media");
        let incoming = dir.join("incoming");
        fs::create_dir_all(&incoming).map_err(failed("create", &incoming))?;
        let entries = fs::read_dir(&incoming).map_err(failed("read", &incoming))?;
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let age = fs::metadata(&path)
                .and_then(|meta| meta.modified())
                .ok()
                .and_then(|modified| modified.elapsed().ok());
            if age.is_some_and(|age| age > STALE) {
                // Another instance may be cleaning up, too.
                fs::remove_file(&path).ok();
            }
        }
        Ok(Self { dir })
    }

    pub(super) async fn begin(&self) -> Result<Incoming, MediaError> {
        let path = self
            .dir
            .join("incoming")
            .join(format!("{:032x}", rand::random::<u128>()));
        let file = File::create_new(&path).await.map_err(failed("create", &path))?;
        Ok(Incoming {
            file,
            path: Removed(path),
            hash: Sha256::new(),
            bytes: 0,
        })
    }

    /// `None`: not the name of a photo.
    pub(super) fn path_of(&self, blob: &str) -> Option<(PathBuf, Format)> {
        let (hash, extension) = blob.split_once('.')?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let format = Format::of_extension(extension)?;
        (hash.len() == 64 && hash.bytes().all(hex)).then(|| (self.dir.join(&hash[..2]).join(blob), format))
    }
}

/// A file that is being received; removed unless finished.
pub(super) struct Incoming {
    file: File,
    path: Removed,
    hash: Sha256,
    bytes: u64,
}

struct Removed(PathBuf);

impl Drop for Removed {
    /// Gone already after the rename: nothing to report.
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

impl Incoming {
    pub(super) async fn write(&mut self, chunk: &Bytes) -> Result<(), MediaError> {
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        self.file
            .write_all(chunk)
            .await
            .map_err(failed("write", &self.path.0))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Checks the content, then makes it durable under its name.
    pub(super) async fn finish(mut self, store: &MediaStore) -> Result<Stored, FinishError> {
        let path = &self.path.0;
        self.file.flush().await.map_err(failed("write", path))?;
        self.file.sync_all().await.map_err(failed("sync", path))?;
        let content = tokio::fs::read(path).await.map_err(failed("read", path))?;
        let picture = picture(&content)?;
        let hash: String = self
            .hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let blob = format!("{hash}.{}", picture.format.extension());
        let folder = store.dir.join(&hash[..2]);
        tokio::fs::create_dir_all(&folder)
            .await
            .map_err(failed("create", &folder))?;
        let target = folder.join(&blob);
        tokio::fs::rename(path, &target)
            .await
            .map_err(failed("create", &target))?;
        sync_folder(&folder).await?;
        sync_folder(&store.dir).await?;
        Ok(Stored {
            blob,
            bytes: self.bytes,
            picture,
        })
    }
}

/// A rename survives a power cut only once its folder is synced.
async fn sync_folder(folder: &Path) -> Result<(), MediaError> {
    let open = File::open(folder).await.map_err(failed("open", folder))?;
    open.sync_all().await.map_err(failed("sync", folder))
}

#[cfg(test)]
mod tests {
    use super::super::sniff::tests::png_of;
    use super::*;

    fn files(dir: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path));
            } else {
                found.push(path);
            }
        }
        found
    }

    #[tokio::test]
    async fn equal_uploads_are_one_file_under_its_hash() {
        let dir = tempfile::tempdir().unwrap();
        let store = MediaStore::open(dir.path()).unwrap();
        let mut blobs = Vec::new();
        for _ in 0..2 {
            let mut incoming = store.begin().await.unwrap();
            for chunk in png_of(3, 2).chunks(7) {
                incoming.write(&Bytes::copy_from_slice(chunk)).await.unwrap();
            }
            blobs.push(incoming.finish(&store).await.unwrap().blob);
        }
        assert_eq!(blobs[0], blobs[1]);
        assert_eq!(files(dir.path()), [store.path_of(&blobs[0]).unwrap().0]);
    }

    #[tokio::test]
    async fn what_is_refused_or_dropped_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = MediaStore::open(dir.path()).unwrap();
        let mut lie = store.begin().await.unwrap();
        lie.write(&Bytes::from_static(b"<html>")).await.unwrap();
        assert!(lie.finish(&store).await.is_err());
        let mut cut_off = store.begin().await.unwrap();
        cut_off.write(&Bytes::from_static(b"half")).await.unwrap();
        drop(cut_off);
        assert_eq!(files(dir.path()), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_path_cannot_leave_the_folder() {
        let store = MediaStore {
            dir: PathBuf::from("media"),
        };
        let hash = "ab".repeat(32);
        assert!(store.path_of(&format!("{hash}.png")).is_some());
        for name in [
            "../secret_key".to_owned(),
            format!("{hash}.svg"),
            format!("{hash}.png/.."),
            format!("{}.png", "AB".repeat(32)),
            "..".repeat(32) + ".png",
            hash,
        ] {
            assert!(store.path_of(&name).is_none(), "{name}");
        }
    }
}
