//! Passwords of this installation: made once from the system's randomness, kept in files that only we can read.

use std::fs;
use std::io;
use std::path::Path;

use rand::TryRng;
use rand::rngs::SysRng;

use super::files::{FileError, Owner, write_private};

/// 256 bits in hexadecimal: nothing in it needs quoting in a URL, an environment, SQL or redis.conf.
const BYTES: usize = 32;

/// The password of that name; made and kept if there is none yet.
pub(super) fn password(secrets: &Path, name: &str) -> Result<String, FileError> {
    let path = secrets.join(name);
    match fs::read_to_string(&path) {
        Ok(text) if text.len() >= BYTES => Ok(text.trim().to_owned()),
        Ok(_) => Err(FileError::new("use (it is cut off)", &path)(
            io::ErrorKind::InvalidData.into(),
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let password = generate().map_err(FileError::new("find randomness for", &path))?;
            let written = write_private(&path, password.as_bytes(), &Owner::SELF);
            written.map_err(FileError::new("write", &path))?;
            Ok(password)
        }
        Err(error) => Err(FileError::new("read", &path)(error)),
    }
}

fn generate() -> io::Result<String> {
    let mut bytes = [0; BYTES];
    SysRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
