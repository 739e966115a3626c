//! Clients that stay with their instance: what the cookie says, and the key that signs it.
//!
//! The cookie names a slot (`2.<signature>`), not a user and not a release: it stays valid over deploys and restarts, and
//! whoever forges one could only choose among instances, but cannot. Values are made once per endpoint and compared as
//! text: no cryptography on a request's path. The key is the installation's, in a file that only its owner can read.

use std::io;
use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use http::header::{self, HeaderMap, HeaderValue};
use sha2::Sha256;

use banyan_topology::InstanceId;

use crate::secret::{BYTES, secret};

const FILE: &str = "edge-sticky.key";
/// Of the signature, in hexadecimal digits: 128 bits.
const SHOWN: usize = 32;

/// Signs; never shown.
pub(crate) struct Key([u8; BYTES]);

impl Key {
    /// The installation's key; made and kept if there is none yet.
    pub(crate) fn load(secrets: &Path) -> io::Result<Self> {
        secret(secrets, FILE).map(Self)
    }

    /// The cookie's value for the slot of an instance.
    pub(crate) fn value(&self, id: &InstanceId) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(format!("banyan sticky {}.{}", id.process, id.slot).as_bytes());
        let digits: String = mac
            .finalize()
            .into_bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        format!("{}.{}", id.slot, &digits[..SHOWN])
    }
}

/// The value of a cookie, if the client sent exactly one form of it.
pub(crate) fn sent<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter();
    cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// For the rest of the browser's session; scripts and other sites do not see it.
pub(crate) fn set(name: &str, value: &str, secure: bool) -> Option<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_private_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = dir.path().join("secrets");
        let (first, second) = (Key::load(&secrets).unwrap(), Key::load(&secrets).unwrap());
        assert_eq!(first.0, second.0);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&secrets), mode(&secrets.join(FILE))), (0o700, 0o600));
        fs::write(secrets.join(FILE), b"short").unwrap();
        assert!(Key::load(&secrets).is_err());
    }

    #[test]
    fn a_value_depends_on_slot_and_key_but_not_on_the_release() {
        let (one, other) = (Key([1; BYTES]), Key([2; BYTES]));
        let value = |key: &Key, id: &str| key.value(&id.parse().unwrap());
        assert_eq!(value(&one, "web.1@r1"), value(&one, "web.1@r2"));
        assert_ne!(value(&one, "web.1@r1"), value(&one, "web.2@r1"));
        assert_ne!(value(&one, "web.1@r1"), value(&one, "api.1@r1"));
        assert_ne!(value(&one, "web.1@r1"), value(&other, "web.1@r1"));
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("a=1; xshop_i=2;shop_i=3.x; b"),
        );
        assert_eq!(sent(&headers, "shop_i"), Some("3.x"));
        assert_eq!(sent(&headers, "b"), None);
        assert_eq!(sent(&headers, "shop"), None);
    }
}
