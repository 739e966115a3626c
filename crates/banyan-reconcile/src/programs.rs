//! The app's own programs: what commands start by a path, when it is a compiled program of the app and not a tool of
//! the machine. They are copied into a release.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use banyan_config::{Config, Template};
use sha2::{Digest, Sha256};

/// Path as commands name it (relative to the app's folder) → SHA-256 in hex.
///
/// A name without a slash is looked up in PATH, an absolute path outside the app's folder is the machine's: neither is
/// the app's. Scripts are read by an interpreter together with files beside them, so copying one would help nobody.
pub fn find(config: &Config, app: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut programs = BTreeMap::new();
    let commands = config
        .processes
        .values()
        .map(|table| &table.argv)
        .chain(&config.app.release);
    for name in commands.filter_map(|argv| argv.first()).map(Template::as_str) {
        let is_own =
            name.contains('/') && (Path::new(name).is_relative() || Path::new(name).starts_with(app));
        if is_own && is_elf(&app.join(name))? {
            programs.insert(name.to_owned(), digest(&app.join(name))?);
        }
    }
    Ok(programs)
}

/// SHA-256 of a file in hex.
pub fn digest(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A missing program is no error here: the launch names it better.
fn is_elf(path: &Path) -> io::Result<bool> {
    let mut magic = [0; 4];
    match File::open(path).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) => Ok(magic == *b"\x7fELF"),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        Err(_) => Ok(false),
    }
}
