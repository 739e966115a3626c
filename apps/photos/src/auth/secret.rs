//! The key that signs tokens. Every instance must have the same one, or a token of one is refused by the next.
//!
//! SECRET_KEY if set; else `BANYAN_DATA_DIR/secret_key`, made by whichever instance comes first. Instances on several
//! machines share no directory, so they need SECRET_KEY.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::settings::Secret;

#[derive(Debug, thiserror::Error)]
#[error("failed to {doing} {path} (the key that signs tokens; SECRET_KEY would replace it): {source}")]
pub(crate) struct SecretError {
    doing: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

pub(crate) fn load(given: Option<Secret>, data_dir: &Path) -> Result<Secret, SecretError> {
    given.map_or_else(|| shared(data_dir), Ok)
}

/// The first to link its file wins; all others read that one.
fn shared(data_dir: &Path) -> Result<Secret, SecretError> {
    let path = data_dir.join("secret_key");
    let failed = |doing, path: &Path| {
        let path = path.to_owned();
        move |source| SecretError { doing, path, source }
    };
    if !path.exists() {
        fs::create_dir_all(data_dir).map_err(failed("create", data_dir))?;
        let draft = data_dir.join(format!("secret_key.{:016x}", rand::random::<u64>()));
        write(&draft).map_err(failed("write", &draft))?;
        let linked = fs::hard_link(&draft, &path);
        fs::remove_file(&draft).map_err(failed("remove", &draft))?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("create", &path)(error));
            }
            _ => {}
        }
    }
    let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
    if text.trim().len() < 32 {
        let short = io::Error::new(io::ErrorKind::InvalidData, "shorter than 32 characters");
        return Err(failed("use", &path)(short));
    }
    Ok(Secret(text.trim().to_owned()))
}

fn write(draft: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)?;
    let key: [u8; 32] = rand::random();
    for byte in key {
        write!(file, "{byte:02x}")?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_that_start_together_share_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let keys: Vec<String> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| load(None, dir.path()).unwrap().0))
                .collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| key == &keys[0] && key.len() == 64));
        let files: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "a draft was left behind");
    }

    #[test]
    fn a_damaged_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret_key"), "short").unwrap();
        assert!(
            load(None, dir.path())
                .unwrap_err()
                .to_string()
                .contains("shorter than 32")
        );
    }
}
