//! API keys: known by their SHA-256 only. Keys are random (128 bits or more), so a fast hash is enough: there is nothing to guess.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

/// By the first bytes of the digest: finding the candidates says nothing, the rest is compared in constant time.
#[derive(Default)]
pub(crate) struct Keys(HashMap<[u8; 4], Vec<Key>>);

struct Key {
    name: String,
    digest: [u8; 32],
}

impl Keys {
    /// Lines `name:digest`; the configuration was checked, so what is wrong by now is passed over.
    pub(crate) fn read(text: &str) -> Self {
        let mut keys: HashMap<[u8; 4], Vec<Key>> = HashMap::new();
        for (name, hex) in super::basic::pairs(text) {
            if let Some(digest) = digest_of(hex) {
                let name = name.to_owned();
                keys.entry(start(&digest)).or_default().push(Key { name, digest });
            }
        }
        Self(keys)
    }

    /// Whose key it is.
    pub(crate) fn find(&self, shown: &[u8]) -> Option<&str> {
        let digest: [u8; 32] = Sha256::digest(shown).into();
        let candidates = self.0.get(&start(&digest))?;
        let found = candidates.iter().find(|key| same(&key.digest, &digest));
        found.map(|key| key.name.as_str())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}

fn start(digest: &[u8; 32]) -> [u8; 4] {
    [digest[0], digest[1], digest[2], digest[3]]
}

/// In time that does not depend on where they differ.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let differ = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differ) == 0
}

pub(super) fn digest_of(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (n, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_digest_only() {
        // Of "foo" and "bar".
        let keys = Keys::read(
            "# partners\nacme:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\n\n\
             zeta:FCDE2B2EDBA56BF408601FB721FE9B5C338D10EE429EA04FAE5511B68FBF8FB9\n",
        );
        assert_eq!(keys.len(), 2);
        assert_eq!(keys.find(b"foo"), Some("acme"));
        assert_eq!(keys.find(b"bar"), Some("zeta"));
        let digest = b"2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
        for wrong in [&b"fo"[..], b"", b"foo ", digest] {
            assert_eq!(keys.find(wrong), None);
        }
    }
}
