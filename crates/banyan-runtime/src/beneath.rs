//! Opening files below a folder that nobody can be led out of: not by `..`, not by a symbolic link.
//!
//! openat2(2) with RESOLVE_BENEATH decides while it walks, so nothing can change between a check and the opening. Links
//! within the folder are followed; those with an absolute target are refused, wherever they lead.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// What lies at a relative path, for reading; a folder, too. Leading out is [`io::ErrorKind::PermissionDenied`]. Never
    /// waits for the other end of a pipe.
    pub fn file(&self, path: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
            Ok(fd) => Ok(fd.into()),
            Err(Errno::XDEV | Errno::LOOP) => Err(io::ErrorKind::PermissionDenied.into()),
            // Kernels before 5.6, and sandboxes that know no openat2.
            Err(Errno::NOSYS) => self.checked(path),
            Err(error) => Err(error.into()),
        }
    }

    /// As near to it as older kernels come: the real path is looked at before.
    fn checked(&self, path: &Path) -> io::Result<File> {
        let real = self.path.join(path).canonicalize()?;
        if !real.starts_with(self.path.canonicalize()?) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        Ok(rustix::fs::openat(CWD, &real, flags, Mode::empty())?.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_leads_out_of_the_folder() {
        let outside = tempfile::TempDir::new().unwrap();
        let root = outside.path().join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        std::fs::write(root.join("open"), "open").unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink(outside.path(), root.join("far")).unwrap();
        symlink("../open", root.join("sub/in")).unwrap();
        let folder = Folder::open(&root).unwrap();
        for read in [Folder::file, Folder::checked] {
            for path in ["out", "far/secret", "../secret", "sub/../../secret"] {
                let error = read(&folder, Path::new(path)).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{path}");
            }
            let mut text = String::new();
            let mut file = read(&folder, Path::new("sub/in")).unwrap();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "open");
            let missing = read(&folder, Path::new("none")).unwrap_err();
            assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        }
    }
}
