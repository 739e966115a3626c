//! Copies of the banyan program by digest, so that an edge is started again, or put back, as exactly what it was.
//!
//! The file that the controller was started from may be replaced at any time: by a build, by a package.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use crate::programs;

/// Tells a file that was replaced or written to. A copy by link is the same file.
type Stamp = (u64, u64, u64, i64, i64);

pub(super) struct Programs {
    /// This binary, as it was found at the controller's start.
    current: PathBuf,
    copies: PathBuf,
    /// Of the file that was looked at last: hashing it takes a moment.
    known: watch::Sender<Option<(Stamp, String)>>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    #[error("failed to {operation} {path}")]
    File {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is another program than when this was planned; look at `banyan plan` again")]
    Changed { path: PathBuf },
}

impl Programs {
    pub(super) fn new(current: PathBuf, copies: PathBuf) -> Self {
        Self {
            current,
            copies,
            known: watch::Sender::new(None),
        }
    }

    pub(super) fn current(&self) -> Option<String> {
        self.digest(&self.current).ok()
    }

    /// Where that program is; unknown ones are what the controller is.
    pub(super) fn path(&self, digest: &str) -> PathBuf {
        let copy = self.copy(digest);
        if digest.is_empty() || !copy.exists() {
            return self.current.clone();
        }
        copy
    }

    /// `digest`: in hex, or its first 16 digits. As [`Self::path`], but the copy is made if it is missing, and is what it is called.
    pub(super) fn provide(&self, digest: &str) -> Result<PathBuf, ProgramError> {
        let copy = self.copy(digest);
        if digest.is_empty() {
            return Ok(self.current.clone());
        }
        if self.digest(&copy).is_ok_and(|found| found.starts_with(digest)) {
            return Ok(copy);
        }
        let new = copy.with_extension("new");
        let fail = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| ProgramError::File {
                operation,
                path,
                source,
            }
        };
        fs::create_dir_all(&self.copies).map_err(fail("create", &self.copies))?;
        fs::remove_file(&new).ok();
        // By link where that works: who replaces a program in use makes a new file.
        if fs::hard_link(&self.current, &new).is_err() {
            fs::copy(&self.current, &new).map_err(fail("copy", &self.current))?;
        }
        if !self.digest(&new).map_err(fail("read", &new))?.starts_with(digest) {
            fs::remove_file(&new).ok();
            return Err(ProgramError::Changed {
                path: self.current.clone(),
            });
        }
        fs::rename(&new, &copy).map_err(fail("create", &copy))?;
        Ok(copy)
    }

    /// Removes every copy but these.
    pub(super) fn keep(&self, digests: &[&str]) {
        let kept: Vec<PathBuf> = digests.iter().map(|digest| self.copy(digest)).collect();
        for entry in fs::read_dir(&self.copies).into_iter().flatten().flatten() {
            if !kept.contains(&entry.path()) {
                fs::remove_file(entry.path()).ok();
            }
        }
    }

    fn copy(&self, digest: &str) -> PathBuf {
        self.copies.join(digest.get(..16).unwrap_or(digest))
    }

    fn digest(&self, path: &Path) -> io::Result<String> {
        let stamp = stamp(path)?;
        if let Some((known, digest)) = &*self.known.borrow()
            && *known == stamp
        {
            return Ok(digest.clone());
        }
        let digest = programs::digest(path)?;
        self.known.send_replace(Some((stamp, digest.clone())));
        Ok(digest)
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let file = fs::metadata(path)?;
    Ok((
        file.dev(),
        file.ino(),
        file.size(),
        file.mtime(),
        file.mtime_nsec(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(path: &Path, text: &str) {
        // As builds do: a new file takes the name.
        let new = path.with_extension("build");
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    #[test]
    fn a_program_that_was_replaced_can_still_be_started_and_an_unknown_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let banyan = folder.path().join("banyan");
        written(&banyan, "old");
        let programs = Programs::new(banyan.clone(), folder.path().join("programs"));
        let old = programs.current().unwrap();
        let copy = programs.provide(&old).unwrap();
        written(&banyan, "new");
        let new = programs.current().unwrap();
        assert_ne!(old, new);
        assert_eq!(
            fs::read_to_string(programs.provide(&old).unwrap()).unwrap(),
            "old"
        );
        assert_eq!(
            fs::read_to_string(programs.provide(&new).unwrap()).unwrap(),
            "new"
        );
        programs.keep(&[&new]);
        assert!(!copy.exists());
        assert!(matches!(
            programs.provide(&old),
            Err(ProgramError::Changed { .. })
        ));
    }
}
