//! A file that all instances of one machine share, made by whichever comes first: only its owner may read it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
#[error("failed to {doing} {path} (the keys that sign tokens; TOKEN_KEYS would stand in for it): {source}")]
pub struct KeyFileError {
    doing: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The first to link its draft wins; all others read that one.
pub(super) fn read_or_make(path: &Path, text: impl FnOnce() -> String) -> Result<String, KeyFileError> {
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| KeyFileError { doing, path, source }
    };
    if !path.exists() {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed("create", folder))?;
        }
        let draft = path.with_extension(format!("{:016x}", rand::random::<u64>()));
        write(&draft, &text()).map_err(failed("write", &draft))?;
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft).map_err(failed("remove", &draft))?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("create", path)(error));
            }
            _ => {}
        }
    }
    fs::read_to_string(path).map_err(failed("read", path))
}

fn write(draft: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::auth::Keyring;

    #[test]
    fn instances_that_start_together_share_what_one_of_them_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deeper/token_keys");
        let texts: Vec<String> = std::thread::scope(|scope| {
            let path = &path;
            let starts: Vec<_> = (0..8)
                .map(|number| scope.spawn(move || read_or_make(path, || format!("key {number}")).unwrap()))
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(texts.iter().all(|text| text == &texts[0]), "{texts:?}");
        let files: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(files.len(), 1, "a draft was left behind");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_named_and_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        assert!(format!("{:?}", Keyring::shared(dir.path()).unwrap()).contains("made"));
        fs::write(dir.path().join("token_keys"), "a:secret").unwrap();
        let refused = Keyring::shared(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("/token_keys, which stands in for"), "{refused}");
        assert!(!refused.contains("secret"), "{refused}");
    }
}
