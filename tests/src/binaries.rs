//! Where the programs under test are: beside this test's own, in the target directory that built it.

use std::path::{Path, PathBuf};

pub fn banyan() -> PathBuf {
    find("banyan")
}

pub fn photos() -> PathBuf {
    find("photos")
}

/// An app that misbehaves on request, of this package.
pub fn misfit() -> PathBuf {
    find("misfit")
}

/// An app that speaks every way that the edge passes on, of this package.
pub fn chatter() -> PathBuf {
    find("chatter")
}

/// # Panics
/// When it was not built: cargo builds no binaries of other packages for a test.
fn find(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    // target/debug/deps/e2e-0123456789abcdef
    let dir = test
        .parent()
        .and_then(Path::parent)
        .expect("a test lies in target/PROFILE/deps");
    let path = dir.join(name);
    assert!(
        path.exists(),
        "{} is missing: run the tests by `make test` or `cargo nextest run`, which build it, or first `cargo build -p {name}`",
        path.display()
    );
    path
}
