//! Reads what banyan.toml names, and keeps the text for messages.

use std::path::{Path, PathBuf};

use crate::report::{FileId, Report};
use crate::source::{FileError, FileText, shorten};

pub(crate) struct Files<'a> {
    pub(crate) read: &'a dyn Fn(&Path) -> Result<FileText, FileError>,
    /// Folder of banyan.toml, as messages show it.
    pub(crate) folder: PathBuf,
    pub(crate) report: &'a Report,
}

pub(crate) struct File {
    pub(crate) id: FileId,
    pub(crate) shown: PathBuf,
    pub(crate) text: String,
    pub(crate) mode: u32,
}

impl Files<'_> {
    /// Whether there is such a folder. The error comes with the path to show.
    pub(crate) fn read_folder(&self, path: &Path) -> Result<(), (PathBuf, FileError)> {
        let wrong = |error| Err((shorten(&self.folder.join(path)), error));
        match (self.read)(path) {
            Err(FileError::Folder) => Ok(()),
            Err(error) => wrong(error),
            Ok(_) => wrong(FileError::Unreadable("it is a file".to_owned())),
        }
    }

    /// Whether there is such a file, whatever is in it. The error comes with the path to show.
    pub(crate) fn exists(&self, path: &Path) -> Result<(), (PathBuf, FileError)> {
        (self.read)(path)
            .map(drop)
            .map_err(|error| (shorten(&self.folder.join(path)), error))
    }

    /// The error comes with the path to show. Text that is not UTF-8 is reported here and read as empty.
    pub(crate) fn read(&self, path: &Path, secret: bool) -> Result<File, (PathBuf, FileError)> {
        let shown = shorten(&self.folder.join(path));
        let file = (self.read)(path).map_err(|error| (shown.clone(), error))?;
        let (id, text) = add_text(&shown, file.bytes, secret, self.report);
        Ok(File {
            id,
            shown,
            text,
            mode: file.mode,
        })
    }
}

/// Reports text that is not UTF-8, which then counts as empty.
pub(crate) fn add_text(path: &Path, bytes: Vec<u8>, secret: bool, report: &Report) -> (FileId, String) {
    match String::from_utf8(bytes) {
        Ok(text) => (report.add_file(path, &text, secret), text),
        Err(error) => {
            let id = report.add_file(path, "", secret);
            let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
                .iter()
                .filter(|b| **b == b'\n')
                .count()
                + 1;
            report.file_error(
                id,
                format!("line {line} is not UTF-8 text"),
                &["save the file as UTF-8"],
            );
            (id, String::new())
        }
    }
}
