//! The folder of photos: `media/ab/<sha256>/<size>.webp`, written to `media/incoming` first, synced, then renamed together.
//!
//! The name is the content of the largest size, so a photo never changes, two equal uploads are one, and no crash leaves half of
//! one. Earlier versions of the app kept `media/ab/<sha256>.<ext>`, the upload itself: still served.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use super::darkroom::{Darkroom, DevelopError};
use super::sniff::Format;
use super::variants::{Size, Variant};

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
    Develop(#[from] DevelopError),
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
    /// The SHA-256 of its largest size.
    pub(crate) blob: String,
    pub(crate) sizes: Vec<StoredSize>,
}

impl Stored {
    /// Of its largest size.
    pub(crate) fn pixels(&self) -> (u32, u32) {
        self.full().map_or((0, 0), |full| (full.width, full.height))
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.full().map_or(0, |full| full.bytes)
    }

    fn full(&self) -> Option<&StoredSize> {
        self.sizes.iter().find(|size| size.file == Size::Full.file())
    }
}

/// Bytes and pixels of one of its files.
#[derive(Clone, Debug)]
pub(crate) struct StoredSize {
    pub(crate) file: &'static str,
    pub(crate) bytes: u64,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl From<&Variant> for StoredSize {
    fn from(variant: &Variant) -> Self {
        Self {
            file: variant.size.file(),
            bytes: variant.bytes.len() as u64,
            width: variant.width,
            height: variant.height,
        }
    }
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
                remove(&path);
            }
        }
        Ok(Self { dir })
    }

    pub(super) async fn begin(&self) -> Result<Incoming, MediaError> {
        let path = self.new_path();
        let file = File::create_new(&path).await.map_err(failed("create", &path))?;
        Ok(Incoming {
            file,
            path: Removed(path),
            bytes: 0,
        })
    }

    /// `None`: not the name of a photo.
    pub(super) fn path_of(&self, blob: &str, size: &str) -> Option<PathBuf> {
        let size = Size::of_file(size)?;
        is_hash(blob).then(|| self.folder_of(blob).join(size.file()))
    }

    /// Of what earlier versions of the app kept.
    pub(super) fn path_of_upload(&self, name: &str) -> Option<(PathBuf, Format)> {
        let (hash, extension) = name.split_once('.')?;
        let format = Format::of_extension(extension)?;
        is_hash(hash).then(|| (self.dir.join(&hash[..2]).join(name), format))
    }

    fn folder_of(&self, hash: &str) -> PathBuf {
        self.dir.join(&hash[..2]).join(hash)
    }

    /// All sizes or none, durable. The same photo may be there already, or come at the same time.
    async fn keep(&self, variants: &[Variant]) -> Result<Stored, MediaError> {
        let blob = name_of(variants);
        let draft = Removed(self.new_path());
        let path = &draft.0;
        tokio::fs::create_dir(path)
            .await
            .map_err(failed("create", path))?;
        for variant in variants {
            let path = path.join(variant.size.file());
            let mut file = File::create_new(&path).await.map_err(failed("create", &path))?;
            file.write_all(&variant.bytes)
                .await
                .map_err(failed("write", &path))?;
            file.sync_all().await.map_err(failed("sync", &path))?;
        }
        sync_folder(path).await?;
        let target = self.folder_of(&blob);
        let parent = self.dir.join(&blob[..2]);
        tokio::fs::create_dir_all(&parent)
            .await
            .map_err(failed("create", &parent))?;
        match tokio::fs::rename(path, &target).await {
            Err(error) if !is_there(&error) => return Err(failed("create", &target)(error)),
            _ => {}
        }
        sync_folder(&parent).await?;
        sync_folder(&self.dir).await?;
        let sizes = variants.iter().map(StoredSize::from).collect();
        Ok(Stored { blob, sizes })
    }

    fn new_path(&self) -> PathBuf {
        self.dir
            .join("incoming")
            .join(format!("{:032x}", rand::random::<u128>()))
    }
}

fn is_hash(text: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == 64 && text.bytes().all(hex)
}

