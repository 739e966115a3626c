//! Certificates in files: what is accepted, what is refused and how, and when the local CA makes a new one.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use banyan_tls::Pair;
use banyan_tls::local::Local;
use tempfile::TempDir;

const DAY: i64 = 24 * 3600;

/// Certificates are judged by a clock of the test's own; the local CA's signature is verified by the machine's.
fn now() -> i64 {
    let since = rustls::pki_types::UnixTime::now();
    i64::try_from(since.as_secs()).unwrap()
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A leaf split into two files, the key 0600.
fn files(folder: &Path, domains: &[&str]) -> (PathBuf, PathBuf) {
    let local = Local::new(folder.join(domains[0]));
    local.ensure("shop", &names(domains), now()).unwrap();
    let (cert, key) = (
        folder.join(domains[0]).join("c.pem"),
        folder.join(domains[0]).join("k.pem"),
    );
    fs::copy(local.leaf(), &cert).unwrap();
    fs::copy(local.leaf(), &key).unwrap();
    (cert, key)
}

fn refused(cert: &Path, key: &Path, now: i64) -> String {
    let root = cert
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    Pair::read(cert, key, now)
        .unwrap_err()
        .to_string()
        .replace(&root, "")
}

#[test]
fn the_local_ca_is_made_once_and_its_keys_are_nobody_elses() {
    let folder = TempDir::new().unwrap();
    let local = Local::new(folder.path().join("tls"));
    let wanted = names(&["127.0.0.1", "localhost", "shop.example"]);
    assert!(local.ensure("shop", &wanted, now()).unwrap());
    let (first, leaf) = (local.fingerprint().unwrap(), fs::read(local.leaf()).unwrap());
    assert!(!local.ensure("shop", &wanted, now()).unwrap());
    assert_eq!(fs::read(local.leaf()).unwrap(), leaf);
    assert_eq!(first.len(), 32 * 3 - 1);
    assert_eq!(mode(&local.leaf()), 0o600);
    assert_eq!(mode(&folder.path().join("tls/ca.key")), 0o600);
    assert_eq!(mode(&local.authority()), 0o644);
    let pair = Pair::read(&local.leaf(), &local.leaf(), now()).unwrap();
    assert_eq!(pair.names.iter().cloned().collect::<BTreeSet<_>>(), wanted);
}

#[test]
fn the_leaf_is_renewed_before_it_expires_and_when_its_names_change() {
    let folder = TempDir::new().unwrap();
    let local = Local::new(folder.path().join("tls"));
    let one = names(&["localhost"]);
    local.ensure("shop", &one, now()).unwrap();
    let authority = local.fingerprint();
    assert!(!local.ensure("shop", &one, now() + 59 * DAY).unwrap());
    assert!(local.ensure("shop", &one, now() + 61 * DAY).unwrap());
    assert!(
        local
            .ensure("shop", &names(&["localhost", "a.example"]), now())
            .unwrap()
    );
    assert_eq!(local.fingerprint(), authority);
}

#[test]
fn a_leaf_of_another_ca_is_replaced() {
    let folder = TempDir::new().unwrap();
    let local = Local::new(folder.path().join("tls"));
    local.ensure("shop", &names(&["localhost"]), now()).unwrap();
    fs::remove_file(local.authority()).unwrap();
    assert!(local.ensure("shop", &names(&["localhost"]), now()).unwrap());
    assert!(!local.ensure("shop", &names(&["localhost"]), now()).unwrap());
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let folder = TempDir::new().unwrap();
    let (cert, key) = files(folder.path(), &["a.example"]);
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    assert_eq!(
        refused(&cert, &key, now()),
        "/a.example/k.pem can be read by others (mode 0640); `chmod 600 /a.example/k.pem`"
    );
}

#[test]
fn what_is_wrong_with_a_certificate_is_said() {
    let folder = TempDir::new().unwrap();
    let (cert, key) = files(folder.path(), &["a.example"]);
    let (_, other) = files(folder.path(), &["b.example"]);
    assert_eq!(
        refused(&cert, &other, now()),
        "/b.example/k.pem is not the key of the certificate in /a.example/c.pem; is the chain in the right order, \
         the site's own certificate first?"
    );
    assert!(
        refused(&cert, &key, now() + 91 * DAY)
            .starts_with("the certificate in /a.example/c.pem expired on 2")
    );
    assert!(refused(&cert, &key, now() - 9 * DAY).contains("is valid only from"));
    fs::write(&key, "nothing").unwrap();
    assert!(refused(&cert, &key, now()).starts_with("/a.example/k.pem holds no private key"));
    fs::write(&cert, "nothing").unwrap();
    assert!(refused(&cert, &key, now()).starts_with("/a.example/c.pem holds no certificate"));
    fs::remove_file(&cert).unwrap();
    assert!(refused(&cert, &key, now()).starts_with("failed to read /a.example/c.pem: No such file"));
}
