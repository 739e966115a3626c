//! What the binary hands in: texts it has read, and a closure for the files that those texts name.

use std::fmt;
use std::path::{Component, Path, PathBuf};

/// Judges a certificate and its key: the names that it is valid for, or what is wrong with it.
pub type JudgeCertificate<'a> = dyn Fn(&Path, &Path) -> Result<Vec<String>, String> + 'a;

/// Everything [`crate::load`] may look at.
pub struct Sources<'a> {
    pub main: Source,
    /// `banyan.NAME.toml`, laid on top.
    pub overlay: Option<Source>,
    /// Reads a Procfile, the secrets file or a file template. The path is relative to the folder of banyan.toml.
    pub files: &'a dyn Fn(&Path) -> Result<FileText, FileError>,
    /// Paths as for `files`.
    pub certificates: &'a JudgeCertificate<'a>,
}

/// banyan.toml or an overlay, as read.
#[derive(Clone)]
pub struct Source {
    /// As messages should show it.
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

impl Source {
    pub fn new(path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            bytes: bytes.into(),
        }
    }
}

/// A file that banyan.toml names.
#[derive(Clone)]
pub struct FileText {
    pub bytes: Vec<u8>,
    /// Unix permission bits, such as 0o600. Only the secrets file's matter.
    pub mode: u32,
}

impl FileText {
    pub fn new(bytes: impl Into<Vec<u8>>, mode: u32) -> Self {
        Self {
            bytes: bytes.into(),
            mode,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileError {
    Missing,
    /// It is one.
    Folder,
    /// Why it cannot be read, in the words of the system.
    Unreadable(String),
}

impl From<std::io::Error> for FileError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Missing,
            std::io::ErrorKind::IsADirectory => Self::Folder,
            _ => Self::Unreadable(error.to_string()),
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such file"),
            Self::Folder => f.write_str("it is a folder"),
            Self::Unreadable(why) => f.write_str(why),
        }
    }
}

/// `stages/../apps/photos/Procfile` → `apps/photos/Procfile`: messages show the shortest honest path.
pub(crate) fn shorten(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(short.components().next_back(), Some(Component::Normal(_))) => {
                short.pop();
            }
            part => short.push(part),
        }
    }
    if short.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        short
    }
}