fn is_there(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
    )
}

fn name_of(variants: &[Variant]) -> String {
    let full = variants.iter().find(|variant| variant.size == Size::Full);
    let hash = Sha256::digest(full.map_or(&[][..], |variant| &variant.bytes));
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file that is being received; removed unless finished.
pub(super) struct Incoming {
    file: File,
    path: Removed,
    bytes: u64,
}

struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// A file, or a folder with what is in it. Gone already after a rename, or because another instance cleans up, too: nothing
/// to report.
fn remove(path: &Path) {
    if fs::remove_file(path).is_err() {
        fs::remove_dir_all(path).ok();
    }
}

impl Incoming {
    pub(super) async fn write(&mut self, chunk: &Bytes) -> Result<(), MediaError> {
        self.bytes += chunk.len() as u64;
        self.file
            .write_all(chunk)
            .await
            .map_err(failed("write", &self.path.0))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes a photo of it, then makes that durable under its name.
    pub(super) async fn finish(
        mut self,
        store: &MediaStore,
        darkroom: &Darkroom,
    ) -> Result<Stored, FinishError> {
        let path = &self.path.0;
        self.file.flush().await.map_err(failed("write", path))?;
        let variants = darkroom.develop(path.clone()).await?;
        Ok(store.keep(&variants).await?)
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
    use super::super::variants::SIZES;
    use super::super::variants::tests::{png_file, scene};
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

    async fn receive(store: &MediaStore, file: &[u8]) -> Incoming {
        let mut incoming = store.begin().await.unwrap();
        for chunk in file.chunks(700) {
            incoming.write(&Bytes::copy_from_slice(chunk)).await.unwrap();
        }
        incoming
    }

    #[tokio::test]
    async fn equal_uploads_are_one_photo_under_its_hash() {
        let dir = tempfile::tempdir().unwrap();
        let store = MediaStore::open(dir.path()).unwrap();
        let darkroom = Darkroom::new();
        let png = png_file(&scene(40, 30));
        let (one, two) = tokio::join!(receive(&store, &png), receive(&store, &png));
        let (one, two) = tokio::join!(one.finish(&store, &darkroom), two.finish(&store, &darkroom));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(one.blob, two.blob);
        let found = files(dir.path());
        assert_eq!(found.len(), SIZES.len(), "{found:?}");
        for size in SIZES {
            assert!(found.contains(&store.path_of(&one.blob, size.file()).unwrap()));
        }
    }

    #[tokio::test]
    async fn what_is_refused_or_dropped_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let store = MediaStore::open(dir.path()).unwrap();
        let darkroom = Darkroom::new();
        let lie = receive(&store, b"<html>").await;
        assert!(lie.finish(&store, &darkroom).await.is_err());
        // By its structure whole; its data cannot be inflated.
        let broken = receive(&store, &png_of(3, 2)).await;
        assert!(broken.finish(&store, &darkroom).await.is_err());
        let cut_off = receive(&store, b"half").await;
        drop(cut_off);
        assert_eq!(files(dir.path()), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_path_cannot_leave_the_folder() {
        let store = MediaStore {
            dir: PathBuf::from("media"),
        };
        let hash = "ab".repeat(32);
        assert!(store.path_of(&hash, "320.webp").is_some());
        assert!(store.path_of_upload(&format!("{hash}.png")).is_some());
        for (blob, size) in [
            ("..", "full.webp"),
            (&hash[1..], "full.webp"),
            (&"AB".repeat(32), "full.webp"),
            (&"..".repeat(32), "full.webp"),
            (&hash, "../full.webp"),
            (&hash, "640.webp"),
        ] {
            assert!(store.path_of(blob, size).is_none(), "{blob} {size}");
        }
        for name in [
            "../token_keys".to_owned(),
            format!("{hash}.svg"),
            format!("{hash}.png/.."),
            format!("{}.png", "AB".repeat(32)),
            "..".repeat(32) + ".png",
            hash,
        ] {
            assert!(store.path_of_upload(&name).is_none(), "{name}");
        }
    }
}
