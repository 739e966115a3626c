//! The keys that sign: Ed25519 (RFC 8032), by name, the first of them signs, all of them verify.
//!
//! To rotate: add the new one as the last and deploy (all instances know it), make it the first and deploy, take the old one out
//! when the last token signed by it has expired.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

use super::key_file::{self, KeyFileError};
use crate::env;

const VARIABLE: &str = "TOKEN_KEYS";
/// What a PKCS #8 document of an Ed25519 key begins with (RFC 8410, section 7).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

#[derive(thiserror::Error)]
pub enum KeyringError {
    #[error(
        "{VARIABLE} is not set; example: {VARIABLE}=NAME:KEY,OLDER:KEY, each key made by: \
         openssl rand -base64 32 | tr '+/' '-_' | tr -d '='"
    )]
    Missing,
    #[error("{VARIABLE}: entry {0} is not NAME:KEY with a key of 32 bytes in base64url")]
    Entry(usize),
    #[error("{VARIABLE}: {0} stands there twice")]
    Twice(String),
    #[error("{path}, which stands in for {VARIABLE}: {reason}")]
    Kept { path: String, reason: String },
    #[error(transparent)]
    File(#[from] KeyFileError),
    #[error(transparent)]
    Environment(#[from] env::EnvError),
}

speaks_plainly!(KeyringError);

/// Never printed.
#[derive(Clone)]
pub struct Keyring {
    pub(super) keys: Vec<Key>,
}

#[derive(Clone)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) signs: EncodingKey,
    pub(super) verifies: DecodingKey,
    pub(super) public: Jwk,
    /// For what is not signed but authenticated by us alone.
    pub(super) seed: [u8; 32],
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.keys.iter().map(|key| &key.name))
            .finish()
    }
}

impl Keyring {
    /// TOKEN_KEYS.
    pub fn from_env() -> Result<Self, KeyringError> {
        let text = env::variable(VARIABLE)?.ok_or(KeyringError::Missing)?;
        Self::parse(&text)
    }

    /// TOKEN_KEYS, or else what the file `token_keys` in this folder (BANYAN_DATA_DIR) says, with one key made by whichever instance
    /// comes first. For apps of one machine; instances on several share no folder and need the variable.
    pub fn shared(data_dir: &Path) -> Result<Self, KeyringError> {
        if let Some(text) = env::variable(VARIABLE)? {
            return Self::parse(&text);
        }
        let path = data_dir.join("token_keys");
        let made = || format!("made:{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        let text = key_file::read_or_make(&path, made)?;
        Self::parse(text.trim()).map_err(|error| KeyringError::Kept {
            path: path.display().to_string(),
            reason: error.to_string(),
        })
    }

    /// `NAME:KEY,NAME:KEY`, the key being 32 random bytes in base64url.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut keys: Vec<Key> = Vec::new();
        for (number, entry) in text.split(',').enumerate() {
            let key = Key::parse(entry.trim()).ok_or(KeyringError::Entry(number + 1))?;
            if keys.iter().any(|known| known.name == key.name) {
                return Err(KeyringError::Twice(key.name));
            }
            keys.push(key);
        }
        Ok(Self { keys })
    }

    /// The public halves, for whoever verifies tokens elsewhere (RFC 7517): serve it as `/.well-known/jwks.json`.
    pub fn public(&self) -> JwkSet {
        JwkSet {
            keys: self.keys.iter().map(|key| key.public.clone()).collect(),
        }
    }

    pub(super) fn first(&self) -> &Key {
        self.keys.first().expect("a keyring that was read has a key")
    }
}

impl Key {
    fn parse(entry: &str) -> Option<Self> {
        let (name, key) = entry.split_once(':').filter(|(name, _)| !name.is_empty())?;
        let seed: [u8; 32] = URL_SAFE_NO_PAD.decode(key).ok()?.try_into().ok()?;
        let signs = EncodingKey::from_ed_der(&[PKCS8.as_slice(), &seed].concat());
        let mut public = Jwk::from_encoding_key(&signs, Algorithm::EdDSA).ok()?;
        public.common.key_id = Some(name.to_owned());
        Some(Self {
            name: name.to_owned(),
            verifies: DecodingKey::from_jwk(&public).ok()?,
            signs,
            public,
            seed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

    #[test]
    fn a_key_gives_the_public_half_of_the_standard() {
        // RFC 8037, appendix A.1 and A.2.
        let keys = Keyring::parse(&format!("a:{KEY}")).unwrap();
        let public = serde_json::to_value(keys.public()).unwrap();
        assert_eq!(
            public["keys"][0]["x"],
            "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
        );
        assert_eq!(public["keys"][0]["kid"], "a");
        assert!(!public.to_string().contains(KEY) && !format!("{keys:?}").contains(KEY));
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        let refused = |text: &str| Keyring::parse(text).unwrap_err().to_string();
        assert!(refused("a:secret").starts_with("TOKEN_KEYS: entry 1 is not NAME:KEY"));
        assert!(!refused("a:secret").contains("secret"));
        assert!(refused(&format!("a:{KEY},:{KEY}")).starts_with("TOKEN_KEYS: entry 2"));
        assert_eq!(
            refused(&format!("a:{KEY}, a:{KEY}")),
            "TOKEN_KEYS: a stands there twice"
        );
    }
}
